"""The order of the packages, and the homes of the heavy libraries, the environment and print."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("indexes", "auditor", "loops", "service")  # each may import itself and what stands before it
ROOMS = {  # of a package: each file or folder may import itself and what stands before it
    "auditor": (
        "records", "statistics", "event", "workflows", "plan", "policy", "answers", "folder", "results", "unread",
        "evidence", "fraction", "measures", "reference", "review", "risk", "passes", "run", "evaluation",
        "__init__",
    ),
    "loops": (
        "samples", "random_streams", "tokens", "config", "models", "data", "generation", "run", "theory", "results",
        "calibration", "sweep", "plots", "__init__",
    ),
    "service": (
        "settings", "presence", "allowed_roots", "untrusted", "storage", "references", "engines", "reports",
        "forecasts", "pipeline", "audit_plan", "review", "jobs", "http", "calls", "client", "cli", "__init__",
    ),
}  # fmt: skip
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HOMES = {
    "torch": ("indexes/encoders/", "indexes/search/exact.py", "indexes/device.py", "loops/models/"),
    "torchvision": ("indexes/encoders/", "loops/models/"),
    "open_clip": ("indexes/encoders/",),
    "faiss": ("indexes/search/approximate.py",),
    "duckdb": ("service/storage/",),
    "fastapi": ("service/http/",),
    "diffusers": ("loops/models/",),
    "zuko": ("loops/models/",),
    "typer": ("service/cli/",),
    "matplotlib": ("service/reports/", "loops/plots/"),
}
_CROWDED = {  # by files that are like each other
    "auditor": ["auditor/measures"],
    "indexes": ["indexes/sources"],
    "loops": ["loops/models"],
}
PRINTERS = ("service/cli/options.py", "service/cli/progress.py")


def tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), str(module))


def imported(module: Path) -> Iterator[str]:
    """Every module named in an import statement, also within functions."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield node.module or ""


def names(module: Path) -> Iterator[str]:
    """Plain and dotted names used: `print`, `os.environ`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes(module: Path) -> Iterator[str]:
    """The names of all attributes used: `execute` in `connection.execute(…)`."""
    yield from (node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute))


def test_there_are_modules_of_every_package_to_look_at() -> None:
    assert {module.parts[0] for module in MODULES} == set(PACKAGES)
    assert len(MODULES) > 50


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_one_way(module: Path) -> None:
    allowed = PACKAGES[: PACKAGES.index(module.parts[0]) + 1]
    ours = {name.split(".")[0] for name in imported(module)} & {*PACKAGES, "tests", "benchmarks"}
    assert ours <= set(allowed)


@pytest.mark.parametrize("package", ROOMS)
def test_imports_between_the_rooms_of_a_package_point_one_way(package: str) -> None:
    rooms, wrong = ROOMS[package], []
    for module in (module for module in MODULES if module.parts[0] == package):
        here = Path(module.parts[1]).stem
        there = [name.split(".")[1] for name in imported(module) if name.startswith(f"{package}.")]
        wrong += [f"{module} imports {room}" for room in there if rooms.index(room) > rooms.index(here)]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_of_a_package_holds_more_than_a_dozen_unlike_files(package: str) -> None:
    full = {path.parent for path in (ROOT / package).rglob("*.py")}
    crowded = [
        f.relative_to(ROOT).as_posix() for f in full if sum(p.name != "__init__.py" for p in f.glob("*.py")) > 14
    ]
    assert sorted(crowded) == _CROWDED.get(package, [])


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_stays_in_its_home(library: str) -> None:
    users = [module.as_posix() for module in MODULES if library in {n.split(".")[0] for n in imported(module)}]
    assert [user for user in users if not user.startswith(HOMES[library])] == []


def test_the_homes_exist() -> None:
    for library in ("torch", "faiss", "duckdb", "typer", "matplotlib"):
        assert any(library in {n.split(".")[0] for n in imported(module)} for module in MODULES), library


def test_only_the_settings_read_the_environment() -> None:
    readers = {"os.environ", "os.getenv", "os.environb", "os.putenv"}
    found = [module.as_posix() for module in MODULES if readers & set(names(module))]
    assert found == ["service/settings.py"]


def test_only_the_command_line_prints() -> None:
    found = [module.as_posix() for module in MODULES if "print" in set(names(module))]
    assert [module for module in found if module not in PRINTERS] == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_runs_on_import_under_main(module: Path) -> None:
    assert "__main__" not in (ROOT / module).read_text(encoding="utf-8")


_LIGHT = (
    "indexes.errors", "indexes.records", "indexes.hashing", "indexes.images", "indexes.encode", "indexes.sources",
    "indexes.encoders", "indexes.encoders.forensic", "indexes.encoders.lexical", "indexes.encoders.pixels",
    "indexes.encoders.embeddings", "indexes.encoders.concat", "indexes.encoders.onnx", "loops.models",
    "service.settings", "service.storage.database", "service.storage.ledger", "service.cli.progress",
    "service.reports.figures", "service.cli",
)  # fmt: skip


def test_what_needs_no_torch_does_not_load_it() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {_LIGHT!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
        "assert not {'faiss', 'open_clip', 'torchvision'} & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_sql_stands_in_the_storage_room_alone() -> None:
    found = [module.as_posix() for module in MODULES if {"execute", "executemany"} & set(attributes(module))]
    assert [module for module in found if not module.startswith("service/storage/")] == []
    assert found
