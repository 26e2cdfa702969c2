"""Write the JSON Schemas of what madaudit writes into docs/schemas, from the types; --check compares instead."""

import json
import sys
from pathlib import Path

from auditor.evaluation import validation_schema
from auditor.results import forecast_schema, result_schema

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
SCHEMAS = {"result.json": result_schema, "forecast.json": forecast_schema, "validation.json": validation_schema}


def main() -> int:
    """Write or compare; 1 where a file differs."""
    stale = []
    for name, made in SCHEMAS.items():
        path, text = FOLDER / name, json.dumps(made(), indent=1, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(f"docs/schemas/{name}")
    if stale:
        print(f"{', '.join(stale)} are not those of the types: run python scripts/schemas.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
