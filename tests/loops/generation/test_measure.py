import math

import numpy as np
import pytest
from scipy import stats

from auditor.measures.frechet import frechet
from auditor.measures.prdc import prdc
from auditor.measures.vendi import vendi
from indexes.errors import InputError
from loops.data.distributions import distribution_named
from loops.data.population import Empirical
from loops.generation.measure import Evaluator, gauge_for, modes_of, over_chains
from loops.samples import Space


def empirical(n: int, width: int = 3, seed: int = 0) -> Empirical:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    values = rng.standard_normal((n, width)) + 5 * labels[:, None]
    return Empirical("items", Space(width, classes=2), values.astype(np.float32), labels)


def gauge_of(population: Empirical, n: int = 40) -> Evaluator:
    return gauge_for(population, n=n, rng=np.random.default_rng(1))[0]


CANDIDATE = np.random.default_rng(9).standard_normal((40, 3)).astype(np.float32) + 1


def test_precision_and_its_kin_are_the_auditors_own() -> None:
    gauge = gauge_of(empirical(200))
    found = gauge.measure(CANDIDATE)
    expected = prdc(gauge.real, CANDIDATE, k=5)
    assert {name: found[name] for name in expected} == {name: m.estimate for name, m in expected.items()}


def test_the_distance_is_the_auditors_own_against_all_of_the_data() -> None:
    population = empirical(200)
    found = gauge_of(population).measure(CANDIDATE)["frechet"]
    assert found == pytest.approx(frechet(population.values, CANDIDATE).estimate, rel=1e-9)


def test_the_vendi_score_is_the_auditors_own() -> None:
    assert gauge_of(empirical(200)).measure(CANDIDATE)["vendi"] == vendi(CANDIDATE).estimate


def test_the_variance_is_the_mean_over_columns() -> None:
    found = gauge_of(empirical(200)).measure(CANDIDATE)["variance"]
    assert found == pytest.approx(CANDIDATE.astype(float).var(0, ddof=1).mean())


def test_the_log_determinant_is_numpys() -> None:
    found = gauge_of(empirical(200)).measure(CANDIDATE)["log_det"]
    assert found == pytest.approx(np.linalg.slogdet(np.cov(CANDIDATE.T.astype(float)))[1])


def test_the_log_determinant_leaves_out_directions_that_real_data_lack() -> None:
    rows = np.random.default_rng(0).standard_normal((100, 2))
    flat = Empirical("flat", Space(3), np.column_stack([rows, np.zeros(100)]))
    found = gauge_of(flat).measure(np.column_stack([rows[:40], np.zeros(40)]))["log_det"]
    assert found == pytest.approx(np.linalg.slogdet(np.cov(rows[:40].T))[1])


def test_the_log_determinant_of_a_lost_direction_is_minus_infinity() -> None:
    lost = CANDIDATE.copy()
    lost[:, 1] = 0
    assert gauge_of(empirical(200)).measure(lost)["log_det"] == -math.inf


def test_a_distribution_without_variance_can_be_measured() -> None:
    population = distribution_named("tokens:1")
    assert population is not None
    gauge, _ = gauge_for(population, n=20, rng=np.random.default_rng(0))
    assert gauge.measure(np.zeros((20, 1), dtype=int))["frechet"] == 0


def test_the_real_sample_has_as_many_items_as_were_asked_for() -> None:
    assert len(gauge_of(empirical(200), n=30).real) == 30


def test_the_baseline_of_ample_data_shares_no_item_with_the_gauge() -> None:
    population = empirical(60)
    gauge, baseline = gauge_for(population, n=30, rng=np.random.default_rng(1))
    others = np.array([row for row in population.values if not (gauge.items == row).all(1).any()])
    assert len(others) == 30
    assert baseline["recall"].estimate == prdc(gauge.real, others)["recall"].estimate


def test_too_few_samples_to_have_neighbours_are_refused() -> None:
    with pytest.raises(InputError, match="n_measure is 5, expected more than 5"):
        gauge_of(empirical(50), n=5)


def test_more_samples_than_data_are_refused() -> None:
    with pytest.raises(InputError, match="50 items, fewer than n_measure = 60"):
        gauge_of(empirical(50), n=60)


def test_a_vector_belongs_to_the_mode_of_the_nearest_centre() -> None:
    population = distribution_named("grid:2")
    assert population is not None
    modes = modes_of(population, np.zeros((0, 2)), None)
    assert modes is not None
    assert population.centres is not None
    np.testing.assert_array_equal(modes.assign(population.centres + 0.3), np.arange(4))


def test_shares_of_labelled_data_are_those_of_the_labels() -> None:
    gauge = gauge_of(empirical(200))
    assert gauge.modes is not None
    np.testing.assert_allclose(gauge.modes.shares, np.bincount(gauge.modes.labels) / 40)


def test_unlabelled_data_have_no_modes() -> None:
    found = gauge_of(Empirical("plain", Space(3), CANDIDATE), n=10)
    assert found.mode_shares(CANDIDATE) is None


def test_a_mode_with_a_tenth_of_its_share_survives() -> None:
    gauge = gauge_of(empirical(200), n=100)  # two modes of equal share about 0 and 5
    low, high = np.zeros((95, 3)), np.full((5, 3), 5.0)
    assert gauge.measure(np.vstack([low, high]))["mode_survival"] == 1
    assert gauge.measure(np.vstack([low, low[:1], high[:4]]))["mode_survival"] == 0.5


def test_the_modal_variance_is_that_about_each_modes_own_mean() -> None:
    gauge = gauge_of(empirical(200))
    low, high = CANDIDATE[:20] - 1, CANDIDATE[20:] + 4
    found = gauge.measure(np.vstack([low, high]))["modal_variance"]
    squares = sum(((rows - rows.mean(0, dtype=float)) ** 2).sum() for rows in (low, high))
    assert found == pytest.approx(squares / (len(low) + len(high) - 2) / 3, rel=1e-5)


def test_strays_in_a_dead_mode_do_not_count_as_its_variance() -> None:
    gauge = gauge_of(empirical(200))  # two modes about 0 and 5
    mode, strays = np.zeros((98, 3)), np.array([[5.0, 5, 5], [9, 9, 9]])
    assert gauge.measure(np.vstack([mode, strays]))["modal_variance"] == 0


def test_a_perfect_model_reaches_the_real_distance_of_finite_data() -> None:
    population = empirical(200)
    _, readings = gauge_for(population, n=100, rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    gauge, _ = gauge_for(population, n=100, rng=rng)
    drawn = [gauge.measure(population.draw(100, chains=1, fresh=True, rng=rng).values[0])["frechet"] for _ in range(60)]
    spread = np.std(drawn) * np.sqrt(1 / 60 + 1 / 8)
    assert readings["frechet"].estimate == pytest.approx(np.mean(drawn), abs=4 * spread)


def test_the_interval_over_chains_is_students() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    found = over_chains(values)
    interval = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (found.estimate, found.n) == (3.75, 4)
    np.testing.assert_allclose([found.low, found.high], interval)


def test_the_interval_covers_the_mean_as_often_as_it_says(rng: np.random.Generator) -> None:
    found = [over_chains(values) for values in rng.standard_normal((4000, 5))]
    covered = np.mean([m.low <= 0 <= m.high for m in found])
    assert covered == pytest.approx(0.95, abs=5 * math.sqrt(0.0475 / 4000))


def test_chains_that_were_not_measured_do_not_count() -> None:
    assert over_chains(np.array([1.0, 3.0, np.nan])) == over_chains(np.array([1.0, 3.0]))


def test_a_single_chain_has_no_interval() -> None:
    found = over_chains(np.array([2.0]))
    assert (found.estimate, found.n, math.isnan(found.low), math.isnan(found.high)) == (2.0, 1, True, True)


def test_no_chain_at_all_is_a_stated_reason() -> None:
    assert over_chains(np.array([np.nan])).reason == "no chain has a value"


def test_too_few_data_for_two_samples_have_no_baseline_and_say_so() -> None:
    _, baseline = gauge_for(empirical(50), n=30, rng=np.random.default_rng(0))
    assert {name for name, reading in baseline.items() if math.isfinite(reading.estimate)} == {"frechet"}
    assert "fewer than two samples of 30" in str(baseline["precision"].reason)
