"""The README's file tree against the files there are."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for package in ("indexes", "auditor", "loops", "service")
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__init__.py"
]
NAMES = Counter(path.name for path in FILES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_module_has_a_line_in_the_readme(name: str) -> None:
    """As many lines as there are modules of that name: two packages may each have a `search.py`."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?!\w)")
    assert sum(bool(word.search(line)) for line in lines) >= NAMES[name]
