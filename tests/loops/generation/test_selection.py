from typing import Any

import numpy as np
import pytest

from indexes.errors import InputError
from loops.config import LoopConfig
from loops.data.distributions import Distribution, distribution_named
from loops.generation.chains import Chains
from loops.generation.selection import best_of, draw_selected
from loops.models.categorical import CategoricalModel
from loops.models.gaussian import GaussianModel
from loops.samples import Samples


def normal() -> Distribution:
    found = distribution_named("normal:1")
    assert found is not None
    return found


def select(models: Chains, n: int, workflow: str, clean: Distribution | None = None, **fields: Any) -> Samples:
    return draw_selected(
        models, n, config=LoopConfig(workflow=workflow, **fields), clean=clean or normal(),
        rngs=[np.random.default_rng(0)], selecting=np.random.default_rng(1),
        floor=(clean or normal()).typical_floor(0.1, rng=np.random.default_rng(2)),
    )  # fmt: skip


def gaussians(chains: int = 2, mean: float = 0.0, variance: float = 1.0) -> Chains:
    model = GaussianModel(np.full((chains, 1), mean), np.full((chains, 1, 1), variance))
    return Chains((model,), chains, 1)


def test_the_best_of_every_group_is_kept_with_its_label(rng: np.random.Generator) -> None:
    candidates = Samples(rng.standard_normal((2, 12, 3)), rng.integers(5, size=(2, 12)))
    reward = rng.standard_normal((2, 12))
    found = best_of(candidates, reward, group=4)
    assert candidates.labels is not None
    assert found.labels is not None
    for chain in range(2):
        for place in range(3):
            best = max(range(4 * place, 4 * place + 4), key=lambda i: reward[chain, i])
            np.testing.assert_array_equal(found.values[chain, place], candidates.values[chain, best])
            assert found.labels[chain, place] == candidates.labels[chain, best]


def test_plain_workflows_keep_what_the_model_samples() -> None:
    expected = gaussians().sample(7, bias=1.0, rngs=[np.random.default_rng(0)])
    np.testing.assert_array_equal(select(gaussians(), 7, "replace").values, expected.values)


def test_curated_normal_samples_have_the_least_of_k_squares() -> None:
    """The best of K has |x| < q with probability 1 − (1 − P(|z| < q))^K; at the median of |z| that is 1 − 2⁻ᴷ."""
    kept = select(gaussians(), 4000, "curated", candidates=3).values
    share = (np.abs(kept) < 0.6744898).mean()
    assert share == pytest.approx(1 - 1 / 8, abs=5 * np.sqrt(7 / 64 / 8000))


def test_a_curated_draw_of_tokens_is_of_random_candidates() -> None:
    """Groups of neighbours in a sorted draw would leave rare tokens in: the best of 4 is almost never the rare one."""
    clean = distribution_named("bernoulli:0.2")
    assert clean is not None
    model = CategoricalModel(np.tile([0.5, 0.5], (3, 1)), 1)
    kept = select(Chains((model,), 3, 1), 3000, "curated", clean, candidates=4).values
    assert kept.mean() == pytest.approx(0.5**4, abs=5 * np.sqrt(0.0586 / 9000))


@pytest.mark.parametrize("error", [0.0, 0.1, 0.5])
def test_the_verifier_passes_good_with_one_minus_its_error_and_bad_with_its_error(error: float) -> None:
    kept = np.abs(select(gaussians(), 5000, "verified", verifier_error=error).values)
    bad = (kept > 1.6448536).mean()  # a tenth of the real items lies beyond
    expected = 0.1 * error / (0.1 * error + 0.9 * (1 - error))
    assert bad == pytest.approx(expected, abs=0.015)  # the threshold itself is estimated from 10,000 draws


def test_every_chain_gets_as_many_verified_items_as_were_asked_for() -> None:
    assert select(gaussians(3, variance=9.0), 40, "verified").values.shape == (3, 40, 1)


def test_a_verified_draw_of_tokens_is_not_sorted_before_it_is_cut() -> None:
    """All three are good; a second round that keeps its smallest tokens would favour token 0."""
    clean = distribution_named("tokens:3")
    assert clean is not None
    model = CategoricalModel(np.full((2, 3), 1 / 3), 1)
    kept = select(Chains((model,), 2, 1), 3000, "verified", clean, verifier_error=0.5).values
    assert (np.abs(np.bincount(kept.ravel()) / 6000 - 1 / 3) < 5 * np.sqrt(2 / 9 / 6000)).all()


def test_a_verifier_that_passes_almost_nothing_is_given_up_with_a_remedy() -> None:
    with pytest.raises(
        InputError, match="2 chains, because the samples no longer resemble real data: use more real data"
    ):
        select(gaussians(mean=50.0), 5, "verified", verifier_error=0.0)


class Labelled:
    """A model of one chain whose items equal their labels."""

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        labels = rng.integers(3, size=n)
        return Samples(labels[:, None].astype(float), labels)


@pytest.mark.parametrize("workflow", ["curated", "verified"])
def test_labels_follow_the_selected_items(workflow: str) -> None:
    found = draw_selected(
        Chains((Labelled(), Labelled()), 2, 1), 30, config=LoopConfig(workflow=workflow), clean=normal(),
        rngs=[np.random.default_rng(c) for c in range(2)], selecting=np.random.default_rng(1), floor=-1.0,
    )  # fmt: skip
    np.testing.assert_array_equal(found.labels, found.values[:, :, 0])
