import numpy as np
import pytest

from indexes.errors import InputError
from loops.data.distributions import distribution_named
from loops.data.population import Empirical, Population
from loops.data.supply import Clustered, Contaminated, clustered, is_contaminant, sampled
from loops.models import make_family
from loops.samples import Space


def constant(value: float, n: int = 1000, classes: int = 0) -> Empirical:
    labels = np.arange(n) % classes if classes else None
    return Empirical("constant", Space(2, classes=classes), np.full((n, 2), value, dtype=np.float32), labels)


def formula(spec: str) -> Population:
    found = distribution_named(spec)
    assert found is not None
    return found


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.29, 1 / 3, 0.7, 1.0])
def test_every_beginning_of_a_draw_holds_its_share_of_contaminants(share: float) -> None:
    which = is_contaminant(3000, share)
    np.testing.assert_allclose(np.cumsum(which), np.arange(1, 3001) * share, atol=1)
    assert which[:100].sum() == round(100 * share)


@pytest.mark.parametrize("fresh", [True, False])
def test_contaminants_stand_where_they_are_said_to(fresh: bool, rng: np.random.Generator) -> None:
    supply = Contaminated(constant(0), constant(1), 0.3)
    drawn = supply.draw(50, chains=2, fresh=fresh, rng=rng).values
    np.testing.assert_array_equal(drawn[:, :, 0] == 1, np.tile(is_contaminant(50, 0.3), (2, 1)))


def test_all_may_be_contaminants(rng: np.random.Generator) -> None:
    drawn = Contaminated(constant(0), constant(1), 1.0).draw(5, chains=1, fresh=True, rng=rng)
    assert (drawn.values == 1).all()


def test_nothing_can_be_drawn(rng: np.random.Generator) -> None:
    assert Contaminated(constant(0), constant(1), 0.5).draw(0, chains=2, fresh=True, rng=rng).values.shape == (2, 0, 2)


def test_contaminants_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="3 columns, but the real items have 2 columns"):
        Contaminated(constant(0), formula("normal:3"), 0.1)


@pytest.mark.parametrize(("classes", "kept"), [(3, 3), (0, 0), (4, 0)])
def test_labels_are_kept_only_if_both_sides_have_as_many(classes: int, kept: int, rng: np.random.Generator) -> None:
    supply = Contaminated(constant(0, classes=3), constant(1, classes=classes), 0.1)
    sizes = [supply.draw(n, chains=1, fresh=True, rng=rng).labels is not None for n in (2, 40)]
    assert (supply.space.classes, sizes) == (kept, [bool(kept)] * 2)


def test_labelled_items_are_not_clustered(rng: np.random.Generator) -> None:
    clean = constant(0, classes=3)
    assert clustered(clean, clean, rng=rng) is clean


def test_unlabelled_items_get_the_number_of_the_nearest_of_ten_centres(rng: np.random.Generator) -> None:
    clean = formula("normal:2")
    supply = clustered(clean, clean, rng=rng)
    assert isinstance(supply, Clustered)
    drawn = supply.draw(30, chains=2, fresh=True, rng=rng)
    nearest = ((drawn.values[:, :, None] - supply.centres) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(drawn.labels, nearest)
    assert supply.space.classes == 10


def test_a_contaminated_supply_that_lost_its_labels_is_clustered_by_clean_items(rng: np.random.Generator) -> None:
    clean = formula("grid:3")
    supply = clustered(Contaminated(clean, formula("normal:2"), 0.2), clean, rng=rng)
    assert supply.draw(40, chains=1, fresh=True, rng=rng).labels is not None


def test_a_familys_samples_resemble_what_it_was_fitted_to(rng: np.random.Generator) -> None:
    clean = formula("normal:2")
    drawn = sampled(make_family("gaussian"), clean, rng=rng).draw(4000, chains=2, fresh=True, rng=rng).values
    assert drawn.shape == (2, 4000, 2)
    np.testing.assert_allclose(drawn.mean((0, 1)), 0, atol=0.15)  # 2,000 items were fitted
    np.testing.assert_allclose(np.cov(drawn.reshape(-1, 2).T), np.eye(2), atol=0.2)


def test_a_family_without_labels_makes_items_without_labels(rng: np.random.Generator) -> None:
    supply = sampled(make_family("kde"), formula("grid:3"), rng=rng)
    assert (supply.space.classes, supply.draw(4, chains=1, fresh=True, rng=rng).labels) == (0, None)
