import json
import math

import numpy as np

from auditor.statistics.intervals import Measure
from loops.generation.record import Generation
from loops.samples import Samples


def record(value: float = 0.5) -> Generation:
    return Generation(
        generation=2, n_real=3, n_synthetic=4, measures={"frechet": Measure(value, low=0.25, high=0.75, n=8)},
        chains={"frechet": np.full(8, value)}, origins={-1: 1.0, 0: 2.0, 1: 4.0}, real_digest="ab",
        sheet=Samples(np.zeros((2, 1))), mode_shares=np.array([0.25, 0.75]), texts=["a", "b"],
    )  # fmt: skip


def test_a_measure_is_written_as_the_contract_says() -> None:
    assert record().as_json()["frechet"] == {
        "estimate": 0.5,
        "low": 0.25,
        "high": 0.75,
        "reference": None,
        "n": 8,
        "reason": None,
    }


def test_the_counts_and_origins_stand_beside_the_measures() -> None:
    found = record().as_json()
    assert (found["generation"], found["n_real"], found["n_synthetic"]) == (2, 3, 4)
    assert found["origins"] == {"-1": 1.0, "0": 2.0, "1": 4.0}


def test_a_number_that_cannot_be_had_is_null() -> None:
    assert [record(v).as_json()["frechet"]["estimate"] for v in (math.nan, math.inf)] == [None, None]


def test_everything_is_plain_json() -> None:
    assert json.loads(json.dumps(record(math.nan).as_json(), allow_nan=False))["generation"] == 2
