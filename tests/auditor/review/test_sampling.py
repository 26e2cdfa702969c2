"""Which items are drawn for labelling: strata, allotment and chance."""

import numpy as np
import pytest

from auditor.review.sampling import draw_review, known_answers, pick, shuffled
from indexes.errors import InputError


def names(n: int) -> list[str]:
    return [f"item {i}" for i in range(n)]


def two_humps(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Log odds of a set whose scores tell real from synthetic nearly always."""
    return np.concatenate([rng.normal(-4, 1, n - round(share * n)), rng.normal(4, 1, round(share * n))])


def test_as_many_items_are_drawn_as_were_asked_for(rng: np.random.Generator) -> None:
    draw = draw_review(names(1000), rng.normal(0, 3, 1000), rng.random(1000), n=50, seed=0)
    assert len(set(draw.rows)) == len(draw.rows) == len(draw.strata) == 50


def test_a_set_smaller_than_the_sample_is_drawn_whole(rng: np.random.Generator) -> None:
    draw = draw_review(names(30), rng.normal(0, 3, 30), rng.random(30), n=50, seed=0)
    assert draw.rows.tolist() == list(range(30))


def test_a_single_item_can_be_drawn() -> None:
    draw = draw_review(["only"], np.zeros(1), np.zeros(1), n=20, seed=0)
    assert (draw.rows.tolist(), draw.sizes.tolist()) == ([0], [1])


def test_the_draw_depends_on_the_items_and_the_seed_alone(rng: np.random.Generator) -> None:
    ids, log_odds, novelty = names(400), rng.normal(0, 3, 400), rng.random(400)
    order = rng.permutation(400)
    drawn = draw_review(ids, log_odds, novelty, n=50, seed=3)
    moved = draw_review([ids[i] for i in order], log_odds[order], novelty[order], n=50, seed=3)
    other = draw_review(ids, log_odds, novelty, n=50, seed=4)
    assert {ids[i] for i in drawn.rows} == {ids[order[i]] for i in moved.rows}
    assert set(drawn.rows) != set(other.rows)


def test_every_item_is_drawn_with_the_chance_its_stratum_states(rng: np.random.Generator) -> None:
    """Over 400 seeds the share of an item's draws lies within 4 standard errors of labels over items."""
    log_odds, novelty = two_humps(200, 0.3, rng), rng.random(200)
    draws = [draw_review(names(200), log_odds, novelty, n=50, seed=s) for s in range(400)]
    first = draws[0]
    for h, size in enumerate(first.sizes):
        chance = (first.strata == h).sum() / size
        hits = np.concatenate([d.rows[d.strata == h] for d in draws])
        shares = np.bincount(hits, minlength=200) / 400
        assert chance > 0
        assert np.abs(shares[shares > 0] - chance).max() < 4 * np.sqrt(chance * (1 - chance) / 400) + 1e-9
        assert (shares > 0).sum() == size


def test_strata_part_what_clear_scores_part(rng: np.random.Generator) -> None:
    draw = draw_review(names(1000), two_humps(1000, 0.5, rng), rng.uniform(0, 0.9, 1000), n=50, seed=0)
    is_synthetic = draw.rows >= 500
    mixed = [len(set(is_synthetic[draw.strata == h])) for h in range(len(draw.sizes))]
    assert 2 <= len(draw.sizes) <= 6
    assert mixed.count(2) <= 1


def test_novel_items_have_strata_of_their_own(rng: np.random.Generator) -> None:
    novelty = np.where(np.arange(1000) < 300, 1.0, 0.5)
    draw = draw_review(names(1000), rng.normal(0, 2, 1000), novelty, n=50, seed=0)
    for h in range(len(draw.sizes)):
        assert len(set(novelty[draw.rows[draw.strata == h]])) == 1


def test_large_and_doubtful_strata_get_more_labels(rng: np.random.Generator) -> None:
    log_odds = np.concatenate([np.full(500, -6.0), np.full(450, 0.0), np.full(50, 6.0)])
    draw = draw_review(names(1000), log_odds, np.zeros(1000), n=50, seed=0)
    drawn = np.bincount(draw.strata)
    assert drawn[1] > drawn[0] > drawn[2] >= 3


def test_scores_that_are_all_equal_make_one_stratum() -> None:
    assert draw_review(names(100), np.zeros(100), np.zeros(100), n=20, seed=0).sizes.tolist() == [100]


def test_no_stratum_is_too_small_to_be_of_use(rng: np.random.Generator) -> None:
    for share in (0.0, 0.001, 0.01, 0.5, 0.99, 1.0):
        draw = draw_review(names(2000), two_humps(2000, share, rng), rng.random(2000), n=50, seed=0)
        assert draw.sizes.min() >= 40  # 2 %
        assert draw.sizes.sum() == 2000
        assert np.bincount(draw.strata, minlength=len(draw.sizes)).min() >= 3


def test_too_small_a_sample_is_refused() -> None:
    with pytest.raises(InputError, match="expected at least 20"):
        draw_review(names(100), np.zeros(100), np.zeros(100), n=19, seed=0)


def test_known_answers_are_two_fifths_but_at_least_twenty() -> None:
    assert [known_answers(n) for n in (20, 50, 100, 500)] == [20, 20, 40, 200]


def test_the_order_is_not_that_of_the_sample() -> None:
    assert pick(names(50), 50, seed=0).tolist() != shuffled(names(50), seed=0).tolist()
    assert sorted(shuffled(names(50), seed=0)) == list(range(50))
