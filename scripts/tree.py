"""Write the annotated tree of the packages into docs/architecture.md, between its markers.

python scripts/tree.py            # writes it
python scripts/tree.py --check    # exits with 1 if the page is out of date
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tree -->", "<!-- end of tree -->"
PACKAGES = ("indexes", "auditor", "loops", "service")
_WIDTH = 34


def tree() -> str:
    """A line for every package, room and module, with the first sentence of its docstring."""
    return "\n".join(line for package in PACKAGES for line in _folder(ROOT / package, 0))


def _folder(folder: Path, depth: int) -> Iterator[str]:
    yield _line(f"{folder.name}/", folder / "__init__.py", depth)
    for module in sorted(folder.glob("*.py")):
        if module.name != "__init__.py":
            yield _line(module.name, module, depth + 1)
    for room in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield from _folder(room, depth + 1)


def _line(name: str, module: Path, depth: int) -> str:
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return f"{'  ' * depth + name:<{_WIDTH}} {first}".rstrip()


def page() -> str:
    """The page with the tree as it is now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n```text\n{tree()}\n```\n{END}{after}"


def main() -> None:
    """Write the page, or say whether it is out of date."""
    wanted = page()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == wanted else f"{PAGE} is out of date: run scripts/tree.py")
    PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
