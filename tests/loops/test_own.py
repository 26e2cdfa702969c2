from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.errors import InputError
from loops.generation.chains import fit_chains
from loops.models import make_family
from loops.samples import Samples, Space

_FAMILY = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from loops.samples import Samples

class Model:
    def sample(self, n, *, bias, rng):
        return {made}

@dataclass(frozen=True)
class Own:
    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "nothing"

    def fit(self, data, *, space, weights, rng):
        {fit}
        return Model()
"""


def run_own(folder: Path, *, made: str = "Samples(np.zeros((n, 2)))", fit: str = "") -> Any:
    file = folder / "own.py"
    file.write_text(_FAMILY.format(made=made, fit=fit))
    rngs = [np.random.default_rng(0)]
    data = Samples(np.zeros((1, 5, 2)))
    data.values.setflags(write=False)
    chains = fit_chains(make_family(f"{file}:Own"), data, space=Space(2), weights=None, rngs=rngs)
    return chains.sample(4, bias=1.0, rngs=rngs)


def test_a_sound_family_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    assert run_own(tmp_path).values.shape == (1, 4, 2)


@pytest.mark.parametrize("fault", ["data.values[0] = 1", "1 / 0", "[][3]"])
def test_a_fault_in_fit_is_told_with_file_and_line(fault: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.py, line 19: \w+Error: "):
        run_own(tmp_path, fit=fault)


def test_a_fault_in_sample_is_told_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.py, line 9: ZeroDivisionError: "):
        run_own(tmp_path, made="1 / 0")


@pytest.mark.parametrize(
    ("made", "found"),
    [("np.zeros((n, 2))", "a ndarray"), ("Samples(np.zeros((n - 1, 2)))", r"values of shape \(3, 2\)"),
     ("Samples(np.zeros((n, 1)))", r"values of shape \(4, 1\)")],
)  # fmt: skip
def test_samples_of_another_kind_or_shape_are_refused(made: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"Model\.sample returned {found}, expected Samples of shape \(4, 2\)"):
        run_own(tmp_path, made=made)


def test_a_fault_of_madaudits_own_family_is_not_blamed_on_the_user() -> None:
    broken = Samples(np.full((1, 5, 2), "x"))
    with pytest.raises((TypeError, ValueError)) as caught:
        fit_chains(
            make_family("kde"), broken, space=Space(2), weights=None, rngs=[np.random.default_rng(0)]
        )  # fmt: skip
    assert not isinstance(caught.value, InputError)
