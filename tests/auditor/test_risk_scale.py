"""The unit of a forecast's distances: what a service states must be what the calibration was fitted to."""

import numpy as np
import pytest

from auditor.measures.frechet import frechet_of
from auditor.measures.real_part import LEVEL_SIZE, RealPart
from auditor.statistics.moments import Moments, moments_of


def exact(rng: np.random.Generator, width: int) -> float:
    """Mean distance of samples of LEVEL_SIZE from the standard normal distribution itself."""
    n = 10**9
    truth = Moments(n, np.zeros(width), n * np.eye(width))
    samples = (rng.normal(size=(LEVEL_SIZE, width)) for _ in range(20))
    return float(np.mean([frechet_of(truth, moments_of(rows.astype(np.float32))) for rows in samples]))


@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("m", [300, 2000, 10_000])
def test_the_unit_is_a_sample_s_distance_to_the_distribution_whatever_the_reference_s_size(m, width):
    rng = np.random.default_rng(0)
    ids = tuple(map(str, range(m)))
    units = [RealPart(rng.normal(size=(m, width)).astype(np.float32), ids, ()).scale.frechet for _ in range(8)]
    assert np.mean(units) == pytest.approx(exact(rng, width), rel=0.25)
