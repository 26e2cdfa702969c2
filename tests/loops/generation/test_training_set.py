from typing import Any

import numpy as np
import pytest

from indexes.errors import InputError
from loops.config import LoopConfig
from loops.data.population import Supply
from loops.generation.training_set import Batch, TrainingSet, batch_sizes, initial_set, later_set, real_set
from loops.random_streams import Streams
from loops.samples import Samples, Space

STREAMS = Streams(1)


class Counting:
    """A supply whose items are 0.001 · 1, 2, 3 …, continued from draw to draw."""

    space = Space(1)

    def __init__(self) -> None:
        self.given = 0

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        values = 0.001 * (self.given + 1 + np.arange(chains * n).reshape(chains, n, 1))
        self.given += chains * n
        return Samples(values)


def config(workflow: str, **fields: Any) -> LoopConfig:
    given = {"n_initial": 6, "n_synthetic": 5, "chains": 2, "generations": 5, **fields}
    return LoopConfig(workflow=workflow, **given).resolved(size=None, width=1, vectorised=True)


def batch(origin: int, use: int | None, n: int = 5) -> Batch:
    """Items that tell the generation they come from."""
    return Batch(origin, use, Samples(np.full((2, n, 1), float(origin))))


def built(
    loop: LoopConfig, batches: list[Batch], generation: int = 3, supply: Supply | None = None
) -> tuple[TrainingSet, Samples]:
    supply = supply or Counting()
    fixed = real_set(supply, loop, STREAMS)
    return later_set(generation, fixed, batches, supply=supply, config=loop, streams=STREAMS), fixed


def origins(found: TrainingSet) -> list[int]:
    return found.origins.tolist()


def test_generation_1_holds_the_initial_real_items_alone() -> None:
    loop = config("augment", n_real=9)
    fixed = real_set(Counting(), loop, STREAMS)
    first = initial_set(fixed, loop)
    np.testing.assert_array_equal(first.samples.values, fixed.values[:, :6])
    assert first.counts == {0: 6}


def test_the_fixed_real_items_cannot_be_changed() -> None:
    fixed = real_set(Counting(), config("augment"), STREAMS)
    with pytest.raises(ValueError, match="read-only"):
        fixed.values[0] = 1


def test_a_fresh_loop_draws_no_more_fixed_items_than_it_begins_with() -> None:
    assert real_set(Counting(), config("fresh", n_real=50), STREAMS).n == 6


def test_replace_holds_what_the_last_generation_sampled_alone() -> None:
    found, _ = built(config("replace"), [batch(1, 2), batch(2, 3), batch(2, 4)])
    assert origins(found) == [2] * 5
    assert (found.samples.values == 2).all()


def test_augment_holds_the_same_real_items_every_generation() -> None:
    loop, supply = config("augment", n_real=4), Counting()
    fixed = real_set(supply, loop, STREAMS)
    sets = [later_set(t, fixed, [batch(t - 1, t)], supply=supply, config=loop, streams=STREAMS) for t in (2, 3)]
    np.testing.assert_array_equal(sets[0].samples.values[:, :4], fixed.values[:, :4])
    assert sets[0].real_digest == sets[1].real_digest
    assert origins(sets[1]) == [0] * 4 + [2] * 5


def test_fresh_holds_other_real_items_every_generation() -> None:
    loop, supply = config("fresh", n_real=4), Counting()
    fixed = real_set(supply, loop, STREAMS)
    sets = [later_set(t, fixed, [batch(t - 1, t)], supply=supply, config=loop, streams=STREAMS) for t in (2, 3)]
    real = [fixed.values, *(s.samples.values[:, :4] for s in sets)]
    assert len(np.unique(np.concatenate([r.ravel() for r in real]))) == sum(r.size for r in real)
    assert sets[0].real_digest != sets[1].real_digest


@pytest.mark.parametrize(("workflow", "n_real"), [("accumulate", 6), ("augment-accumulate", 4)])
def test_accumulating_holds_everything_ever_sampled(workflow: str, n_real: int) -> None:
    found, _ = built(config(workflow, n_real=4), [batch(1, None), batch(2, None)])
    assert origins(found) == [0] * n_real + [1] * 5 + [2] * 5


def test_a_subsample_has_the_budget_and_no_item_twice() -> None:
    found, fixed = built(config("accumulate-subsample", budget=7), [batch(1, None), batch(2, None)])
    assert found.samples.values.shape == (2, 7, 1)
    for chain in range(2):
        assert found.origins[chain].tolist().count(1) <= 5
        real = found.samples.values[chain][found.origins[chain] == 0, 0]
        assert len(np.unique(real)) == len(real)
        assert set(real) <= set(fixed.values[chain, :, 0])


def test_a_subsamples_origins_follow_its_items() -> None:
    found, _ = built(config("accumulate-subsample", budget=7), [batch(1, None), batch(2, None)])
    np.testing.assert_array_equal(np.where(found.origins == 0, 0, found.samples.values[..., 0].round()), found.origins)


def test_a_subsample_takes_every_item_equally_often() -> None:
    supply, loop = Counting(), config("accumulate-subsample", budget=8, chains=4000)
    batches = [Batch(g, None, Samples(np.full((4000, 5, 1), float(g)))) for g in (1, 2)]
    found, _ = built(loop, batches, supply=supply)
    shares = [found.counts[g] / 8 for g in (0, 1, 2)]
    np.testing.assert_allclose(shares, np.array([6, 5, 5]) / 16, atol=5 * 0.5 / np.sqrt(4000 * 8))


def test_a_budget_beyond_what_there_is_takes_all() -> None:
    found, _ = built(config("accumulate-subsample", budget=99), [batch(1, None)])
    assert found.counts == {0: 6, 1: 5}


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_weighted_loss_gives_the_real_part_its_share(weight: float) -> None:
    found, _ = built(config("weighted", n_real=4, real_weight=weight), [batch(2, 3)])
    assert found.weights is not None
    assert found.weights[:4].sum() / found.weights.sum() == pytest.approx(weight)


def test_weights_have_the_mean_one() -> None:
    found, _ = built(config("weighted", n_real=4), [batch(2, 3)])
    assert found.weights is not None
    assert found.weights.mean() == pytest.approx(1)


def test_a_weighted_loss_without_synthetic_items_is_refused() -> None:
    with pytest.raises(InputError, match="needs real and synthetic items"):
        built(config("weighted", n_real=4), [])


def test_every_item_of_binomial_mixing_is_synthetic_with_the_same_chance() -> None:
    loop = config("fresh", mixing="binomial", n_real=3, n_synthetic=9, chains=2000)
    found, _ = built(loop, [Batch(2, 3, Samples(np.full((2000, 12, 1), 2.0)))])
    synthetic = (found.origins == 2).mean(0)
    assert found.samples.n == 12
    assert (np.abs(synthetic - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 2000)).all()


def test_binomial_mixing_uses_no_item_twice() -> None:
    loop = config("fresh", mixing="binomial", n_real=3, n_synthetic=9)
    sampled = Samples(100 + np.arange(24.0).reshape(2, 12, 1))
    found, _ = built(loop, [Batch(2, 3, sampled)])
    assert len(np.unique(found.samples.values)) == 24


def test_contaminants_are_told_from_real_items() -> None:
    loop = config("augment", n_real=4, contamination=0.5, contaminant="normal:1")
    found, _ = built(loop, [batch(2, 3)])
    assert found.counts == {-1: 2, 0: 2, 2: 5}


@pytest.mark.parametrize("workflow", ["curated", "verified"])
def test_selecting_workflows_have_real_items_only_if_asked(workflow: str) -> None:
    without, _ = built(config(workflow), [batch(2, 3)])
    beside, _ = built(config(workflow, n_real=4), [batch(2, 3)])
    assert (without.counts, beside.counts) == ({2: 5}, {0: 4, 2: 5})


def test_a_generation_without_items_is_refused() -> None:
    with pytest.raises(InputError, match="generation 3 has nothing to train on"):
        built(config("replace"), [])


@pytest.mark.parametrize("memory", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [1, 5, 12])
def test_memory_takes_equal_parts_from_the_last_generations(memory: int, n: int) -> None:
    loop = config("replace", n_synthetic=n, memory=memory, generations=8)
    for later in range(2, 9):
        parts = [batch_sizes(g, loop).get(later, 0) for g in range(1, later)]
        heard, silent = parts[-memory:], parts[:-memory]
        assert sum(parts) == n
        assert max(heard) - min(heard) <= 1
        assert sum(silent) == 0


def test_what_accumulates_is_sampled_once_for_every_later_generation() -> None:
    assert batch_sizes(2, config("accumulate")) == {None: 5}


def test_the_last_generation_samples_nothing() -> None:
    assert [batch_sizes(5, config(w)) for w in ("replace", "accumulate")] == [{}, {}]


def test_labels_travel_with_their_items() -> None:
    loop = config("replace", memory=2)
    labelled = Batch(2, 3, Samples(np.zeros((2, 3, 1)), np.array([[0, 1, 2], [3, 4, 5]])))
    found, _ = built(loop, [labelled, labelled])
    np.testing.assert_array_equal(found.samples.labels, [[0, 1, 2, 0, 1, 2], [3, 4, 5, 3, 4, 5]])
