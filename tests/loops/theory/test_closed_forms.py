"""The closed forms against numbers from elsewhere, their limits, and where none of them holds."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from loops import LoopConfig
from loops.run import prepare_loop
from loops.theory.closed_forms import (
    accumulate_variance,
    admissible_synthetic,
    alpha,
    augment_error_ratio,
    best_real_weight,
    collision,
    contraction,
    effective_size,
    effective_size_ratio,
    fresh_mean_error,
    fresh_probability_variance,
    fresh_variance,
    predicted,
    regression_accumulate,
    regression_replace,
    replace_log_det,
    replace_log_det_variance,
    replace_mean_error,
    replace_standard_deviation,
    replace_variance,
    replace_wasserstein,
    subsample_ratio,
    weighted_error_ratio,
    zipf_test_error,
)

TEN = np.full(10, 0.1)


@pytest.mark.parametrize(
    ("found", "stated", "digits"),
    [
        (replace_log_det(100, 1, 50), -0.5068, 4),
        (np.sqrt(replace_log_det_variance(100, 1, 50)), 1.010, 3),
        (replace_wasserstein(100, 50), 0.7372, 4),
        (replace_wasserstein(100, 50, 0.9), 0.9718, 4),
        (replace_log_det(50, 5, 20), -6.357, 3),
        (admissible_synthetic(0.5), 32, 9),
        (admissible_synthetic(0.7), 81, 0),
        (regression_replace(10, 111, 10), 1.0, 9),
        (regression_accumulate(10, 111, 10), 0.155, 3),
        (subsample_ratio(20), 2.79, 2),
        (collision(100, 50, TEN), 0.4555, 4),
        (fresh_probability_variance(10, 10, 0.3), 0.01355, 5),
        (best_real_weight(), 0.618, 3),
        (zipf_test_error(10**4, 2), 0.00691, 5),
        (zipf_test_error(1000, 2), 0.02185, 5),
    ],
)
def test_the_formulas_give_the_numbers_of_the_papers(found: np.ndarray, stated: float, digits: int) -> None:
    assert float(found) == pytest.approx(stated, abs=0.51 * 10**-digits)


@pytest.mark.parametrize("n", [2, 3, 10, 100, 301, 1000])
def test_alpha_is_the_mean_of_a_sample_standard_deviation(n: int) -> None:
    """By numerical integration of √x over the density of χ²/k: the density of √(χ²/k) is a chi density."""
    chi = stats.chi(n - 1, scale=1 / math.sqrt(n - 1))
    low, high = chi.ppf([1e-15, 1 - 1e-15])
    assert alpha(n) == pytest.approx(integrate.quad(lambda x: x * chi.pdf(x), low, high)[0], rel=1e-9)


def test_alpha_is_what_brute_force_finds(rng: np.random.Generator) -> None:
    deviations = rng.standard_normal((200_000, 4)).std(axis=1, ddof=1)
    assert abs(deviations.mean() - alpha(4)) < 4 * deviations.std() / math.sqrt(len(deviations))


def test_alpha_is_smooth_where_its_computation_changes() -> None:
    values = alpha(np.arange(250, 350))
    assert (np.diff(values) > 0).all()
    assert values == pytest.approx(1 - 1 / (4 * (np.arange(250, 350) - 1)), abs=1e-6)


def test_the_mean_variance_does_not_shrink_without_bias_but_its_logarithm_does() -> None:
    t = np.arange(1, 200)
    assert (replace_variance(20, t) == 1).all()
    assert (np.diff(replace_log_det(20, 1, t)) < 0).all()
    assert (np.diff(replace_standard_deviation(20, t)) < 0).all()


def test_maximum_likelihood_variances_shrink_by_a_factor_each_generation() -> None:
    assert replace_variance(10, np.array([1, 2, 3]), 0.5, ddof=0) == pytest.approx([0.9, 0.405, 0.18225])


def test_one_dimensional_log_determinants_average_the_logarithm_of_chi_squared() -> None:
    n, t, bias = 12, 7, 0.6
    chi = stats.chi2(n - 1)
    log_mean = chi.expect(lambda x: np.log(x / (n - 1)))
    log_square = chi.expect(lambda x: np.log(x / (n - 1)) ** 2)
    assert replace_log_det(n, 1, t, bias) == pytest.approx(t * log_mean + (t - 1) * math.log(bias))
    assert replace_log_det_variance(n, 1, t) == pytest.approx(t * (log_square - log_mean**2))
    mle = replace_log_det(n, 1, t, bias, ddof=0)
    assert mle == pytest.approx(replace_log_det(n, 1, t, bias) + t * math.log((n - 1) / n))


def test_log_determinants_are_those_of_wishart_matrices(rng: np.random.Generator) -> None:
    n, d = 9, 3
    scatter = stats.wishart(n - 1, np.eye(d) / (n - 1)).rvs(50_000, random_state=rng)
    logs = np.linalg.slogdet(scatter)[1]
    assert abs(logs.mean() - replace_log_det(n, d, 1)) < 4 * logs.std() / math.sqrt(len(logs))
    assert logs.var() == pytest.approx(replace_log_det_variance(n, d, 1), rel=0.03)  # 4 standard errors are 2.6 %


@pytest.mark.parametrize("bias", [1.0, 0.9])
def test_the_distance_is_that_of_a_recursion_written_out(bias: float) -> None:
    """Sums over generations of what each adds, instead of their closed form."""
    n, t = 30, 12
    mean = sum(bias ** (i - 1) / n for i in range(1, t + 1))
    root = math.prod([float(alpha(n))] * t) * bias ** ((t - 1) / 2)
    assert replace_mean_error(n, t, bias) == pytest.approx(mean)
    assert replace_wasserstein(n, t, bias) == pytest.approx(mean + 1 + bias ** (t - 1) - 2 * root)


def test_the_distance_grows_by_three_halves_over_n_at_first() -> None:
    t = np.arange(1, 11)
    assert replace_wasserstein(10_000, t) == pytest.approx(1.5 * t / 10_000, rel=0.01)
    assert (np.diff(replace_wasserstein(100, np.arange(1, 300))) > 0).all()


def test_the_bias_is_not_applied_to_the_first_generation() -> None:
    for formula in (replace_variance, replace_standard_deviation, replace_mean_error, replace_wasserstein):
        assert formula(50, 1, 0.3) == pytest.approx(float(formula(50, 1, 1.0)))
    assert replace_log_det(50, 2, 1, 0.0) == pytest.approx(float(replace_log_det(50, 2, 1, 1.0)))
    assert replace_log_det(50, 2, 2, 0.0) == -math.inf


@pytest.mark.parametrize(("n_real", "n_synthetic", "bias"), [(20, 60, 1.0), (20, 60, 0.7), (50, 5, 0.2), (7, 0, 1.0)])
def test_the_limit_of_the_fresh_loop_is_the_fixed_point_of_its_first_moments(
    n_real: int, n_synthetic: int, bias: float
) -> None:
    """Iterating E Σx² − n E x̄², from the law of total expectation."""
    n, variance, error = n_real + n_synthetic, 3.0, 2.0
    for _ in range(2000):
        squares = n_real + n_synthetic * (bias * variance + error)
        pooled = (n_real + n_synthetic * bias * variance) / n**2 + (n_synthetic / n) ** 2 * error
        variance, error = (squares - n * pooled) / (n - 1), pooled
    assert fresh_variance(n_real, n_synthetic, bias) == pytest.approx(variance)
    assert fresh_mean_error(n_real, n_synthetic, bias) == pytest.approx(error)


def test_a_large_fresh_loop_has_variance_r_over_one_minus_bias_times_s() -> None:
    assert fresh_variance(30_000, 70_000, 0.6) == pytest.approx(0.3 / (1 - 0.6 * 0.7), rel=1e-4)


def test_memory_makes_synthetic_items_worth_more_up_to_their_own_number() -> None:
    assert effective_size_ratio(100, 300) == pytest.approx(1.75)  # 1 + s
    worth = [effective_size_ratio(100, 300, memory) for memory in (1, 2, 5, 100, 10**6)]
    assert worth == sorted(worth)
    assert worth[-1] == pytest.approx(4, rel=1e-4)  # as if all of them were real


@pytest.mark.parametrize("memory", [1, 2, 3, 6])
def test_the_effective_size_is_that_of_an_autoregression(memory: int) -> None:
    """The variance of an AR(K) process from its Lyapunov equation, not from Yule and Walker."""
    from scipy import linalg

    s = 0.6  # n_r = 40, n_s = 60, noise 1/100
    step = np.eye(memory, k=-1)
    step[0] = s / memory
    noise = np.zeros((memory, memory))
    noise[0, 0] = 1 / 100
    variance = linalg.solve_discrete_lyapunov(step, noise)[0, 0]
    assert effective_size_ratio(40, 60, memory) == pytest.approx(1 / variance / 40)


@pytest.mark.parametrize("n", [2.5, 3, 10, 100.5, 300, 5000, 10**8])
def test_the_effective_size_inverts_the_distance_of_real_data(n: float) -> None:
    distance = float(1 / n + 2 * (1 - alpha(n)))
    assert effective_size(distance) == pytest.approx(n, rel=1e-6)
    assert effective_size(4 * distance, variance=4.0) == pytest.approx(n, rel=1e-6)


@pytest.mark.parametrize("distance", [-1.0, 0.0, 3.0, math.inf, math.nan])
def test_a_distance_that_no_real_data_have_has_no_effective_size(distance: float) -> None:
    assert math.isnan(effective_size(distance))


def test_less_bias_and_more_dimensions_admit_more_synthetic_items() -> None:
    assert np.all(np.diff([admissible_synthetic(bias) for bias in (0.0, 0.2, 0.5, 0.7, 0.9, 0.99)]) > 0)
    assert np.all(np.diff([admissible_synthetic(0.5, d) for d in (1, 2, 10, 100)]) > 0)
    assert admissible_synthetic(1.0) == math.inf


def test_fixed_real_data_keep_the_error_below_three_halves() -> None:
    assert augment_error_ratio(100, 0) == 1
    assert augment_error_ratio(100, 100) == pytest.approx(4 / 3)
    assert augment_error_ratio(1, 10**9) == pytest.approx(1.5)


def test_the_regression_s_first_error_is_the_trace_of_an_inverse_wishart(rng: np.random.Generator) -> None:
    n, d = 20, 3
    inputs = rng.standard_normal((20_000, n, d))
    traces = np.trace(np.linalg.inv(inputs.transpose(0, 2, 1) @ inputs), axis1=1, axis2=2)
    for formula in (regression_replace, regression_accumulate):
        assert abs(formula(1, n, d) - traces.mean()) < 4 * traces.std() / math.sqrt(len(traces))


def test_accumulating_bounds_the_regression_s_error_and_replacing_does_not() -> None:
    t = np.array([1, 2, 3, 10**6])
    assert regression_replace(t, 111, 10) == pytest.approx(t / 10)
    found = regression_accumulate(t, 111, 10, noise_variance=2.0)
    assert found == pytest.approx(np.array([1, 1.25, 1.25 + 1 / 9, math.pi**2 / 6]) / 5, rel=1e-5)


def test_accumulating_and_subsampling_lies_between_the_two() -> None:
    t = np.arange(2, 2000)
    ratio, accumulated = subsample_ratio(t), regression_accumulate(t, 12, 10) / regression_accumulate(1, 12, 10)
    assert subsample_ratio(1) == 1
    assert subsample_ratio(2) == pytest.approx(1.75)  # 1 + 1/4 for the pool, 1/2 for the draw
    assert (ratio > accumulated).all()
    assert (ratio[1:] < t[1:]).all()
    assert subsample_ratio(10**6) == pytest.approx(math.pi**2 / 2 - 2, abs=1e-5)


def test_accumulated_variances_have_euler_s_product_as_their_limit() -> None:
    root = math.pi / math.sqrt(20)
    assert accumulate_variance(20, 10**6) == pytest.approx(math.sin(root) / root, abs=1e-6)
    assert accumulate_variance(20, 1) == pytest.approx(1 - 1 / 20)


def test_unbiased_accumulated_variances_start_at_one() -> None:
    """With n = 2, t = 2 by hand: two unbiased variances and their means, which differ by that of 2 items."""
    assert accumulate_variance(2, np.array([1, 2]), ddof=1) == pytest.approx([1, (1 + 1 + 0.5) / 3])


def test_all_tokens_become_one_in_the_end() -> None:
    t = np.arange(1, 2000)
    assert (np.diff(collision(10, t, TEN)) >= 0).all()
    assert collision(10, 5000, TEN) == pytest.approx(1)
    assert collision(10, 1, TEN) == pytest.approx((1 + 9 * 0.1) / 10)  # a pair of draws agrees: the same, or by chance


@pytest.mark.parametrize("mixing", ["fixed", "binomial"])
def test_a_token_s_variance_is_that_of_the_markov_chain_of_its_count(mixing: str) -> None:
    """The stationary distribution of the count, from its transition matrix."""
    n_real, n_synthetic, p = 3, 4, 0.3
    n = n_real + n_synthetic
    counts = np.arange(n + 1)
    if mixing == "binomial":
        rows = [stats.binom(n, (n_real * p + n_synthetic * c / n) / n).pmf(counts) for c in counts]
    else:
        real = stats.binom(n_real, p).pmf(np.arange(n_real + 1))
        rows = [np.convolve(real, stats.binom(n_synthetic, c / n).pmf(np.arange(n_synthetic + 1))) for c in counts]
    stationary = np.linalg.matrix_power(np.array(rows), 1000)[0]
    variance = stationary @ (counts / n - p) ** 2
    assert fresh_probability_variance(n_real, n_synthetic, p, mixing=mixing) == pytest.approx(variance)


def test_a_fresh_loop_s_tokens_vary_as_the_published_fractions_say() -> None:
    n, s, p = 20, 0.5, 0.3
    assert fresh_probability_variance(10, 10, p) == pytest.approx(p * (1 - p) / (n * (1 - s**2) + s))
    binomial = fresh_probability_variance(10, 10, p, mixing="binomial")
    assert binomial == pytest.approx(p * (1 - p) / (n - (n - 1) * s**2))


def test_the_contraction_is_the_share_of_synthetic_items() -> None:
    assert contraction(0.0) == 0
    assert contraction(0.5) == pytest.approx(1 / 3)
    assert contraction(70 / 30) == pytest.approx(0.7)


def test_the_best_weight_minimises_the_weighted_error() -> None:
    found = optimize.minimize_scalar(weighted_error_ratio, bounds=(0.01, 0.99), method="bounded")
    assert found.x == pytest.approx(best_real_weight(), abs=1e-4)
    assert weighted_error_ratio(best_real_weight()) == pytest.approx(best_real_weight())
    assert weighted_error_ratio(1.0) == 1  # real data alone


@pytest.mark.parametrize("exponent", [1.5, 2.0, 3.0])
def test_the_zipf_tail_approaches_the_exact_sum_of_missed_mass(exponent: float) -> None:
    rank = np.arange(1, 3_000_001, dtype=np.float64)
    beyond = 3_000_000.5 ** (1 - exponent) / (exponent - 1)  # the integral of what is left, all of it missed
    masses = rank**-exponent
    total = masses.sum() + beyond
    remainders = []
    for n in (500, 4000):
        exact = ((masses / total) @ np.exp(n * np.log1p(-masses / total))) + beyond / total
        remainders.append(abs(zipf_test_error(n, exponent) / exact - 1))
    assert remainders[1] < remainders[0] < 0.1
    assert remainders[1] < 0.02


GAUSSIAN = LoopConfig(n_initial=20, generations=4)
TOKENS = LoopConfig(family="categorical", data="tokens:5", n_initial=20, generations=4)
LINES = LoopConfig(family="linear-regression", data="linear:3", n_initial=20, generations=4)
MLE = {"ddof": 0}


def curves(config: LoopConfig, **changes: object) -> dict[str, np.ndarray]:
    loop = prepare_loop(dataclasses.replace(config, n_measure=10, chains=2, **changes))
    return predicted(loop.config, width=loop.world.clean.space.width)


@pytest.mark.parametrize(
    ("config", "changes", "measures"),
    [
        (GAUSSIAN, {}, {"frechet", "log_det", "mean_error", "standard_deviation", "variance"}),
        (GAUSSIAN, {"bias": 0.5, "settings": MLE},
         {"frechet", "log_det", "mean_error", "standard_deviation", "variance"}),
        (GAUSSIAN, {"data": "normal:3"}, {"log_det", "mean_error", "variance"}),
        (GAUSSIAN, {"data": "normal:30"}, {"mean_error", "variance"}),  # fewer items than dimensions
        (GAUSSIAN, {"data": "normal:3", "n_initial": 4}, {"mean_error", "variance"}),  # rank lost by rounding
        (GAUSSIAN, {"workflow": "accumulate", "settings": MLE}, {"mean_error", "variance"}),
        (GAUSSIAN, {"workflow": "fresh", "n_real": 5}, {"mean_error", "variance"}),
        (GAUSSIAN, {"workflow": "augment", "n_real": 5}, {"mean_error", "variance"}),
        (TOKENS, {}, {"collision", "squared_error"}),
        (TOKENS, {"workflow": "accumulate"}, {"collision", "squared_error"}),
        (TOKENS, {"workflow": "fresh", "mixing": "binomial"}, {"collision", "squared_error"}),
        (LINES, {}, {"test_error"}),
        (LINES, {"workflow": "accumulate", "family": "regression"}, {"test_error"}),
    ],
)  # fmt: skip
def test_a_loop_that_a_closed_form_covers_has_its_curves(
    config: LoopConfig, changes: dict[str, object], measures: set[str]
) -> None:
    found = curves(config, **changes)
    assert set(found) == measures
    assert {curve.shape for curve in found.values()} == {(4,)}
    assert all(np.isfinite(curve).all() for curve in found.values())


def test_a_curve_is_the_closed_form_at_every_generation() -> None:
    assert curves(GAUSSIAN, bias=0.5)["frechet"] == pytest.approx(replace_wasserstein(20, np.arange(1, 5), 0.5))


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (GAUSSIAN, {"contamination": 0.1, "contaminant": "normal:1"}),
        (GAUSSIAN, {"data": "rosenbrock"}),
        (GAUSSIAN, {"data": "digits"}),
        (GAUSSIAN, {"n_synthetic": 30}),
        (GAUSSIAN, {"memory": 2}),
        (GAUSSIAN, {"family": "kde", "data": "normal:1"}),
        (GAUSSIAN, {"workflow": "weighted"}),
        (GAUSSIAN, {"workflow": "curated"}),
        (GAUSSIAN, {"workflow": "verified"}),
        (GAUSSIAN, {"workflow": "augment-accumulate"}),
        (GAUSSIAN, {"workflow": "accumulate-subsample"}),
        (GAUSSIAN, {"workflow": "accumulate", "bias": 0.5}),
        (GAUSSIAN, {"workflow": "accumulate", "n_synthetic": 30}),
        (GAUSSIAN, {"workflow": "fresh", "mixing": "binomial"}),
        (GAUSSIAN, {"workflow": "fresh", "memory": 2}),
        (GAUSSIAN, {"workflow": "augment", "n_real": 0}),
        (TOKENS, {"bias": 0.9}),
        (TOKENS, {"n_synthetic": 30}),
        (TOKENS, {"workflow": "augment"}),
        (TOKENS, {"workflow": "fresh", "memory": 2}),
        (TOKENS, {"family": "ngram"}),
        (LINES, {"bias": 0.9}),
        (LINES, {"settings": {"noise": 2.0}}),
        (LINES, {"n_synthetic": 30}),
        (LINES, {"workflow": "fresh"}),
        (LINES, {"data": "normal:4"}),
        (LINES, {"n_initial": 4}),
    ],
)
def test_a_loop_that_no_closed_form_covers_has_no_curves(config: LoopConfig, changes: dict[str, object]) -> None:
    assert curves(config, **changes) == {}


def test_a_width_that_is_not_the_data_s_has_no_curves() -> None:
    assert predicted(prepare_loop(GAUSSIAN).config, width=3) == {}


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("workflow", ["fresh", "augment"])
def test_the_curves_beside_real_data_end_where_the_limits_say(workflow: str, ddof: int) -> None:
    sizes = {"n_real": 4000, "n_synthetic": 8000, "n_initial": 10}
    found = curves(GAUSSIAN, workflow=workflow, generations=80, settings={"ddof": ddof}, **sizes)
    ratio = 1 / effective_size_ratio(4000, 8000) if workflow == "fresh" else augment_error_ratio(4000, 8000)
    assert found["mean_error"][-1] * 4000 == pytest.approx(ratio, rel=0.01)
    if workflow == "fresh" and ddof == 1:
        assert found["variance"][-1] == pytest.approx(fresh_variance(4000, 8000), rel=1e-9)
        assert found["mean_error"][-1] == pytest.approx(fresh_mean_error(4000, 8000), rel=1e-9)
