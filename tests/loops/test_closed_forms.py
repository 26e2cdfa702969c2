"""Every closed form, reproduced by the engine: `run_loop` with fixed seeds, compared with `loops.theory`.

Exact forms must lie within 4 standard errors over chains. Limits may differ by a remainder too, which is stated as
`c/n` and must hold at n and at 2n. All seeds are fixed: what passes once passes always.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loops import LoopConfig, run_loop
from loops.generation.record import Generation
from loops.models.gaussian import GaussianModel
from loops.theory.closed_forms import (
    accumulate_variance,
    admissible_synthetic,
    augment_error_ratio,
    best_real_weight,
    collision,
    contraction,
    effective_size,
    effective_size_ratio,
    fresh_mean_error,
    fresh_probability_variance,
    fresh_variance,
    regression_accumulate,
    regression_replace,
    replace_log_det,
    replace_log_det_variance,
    replace_standard_deviation,
    replace_variance,
    replace_wasserstein,
    subsample_ratio,
    weighted_error_ratio,
    zipf_test_error,
)

Chains = list[dict[str, np.ndarray]]  # of every generation, the measures of every chain
MLE = {"ddof": 0}


def generations(**settings: Any) -> list[Generation]:
    """A loop with hardly any sampled measures, which cost time."""
    return list(run_loop(LoopConfig(**{"measured_chains": 1, "n_measure": 10, **settings})))


def chains_of(**settings: Any) -> Chains:
    """What the chains measure, without the generations' data."""
    loop = run_loop(LoopConfig(**{"measured_chains": 1, "n_measure": 10, **settings}))
    return [generation.chains for generation in loop]


def late(chains: Chains, measure: str, *, first: int) -> np.ndarray:
    """The mean (chains,) over generation `first` and later."""
    found: np.ndarray = np.mean([c[measure] for c in chains[first - 1 :]], axis=0)
    return found


def assert_mean(values: np.ndarray, expected: float, *, remainder: float = 0.0, scale: float | None = None) -> None:
    """The mean over chains is `expected`, up to 4 standard errors and a remainder.

    The standard errors must be small beside `scale`, by default what is expected, or the test would show nothing.
    """
    assert np.isfinite(values).all()
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert 4 * error < 0.15 * (abs(expected) if scale is None else scale), f"too few chains: {values.mean()} ± {error}"
    assert abs(values.mean() - expected) <= 4 * error + remainder + 1e-12, f"{values.mean()} ± {error}, not {expected}"


class TestReplace:
    """Items 1 to 3: the Gaussian fully synthetic loop."""

    @staticmethod
    @functools.cache
    def loop(bias: float) -> Chains:
        return chains_of(n_initial=100, generations=50, chains=5000, bias=bias)

    @pytest.mark.parametrize("bias", [1.0, 0.9])
    @pytest.mark.parametrize("t", [1, 2, 10, 50])
    @pytest.mark.parametrize(
        ("measure", "formula"),
        [
            ("variance", replace_variance),
            ("standard_deviation", replace_standard_deviation),
            ("frechet", replace_wasserstein),
            ("log_det", lambda n, t, bias: replace_log_det(n, 1, t, bias)),
        ],
    )
    def test_every_measure_has_its_expectation(
        self, bias: float, t: int, measure: str, formula: Callable[..., np.ndarray]
    ) -> None:
        assert_mean(
            self.loop(bias)[t - 1][measure], float(formula(100, t, bias)), scale=1.0 if measure == "log_det" else None
        )

    @pytest.mark.parametrize("bias", [1.0, 0.9])
    def test_the_logarithm_of_the_variance_spreads_as_the_square_root_of_time(self, bias: float) -> None:
        """A normal variable's sample variance has a relative standard error of √(2/N)."""
        log = self.loop(bias)[-1]["log_det"]
        assert log.var(ddof=1) / replace_log_det_variance(100, 1, 50) == pytest.approx(1, abs=4 * math.sqrt(2 / 5000))

    @pytest.mark.parametrize(("bias", "stated"), [(1.0, 0.7372), (0.9, 0.9718)])
    def test_the_published_numbers_come_out(self, bias: float, stated: float) -> None:
        last = self.loop(bias)[49]
        assert_mean(last["frechet"], stated)
        assert_mean(last["log_det"] - 49 * math.log(bias), -0.5068)

    def test_five_dimensions_lose_their_determinant(self) -> None:
        chains = chains_of(data="normal:5", n_initial=50, generations=20, chains=2000)
        for t in (1, 5, 20):
            assert_mean(chains[t - 1]["log_det"], float(replace_log_det(50, 5, t)))
        assert_mean(chains[19]["log_det"], -6.357)

    def test_the_bias_enters_the_determinant_once_a_dimension(self) -> None:
        chains = chains_of(data="normal:3", n_initial=20, generations=5, chains=4000, bias=0.6)
        assert_mean(chains[4]["log_det"], float(replace_log_det(20, 3, 5, 0.6)))
        assert_mean(chains[4]["variance"], 0.6**4)


class TestFresh:
    """Items 4 to 6: the fresh data loop."""

    @pytest.mark.parametrize(("n_real", "n_synthetic", "bias"), [(20, 60, 0.7), (20, 60, 1.0), (10, 5, 0.3)])
    def test_variance_and_mean_have_the_limits_of_item_4(self, n_real: int, n_synthetic: int, bias: float) -> None:
        """Generation 40 is past all memory of the start: 0.75^80 is 1e-10."""
        sizes = {"n_initial": 30, "n_real": n_real, "n_synthetic": n_synthetic}
        chains = chains_of(workflow="fresh", **sizes, bias=bias, generations=80, chains=2000)
        assert_mean(late(chains, "variance", first=40), fresh_variance(n_real, n_synthetic, bias))
        assert_mean(late(chains, "mean_error", first=40), fresh_mean_error(n_real, n_synthetic, bias))

    def test_large_variances_approach_r_over_one_minus_bias_times_s(self) -> None:
        for n, remainder in ((40, 1 / 40), (80, 1 / 80)):
            sizes = {"n_initial": n, "n_real": n // 4, "n_synthetic": 3 * n // 4}
            chains = chains_of(workflow="fresh", **sizes, bias=0.7, generations=40, chains=1000)
            assert_mean(late(chains, "variance", first=20), 0.25 / (1 - 0.7 * 0.75), remainder=remainder)

    def test_the_plateau_does_not_depend_on_the_first_generation(self) -> None:
        ends = [
            late(chains_of(workflow="fresh", n_initial=n, n_real=20, n_synthetic=20, generations=30, chains=2000),
                 "frechet", first=15)
            for n in (3, 300)
        ]  # fmt: skip
        assert_mean(ends[0] - ends[1], 0, scale=float(ends[0].mean()))

    def test_a_first_error_of_the_mean_contracts_by_the_synthetic_share(self) -> None:
        """Generation 1 on four items errs by 1/4, which later ones forget by s² = 0.36 of the squared error."""
        chains = chains_of(workflow="fresh", n_initial=4, n_real=400, n_synthetic=600, generations=4, chains=10_000)
        limit = fresh_mean_error(400, 600)
        for t in (2, 3, 4):
            assert_mean(chains[t - 1]["mean_error"] - limit, 0.36 ** (t - 1) * (1 / 4 - limit), remainder=1e-5)

    @pytest.mark.parametrize("memory", [1, 2, 3])
    def test_synthetic_items_are_worth_what_item_5_says(self, memory: int) -> None:
        expected = effective_size_ratio(1, 1, memory)
        for n in (20, 40):
            sizes = {"n_initial": n, "n_real": n, "n_synthetic": n, "memory": memory}
            chains = chains_of(workflow="fresh", **sizes, generations=60, chains=2000)
            distance = late(chains, "frechet", first=15)
            error = 4 * distance.std() / math.sqrt(2000) / distance.mean()  # relative: n_e ∝ 1/distance
            worth = effective_size(float(distance.mean())) / n
            assert worth == pytest.approx(expected, abs=error * expected + 0.7 / n)

    def test_more_synthetic_items_than_admissible_harm_and_fewer_help(self) -> None:
        """Item 6. The same seed draws the same real items, so distances are compared chain by chain.

        n_r² times the difference tends to n_s (n_s − n_s*)(1 − λ)²/4: −16 at n_s = 16, 128 at 64, 0 at n_s* = 32.
        """
        assert admissible_synthetic(0.5) == 32
        for n_real in (150, 300):
            base = {"workflow": "fresh", "n_initial": n_real, "n_real": n_real, "generations": 30, "chains": 2000}
            alone = late(chains_of(**base, n_synthetic=0), "frechet", first=5)
            for n_synthetic in (16, 32, 64):
                loop = chains_of(**base, n_synthetic=n_synthetic, bias=0.5)
                difference = n_real**2 * (late(loop, "frechet", first=5) - alone)
                limit = n_synthetic * (n_synthetic - 32) / 16
                error = 4 * difference.std() / math.sqrt(2000)
                assert difference.mean() == pytest.approx(limit, abs=error + 35 * n_synthetic / n_real)
                if n_synthetic != 32:
                    assert abs(difference.mean()) > error
                    assert math.copysign(1, difference.mean()) == math.copysign(1, limit)


class TestFixedReal:
    """Items 7 and 11: the same real set in every generation."""

    def test_the_error_saturates_below_three_halves_of_the_real_one(self) -> None:
        for n in (25, 50):
            sizes = {"n_initial": n, "n_real": n, "n_synthetic": n}
            chains = chains_of(workflow="augment", **sizes, generations=30, chains=8000)
            ratio = late(chains, "frechet", first=10) / float(replace_wasserstein(n, 1))
            assert_mean(ratio, augment_error_ratio(n, n), remainder=0.5 / n)
            drift = late(chains, "frechet", first=20) / late(chains[:20], "frechet", first=10)
            assert np.median(drift) == pytest.approx(1, abs=0.05)

    @pytest.mark.parametrize("ratio", [0.25, 1.0, 3.0])
    def test_a_first_error_contracts_by_the_synthetic_share(self, ratio: float) -> None:
        """Item 11, mean: the squared distance from the fixed real mean loses all but s² of it a generation."""
        n_real = 1000
        n_synthetic = round(ratio * n_real)
        sizes = {"n_initial": 4, "n_real": n_real, "n_synthetic": n_synthetic}
        chains = chains_of(workflow="augment", **sizes, generations=3, chains=5000)
        limit = augment_error_ratio(n_real, n_synthetic) / n_real
        for t in (2, 3):
            left = contraction(ratio) ** (2 * (t - 1)) * (1 / 4 - 1 / n_real)
            values = chains[t - 1]["mean_error"]
            error = 4 * values.std() / math.sqrt(5000)
            assert values.mean() - limit == pytest.approx(left, abs=error + 1 / n_real)
            assert error < 0.1 * left + 1 / n_real

    def test_a_loop_inside_the_stable_region_stays_near_the_real_data(self) -> None:
        """Item 11, an inequality: λ_B = 0.45 < 1/2 and a start far off, 200 generations."""
        chains = chains_of(
            workflow="augment", n_initial=5, n_real=100, n_synthetic=45, generations=200, chains=500, n_measure=10
        )
        distance = np.array([c["frechet"].mean() for c in chains])
        real = float(replace_wasserstein(100, 1))
        assert distance[0] > 10 * real
        assert distance[10:].max() < 1.5 * real * (1 + 4 / math.sqrt(500))  # relative deviation of W₂² about 1


class TestRegression:
    """Item 8: linear regression on the same design."""

    @pytest.mark.parametrize(
        ("workflow", "formula", "stated"),
        [("replace", regression_replace, 1.0), ("accumulate", regression_accumulate, 0.155)],
    )
    def test_replacing_adds_errors_and_accumulating_bounds_them(
        self, workflow: str, formula: Callable[..., np.ndarray], stated: float
    ) -> None:
        sizes = {"n_initial": 111, "generations": 10, "chains": 600}
        chains = chains_of(family="linear-regression", data="linear:10", workflow=workflow, **sizes)
        for t in (1, 2, 5, 10):
            assert_mean(chains[t - 1]["test_error"], float(formula(t, 111, 10)))
        assert_mean(chains[9]["test_error"], stated)

    def test_accumulating_and_subsampling_costs_its_constant(self) -> None:
        """At t = 20 2.79 times the first error, for large n; d/n is the remainder of a design that is drawn, too."""
        d = 4
        for n in (40, 80):
            chains = chains_of(
                family="linear-regression", data=f"linear:{d}", workflow="accumulate-subsample", n_initial=n,
                generations=20, chains=1500,
            )  # fmt: skip
            ratio = chains[19]["test_error"] / float(regression_replace(1, n, d))
            assert_mean(ratio, float(subsample_ratio(20)), remainder=3 * d / n)


class TestMaximumLikelihood:
    """Item 9: variances divided by n."""

    def test_accumulating_keeps_most_of_the_variance(self) -> None:
        chains = chains_of(workflow="accumulate", n_initial=5, generations=12, chains=20_000, settings=MLE)
        for t in (1, 2, 12):
            assert_mean(chains[t - 1]["variance"], float(accumulate_variance(5, t)))

    def test_replacing_loses_one_nth_of_it_a_generation(self) -> None:
        chains = chains_of(n_initial=10, generations=10, chains=20_000, settings=MLE)
        for t in (1, 5, 10):
            assert_mean(chains[t - 1]["variance"], 0.9**t)


class TestCategorical:
    """Items 10 and 13: frequencies of single tokens."""

    def test_tokens_are_lost_as_in_genetic_drift(self) -> None:
        chains = chains_of(family="categorical", data="tokens:10", n_initial=100, generations=50, chains=3000)
        for t in (1, 10, 50):
            assert_mean(chains[t - 1]["collision"], float(collision(100, t, np.full(10, 0.1))))
        assert_mean(chains[49]["collision"], 0.4555)

    @pytest.mark.parametrize(("mixing", "stated"), [("fixed", 0.01355), ("binomial", 0.01377)])
    def test_fresh_data_keep_a_token_s_variance_bounded(self, mixing: str, stated: float) -> None:
        """Two tokens have the same squared error, so its sum is twice the variance."""
        sizes = {"n_initial": 20, "n_real": 10, "n_synthetic": 10}
        for workflow_mixing, size in ((mixing, sizes), (mixing, {**sizes, "n_real": 4, "n_synthetic": 16})):
            chains = chains_of(
                family="categorical", workflow="fresh", data="bernoulli:0.3", mixing=workflow_mixing, **size,
                generations=120, chains=2000,
            )  # fmt: skip
            expected = fresh_probability_variance(size["n_real"], size["n_synthetic"], 0.3, mixing=mixing)
            assert_mean(late(chains, "squared_error", first=60) / 2, expected)
        assert fresh_probability_variance(10, 10, 0.3, mixing=mixing) == pytest.approx(stated, abs=1e-5)

    def test_the_first_generation_misses_the_zipf_tail(self) -> None:
        """The data end at rank 200,000, beyond which lies a mass of 3e-6."""
        for n in (1000, 2000, 10_000):
            chains = chains_of(family="categorical", data="zipf:2", n_initial=n, generations=1, chains=40)
            assert_mean(chains[0]["lost_mass"], float(zipf_test_error(n, 2)), remainder=4e-6)


class TestWeighted:
    """Item 12: a share of the loss for real data."""

    def test_the_golden_ratio_is_the_best_weight_of_real_data(self) -> None:
        n = 100
        errors = {}
        for weight in (0.4, 0.5, best_real_weight(), 0.75, 0.9):
            chains = chains_of(
                workflow="weighted", n_initial=n, n_real=n, n_synthetic=n, real_weight=weight, generations=60,
                chains=1500,
            )  # fmt: skip
            errors[weight] = late(chains, "frechet", first=15) / float(replace_wasserstein(n, 1))
            assert_mean(errors[weight], float(weighted_error_ratio(weight)), remainder=1 / n)
        best = errors.pop(best_real_weight())
        for weight, error in errors.items():  # the same real draws
            gap = error - best
            assert gap.mean() > 4 * gap.std() / math.sqrt(1500), weight


class TestBugsThatPassACasualLook:
    """What loops have got wrong, and the engine must not."""

    def test_the_bias_does_not_touch_the_first_generation(self) -> None:
        plain, biased = (chains_of(n_initial=20, generations=2, chains=50, bias=bias) for bias in (1.0, 0.25))
        assert (plain[0]["variance"] == biased[0]["variance"]).all()
        assert (plain[1]["variance"] != biased[1]["variance"]).all()

    def test_the_bias_scales_the_covariance_and_not_the_standard_deviation(self) -> None:
        """The same stream of synthetic draws: every chain's variance is a quarter, its deviation a half."""
        plain, biased = (chains_of(n_initial=20, generations=2, chains=50, bias=bias) for bias in (1.0, 0.25))
        assert biased[1]["variance"] == pytest.approx(plain[1]["variance"] / 4)
        assert biased[1]["standard_deviation"] == pytest.approx(plain[1]["standard_deviation"] / 2)

    @pytest.mark.parametrize("ddof", [0, 1])
    def test_variances_have_one_divisor_in_every_generation(self, ddof: int) -> None:
        for generation in generations(n_initial=20, generations=3, chains=50, settings={"ddof": ddof}):
            assert generation.training is not None
            items = generation.training.samples.values[..., 0]
            assert generation.chains["variance"] == pytest.approx(items.var(axis=1, ddof=ddof))

    def test_the_distance_is_squared(self) -> None:
        for chains in chains_of(n_initial=20, generations=3, chains=50):
            squared = chains["mean_error"] + (chains["standard_deviation"] - 1) ** 2
            assert chains["frechet"] == pytest.approx(squared)

    def test_the_logarithm_is_averaged_and_not_the_variance(self) -> None:
        last = generations(n_initial=10, generations=10, chains=500)[-1]
        variance = last.chains["variance"]
        assert last.measures["log_det"].estimate == pytest.approx(np.log(variance).mean())
        assert last.measures["log_det"].estimate < math.log(variance.mean()) - 0.1

    def test_real_and_synthetic_draws_have_streams_of_their_own(self) -> None:
        """Standardised, no draw of one recurs in the other, within a generation or in another."""
        made = generations(workflow="fresh", n_initial=200, n_real=200, n_synthetic=200, generations=3, chains=10)
        sets = [g.training.samples.values[..., 0] for g in made if g.training is not None]
        models = [g.models.vectorised for g in made if g.models is not None]
        noises = [sets[0].ravel()]
        for values, model in zip(sets[1:], models[:-1], strict=True):
            assert isinstance(model, GaussianModel)
            synthetic = (values[:, 200:] - model.mean) / np.sqrt(model.covariance[:, 0])
            noises += [values[:, :200].ravel(), synthetic.ravel()]
        correlations = np.corrcoef(noises) - np.eye(len(noises))
        assert np.abs(correlations).max() < 4 / math.sqrt(2000)
        assert len(np.unique(np.concatenate(noises).round(9))) == 2000 * len(noises)

    def test_the_number_of_synthetic_items_does_not_change_the_real_ones(self) -> None:
        few, many = (
            generations(workflow="fresh", n_initial=20, n_real=20, n_synthetic=n, generations=4, chains=3)
            for n in (0, 50)
        )
        assert [g.real_digest for g in few] == [g.real_digest for g in many]

    @pytest.mark.parametrize("workflow", ["augment", "augment-accumulate", "accumulate"])
    def test_a_fixed_real_set_stays_fixed(self, workflow: str) -> None:
        made = generations(workflow=workflow, n_initial=20, generations=4, chains=3)
        assert len({g.real_digest for g in made}) == 1
        real = [g.training.samples.values[:, :20] for g in made if g.training is not None]
        assert len(real) == 4
        assert all((values == real[0]).all() for values in real)

    def test_a_subsample_takes_no_item_twice(self) -> None:
        """With replacement the constant of item 8 would be π²/3 and not π²/2 − 2, too near for the test above."""
        made = generations(workflow="accumulate-subsample", n_initial=20, generations=5, chains=10)
        sets = [g.training.samples.values for g in made if g.training is not None]
        assert [[len(np.unique(chain)) for chain in values] for values in sets] == [[20] * 10] * 5

    @pytest.mark.parametrize("workflow", ["fresh", "weighted"])
    def test_a_fresh_real_set_is_another_one_each_time(self, workflow: str) -> None:
        made = generations(workflow=workflow, n_initial=20, generations=4, chains=3)
        assert len({g.real_digest for g in made}) == 4

    @pytest.mark.parametrize("workflow", ["replace", "augment", "fresh", "accumulate"])
    def test_models_are_trained_from_scratch(self, workflow: str) -> None:
        """Whatever came before: the training set alone gives the model."""
        for generation in generations(workflow=workflow, n_initial=20, generations=4, chains=3):
            assert generation.training is not None
            assert generation.models is not None
            found, samples = generation.models.vectorised, generation.training.samples
            assert isinstance(found, GaussianModel)
            assert found.mean == pytest.approx(samples.values.mean(axis=1))
            assert found.covariance[:, 0, 0] == pytest.approx(samples.values[..., 0].var(axis=1, ddof=1))

    def test_a_draw_shared_by_two_generations_is_shared_at_random(self) -> None:
        """With memory a draw is cut in parts: a cut of sorted tokens would part the tokens."""
        sizes = {"n_initial": 40, "n_real": 20, "n_synthetic": 40, "memory": 2}
        made = generations(family="categorical", data="tokens:4", workflow="fresh", **sizes, generations=3, chains=2000)
        for generation in made[1:]:
            assert generation.training is not None
            synthetic = generation.training.samples.values[:, 20:, 0]
            for token in range(4):
                assert_mean((synthetic == token).mean(axis=1), 0.25)

    def test_every_generation_is_measured_on_as_many_samples(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Though the training sets grow, precision and recall see n_measure samples."""
        from loops.generation.measure import Evaluator

        seen = []
        measure = Evaluator.measure

        def counting(self: Evaluator, values: np.ndarray) -> dict[str, float]:
            seen.append(len(values))
            return measure(self, values)

        monkeypatch.setattr(Evaluator, "measure", counting)
        made = generations(workflow="accumulate", n_initial=15, generations=4, chains=2, n_measure=12)
        assert [g.n_real + g.n_synthetic for g in made] == [15, 30, 45, 60]
        assert set(seen) == {12}
