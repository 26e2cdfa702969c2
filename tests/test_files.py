"""The page that lists every file is up to date."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tree_of_the_architecture_page_is_that_of_the_packages() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "tree.py"), "--check"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
