import numpy as np
import pytest
from scipy import stats

from indexes.errors import InputError
from loops.data.distributions import FORMULAS, Distribution, distribution_named

N = 100_000


def named(spec: str) -> Distribution:
    found = distribution_named(spec)
    assert found is not None
    return found


def drawn(spec: str, rng: np.random.Generator) -> np.ndarray:
    return named(spec).draw(N, chains=1, fresh=True, rng=rng).values[0]


ALL = ["normal:3", "grid:5", "rosenbrock", "rosenbrock:3", "tokens:7", "bernoulli:0.2", "zipf:2", "linear:4"]


@pytest.mark.parametrize("spec", ALL)
def test_a_large_sample_has_the_stated_mean(spec: str, rng: np.random.Generator) -> None:
    formula = named(spec)
    vectors = formula.embed(drawn(spec, rng))
    error = np.sqrt(np.diag(formula.truth.covariance) / N)
    assert (np.abs(vectors.mean(0) - formula.truth.mean) <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("spec", ALL)
def test_a_large_sample_has_the_stated_covariance(spec: str, rng: np.random.Generator) -> None:
    formula = named(spec)
    vectors = np.asarray(formula.embed(drawn(spec, rng)), dtype=float)
    centred = vectors - vectors.mean(0)
    found = centred.T @ centred / N
    error = np.sqrt(((centred**2).T @ centred**2 / N - found**2) / N)  # of each entry
    assert (np.abs(found - formula.truth.covariance) <= 5 * error + 2e-4).all()


@pytest.mark.parametrize("spec", ["tokens:7", "bernoulli:0.2", "zipf:2"])
def test_tokens_come_with_the_stated_probabilities(spec: str, rng: np.random.Generator) -> None:
    p = named(spec).truth.probabilities
    assert p is not None
    counts = np.bincount(drawn(spec, rng)[:, 0], minlength=len(p))[:5]
    assert (np.abs(counts - N * p[:5]) < 5 * np.sqrt(N * p[:5] * (1 - p[:5]))).all()


def test_zipf_falls_as_the_square_of_the_rank() -> None:
    p = named("zipf:2").truth.probabilities
    assert p is not None
    np.testing.assert_allclose(p[:4] / p[0], [1, 1 / 4, 1 / 9, 1 / 16])
    assert p[0] == pytest.approx(6 / np.pi**2, rel=1e-5)


def test_the_stated_coefficients_are_those_of_least_squares(rng: np.random.Generator) -> None:
    rows = drawn("linear:4", rng)
    found = np.linalg.lstsq(rows[:, :-1], rows[:, -1], rcond=None)[0]
    np.testing.assert_allclose(found, named("linear:4").truth.coefficients, atol=5 / np.sqrt(N))


def densities(spec: str, points: np.ndarray) -> np.ndarray:
    """Log densities worked out by scipy."""
    if spec == "normal:3":
        return stats.multivariate_normal(np.zeros(3)).logpdf(points)
    if spec == "rosenbrock:0.8":
        x, y = points.T
        return stats.norm(1, 1).logpdf(x) + stats.norm(x**2, 0.8).logpdf(y)
    if spec == "linear:4":
        inputs = points[:, :-1]
        return stats.norm.logpdf(inputs).sum(1) + stats.norm.logpdf(points[:, -1], inputs.sum(1) / 2)
    ticks = np.arange(3) - 1.0
    modes = [stats.multivariate_normal([a, b], 0.05**2).pdf(points) for a in ticks for b in ticks]
    return np.log(np.sum(modes, axis=0))


@pytest.mark.parametrize("spec", ["normal:3", "rosenbrock:0.8", "linear:4", "grid:3"])
def test_the_log_density_is_scipys_up_to_a_constant(spec: str, rng: np.random.Generator) -> None:
    points = named(spec).draw(30, chains=1, fresh=True, rng=rng).values[0]
    difference = named(spec).log_density(points) - densities(spec, points)
    np.testing.assert_allclose(difference, difference[0], atol=1e-9)


def test_the_log_density_of_a_token_is_that_of_its_probability() -> None:
    np.testing.assert_allclose(named("bernoulli:0.2").log_density(np.array([[0], [1]])), np.log([0.8, 0.2]))


@pytest.mark.parametrize("spec", ["normal:2", "grid:3"])
def test_a_tenth_of_the_real_items_lies_under_the_typical_floor(spec: str, rng: np.random.Generator) -> None:
    formula = named(spec)
    floor = formula.typical_floor(0.1, rng=rng)
    assert (formula.typicality(drawn(spec, rng)) < floor).mean() == pytest.approx(0.1, abs=0.016)  # 5 standard errors


def test_the_modes_of_the_grid_are_labelled_by_their_centre(rng: np.random.Generator) -> None:
    formula = named("grid:3")
    found = formula.draw(500, chains=2, fresh=True, rng=rng)
    assert formula.centres is not None
    assert found.labels is not None
    np.testing.assert_allclose(found.values, formula.centres[found.labels], atol=0.05 * 6)


def test_rare_tokens_share_the_last_coordinate() -> None:
    vectors = named("zipf:2").embed(np.array([[0], [254], [255], [199_999]]))
    np.testing.assert_array_equal(vectors.argmax(1), [0, 254, 255, 255])


def test_chains_are_independent(rng: np.random.Generator) -> None:
    found = named("normal:1").draw(5000, chains=2, fresh=True, rng=rng).values[:, :, 0]
    assert abs(np.corrcoef(found)[0, 1]) < 4 / np.sqrt(5000)


@pytest.mark.parametrize("name", FORMULAS)
def test_every_formula_has_a_default(name: str, rng: np.random.Generator) -> None:
    assert named(name).draw(3, chains=2, fresh=True, rng=rng).values.shape[:2] == (2, 3)


def test_another_name_is_no_formula() -> None:
    assert distribution_named("digits") is None


@pytest.mark.parametrize(
    "spec",
    ["normal:", "normal:x", "normal:0", "normal:1.5", "normal:nan", "normal:inf", "grid:-1", "rosenbrock:0",
     "bernoulli:1", "zipf:1", "tokens:0", "linear:nan"],
)  # fmt: skip
def test_a_number_that_makes_no_sense_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match=f"got {spec}, expected"):
        distribution_named(spec)
