"""What every module offers, and what the contract promises."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("indexes", "auditor", "loops", "service")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__init__.py"
)


def stated(module: str) -> list[str]:
    """`__all__` as it stands in the file."""
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            value = ast.literal_eval(node.value)
            assert isinstance(value, list)
            return value
    raise AssertionError(f"{module} states no __all__")


def isort_order(name: str) -> tuple[int, list[tuple[int, int | str]]]:
    """Constants, then classes, then the rest, with numbers by their value: ruff's RUF022."""
    group = 0 if len(name) > 1 and name.isupper() else 1 if name[0].isupper() else 2
    natural = [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in re.split(r"(\d+)", name) if piece]
    return group, natural


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_sorted_and_distinct(module: str) -> None:
    found = stated(module)
    assert found == sorted(set(found), key=isort_order)


@pytest.mark.parametrize("module", MODULES)
def test_public_names_exist_and_are_public(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in stated(module) if name.startswith("_") or not hasattr(loaded, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for_in_one_sentence(module: str) -> None:
    first = (inspect.getdoc(importlib.import_module(module)) or "").split("\n\n")[0]
    assert re.search(r"[.:]$", first.strip())


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_and_classes_are_documented(module: str) -> None:
    loaded = importlib.import_module(module)
    offered = [(name, getattr(loaded, name)) for name in stated(module)]
    own = [(n, v) for n, v in offered if inspect.isfunction(v) or inspect.isclass(v)]
    assert [name for name, value in own if value.__module__ == module and not inspect.getdoc(value)] == []


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [
        ("indexes", "knn", ["queries", "database", "k", "device"]),
        ("auditor", "frechet", ["real", "candidate"]),
        ("auditor", "prdc", ["real", "candidate", "k"]),
        ("auditor", "vendi", ["vectors", "order"]),
        ("auditor", "audit", []),
        ("loops", "run_loop", ["config"]),
    ],
)
def test_the_contracts_entry_points_take_what_it_says(module: str, name: str, parameters: list[str]) -> None:
    found = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert list(found)[: len(parameters)] == parameters or set(parameters) <= set(found)
    keyword_only = {p for p in ("device", "order") if p in parameters}
    assert all(found[p].kind is inspect.Parameter.KEYWORD_ONLY for p in keyword_only)


@pytest.mark.parametrize("package", ["indexes", "auditor"])
def test_a_package_lists_its_public_names_and_imports_them_when_asked_for(package: str) -> None:
    loaded = importlib.import_module(package)
    assert dir(loaded) == loaded.__all__ == sorted(loaded.__all__, key=isort_order)
    assert all(callable(getattr(loaded, name)) for name in loaded.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        loaded.nothing  # noqa: B018 (the attribute's absence is what is tested)


def test_a_measure_has_the_fields_of_the_contract() -> None:
    import numpy as np

    from auditor.measures.vendi import vendi

    measure = vendi(np.eye(3))
    assert (round(measure.estimate, 9), measure.n) == (3, 3)
    assert np.isnan([measure.low, measure.high]).all()
