import numpy as np
import pytest

from indexes.errors import InputError
from loops.models.bias import check_bias, guidance_weight, tempered


@pytest.mark.parametrize("bias", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_bias_outside_the_unit_interval_is_refused(bias: float) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        check_bias(bias)


def test_zero_is_refused_where_a_model_cannot_do_it() -> None:
    with pytest.raises(InputError, match=r"\(0, 1\]"):
        check_bias(0, zero_allowed=False)


@pytest.mark.parametrize(("bias", "weight"), [(1.0, 0.0), (0.5, 1.0), (0.8, 0.25)])
def test_the_guidance_weight_solves_bias_is_one_over_one_plus_weight(bias: float, weight: float) -> None:
    assert guidance_weight(bias) == pytest.approx(weight)


@pytest.mark.parametrize("bias", [1.0, 0.5, 0.3])
def test_tempering_raises_probabilities_to_one_over_the_bias(bias: float) -> None:
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    expected = p ** (1 / bias) / (p ** (1 / bias)).sum(1, keepdims=True)
    np.testing.assert_allclose(tempered(np.log(p), bias), expected, rtol=1e-12)


def test_no_temperature_shares_all_between_the_modes() -> None:
    np.testing.assert_array_equal(tempered(np.log([0.2, 0.4, 0.4]), 0), [0, 0.5, 0.5])


def test_what_is_impossible_stays_impossible() -> None:
    assert tempered(np.array([-np.inf, 0.0]), 0.5)[0] == 0
