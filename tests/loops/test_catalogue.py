import dataclasses
from pathlib import Path

import pytest

from indexes.errors import InputError
from loops.models.catalogue import FAMILIES, family_class, make_family, plain_name

FAMILY = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loops.samples import Samples


@dataclass(frozen=True)
class Echo:
    """Repeats its data."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "nothing"
    times: int = 1

    def fit(self, data, *, space, weights, rng):
        return data


@dataclass(frozen=True)
class Mute:
    pass


class Plain:
    pass
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FAMILY)
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_what_a_loop_must_know(name: str) -> None:
    kind = family_class(name)
    assert kind.reads in ("vectors", "tokens")
    assert (type(kind.vectorised), type(kind.conditional)) == (bool, bool)
    assert kind.bias_means
    assert kind.__doc__


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_made_with_its_defaults_and_frozen(name: str) -> None:
    made = make_family(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.reads = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("other", "name"), [("regression", "linear-regression"), ("kernel-density", "kde"),
                                            ("gaussian-mixture", "gmm"), ("lm", "language-model")])  # fmt: skip
def test_a_family_answers_to_its_other_names(other: str, name: str) -> None:
    assert (family_class(other), plain_name(other)) == (family_class(name), name)


def test_an_unknown_family_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no family is called 'vampire', expected one of gaussian, .*FILE.py:CLASS"):
        make_family("vampire")


def test_a_family_of_ones_own_is_loaded_from_its_file(file: Path) -> None:
    made = make_family(f"{file}:Echo", {"times": 3})
    assert made.times == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("label", ["Plain", "Mute"])
def test_a_class_that_is_no_family_is_answered_with_where_to_read(file: Path, label: str) -> None:
    with pytest.raises(InputError, match=f"{label} (is not a dataclass|has no reads, .*fit): see docs/loops.md"):
        make_family(f"{file}:{label}")


@pytest.mark.parametrize("place", ["mine.py:Missing", "none.py:Echo", "broken.py:Echo", "hungry.py:Echo"])
def test_what_cannot_be_loaded_is_said_in_one_line(file: Path, place: str) -> None:
    (file.parent / "broken.py").write_text("def (")
    (file.parent / "hungry.py").write_text("import no_such_module_at_all")
    with pytest.raises(InputError, match="cannot load the family") as raised:
        make_family(str(file.parent / place))
    assert "\n" not in str(raised.value)


def test_an_unknown_setting_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="gmm has no setting colour, expected some of: components=10, regularisation"):
        make_family("gmm", {"colour": 1})


def test_a_family_without_settings_says_so() -> None:
    with pytest.raises(InputError, match="expected some of: none"):
        make_family("categorical", {"order": 2})


def test_hyphens_in_settings_are_underscores() -> None:
    assert make_family("gan", {"critic-steps": 2}).critic_steps == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("family", "setting"),
    [("gmm", {"components": 2.5}), ("gmm", {"components": "3"}), ("gmm", {"components": True}),
     ("kde", {"bandwidth": "wide"}), ("kde", {"bandwidth": False}), ("ngram", {"smoothing": 1}),
     ("gmm", {"components": None})],
)  # fmt: skip
def test_a_setting_of_another_kind_is_refused(family: str, setting: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"the setting \w+ of \w+ is .*, expected a value such as"):
        make_family(family, setting)


def test_a_whole_number_serves_where_a_fraction_is_expected() -> None:
    assert make_family("kde", {"bandwidth": 2}).bandwidth == 2  # type: ignore[attr-defined]


def test_the_device_reaches_families_that_have_one() -> None:
    assert make_family("flow", device="cuda:1").device == "cuda:1"  # type: ignore[attr-defined]


def test_the_device_is_no_setting() -> None:
    with pytest.raises(InputError, match="no setting device"):
        make_family("flow", {"device": "cuda"})


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("gan", "batch", 0), ("gan", "steps", -1), ("gan", "rate", -1.0), ("gan", "rate", float("nan")),
        ("flow", "layers", 0), ("kde", "bandwidth", -1.0), ("gaussian", "ddof", -5),
        ("linear-regression", "noise", float("inf")),
    ],
)  # fmt: skip
def test_a_setting_that_no_model_can_have_is_refused(family: str, key: str, value: float) -> None:
    with pytest.raises(InputError, match=key):
        make_family(family, {key: value})
