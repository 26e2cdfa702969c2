"""Where the benchmarks find the labelled data that cannot be shipped."""

import os
import sys
from pathlib import Path

__all__ = ["data_folder"]


def data_folder(*needed: str) -> Path:
    """$MADAUDIT_DATA, else ../shared/data beside the checkout; ends the program when a needed file is absent."""
    folder = Path(os.environ.get("MADAUDIT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    for name in needed:
        if not (folder / name).is_file():
            sys.exit(f"{folder / name} is missing: set MADAUDIT_DATA to the folder that holds {', '.join(needed)}")
    return folder
