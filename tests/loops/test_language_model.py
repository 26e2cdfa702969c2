import numpy as np
import pytest
import torch

from indexes.errors import InputError
from loops.models.language_model import FittedLanguageModel, LanguageModel
from loops.samples import Samples, Space

SPACE = Space(10, vocabulary=7)
SMALL = LanguageModel(width=32, layers=2, heads=2, steps=120, batch=32, rate=1e-2)


def counting(n: int, rng: np.random.Generator) -> np.ndarray:
    """Sequences in which the next token is one more, modulo 7, from a random start."""
    return (rng.integers(0, 7, (n, 1)) + np.arange(10)) % 7


def noisy(n: int, rng: np.random.Generator) -> np.ndarray:
    """The same with a fifth of the tokens replaced."""
    return np.where(rng.random((n, 10)) < 0.2, rng.integers(0, 7, (n, 10)), counting(n, rng))


def fit(
    values: np.ndarray, *, weights: np.ndarray | None = None, seed: int = 0, family: LanguageModel = SMALL
) -> FittedLanguageModel:
    return family.fit(Samples(values), space=SPACE, weights=weights, rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def counter() -> FittedLanguageModel:
    return fit(counting(500, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def unsure() -> FittedLanguageModel:
    return fit(noisy(500, np.random.default_rng(1)))


def entropy(tokens: np.ndarray) -> float:
    """Of steps from one token to the next, in nats."""
    share = np.bincount(((tokens[:, 1:] - tokens[:, :-1]) % 7).ravel(), minlength=7) / tokens[:, 1:].size
    return float(-(share[share > 0] * np.log(share[share > 0])).sum())


def test_a_deterministic_pattern_is_learnt(counter: FittedLanguageModel, rng: np.random.Generator) -> None:
    drawn = counter.sample(400, bias=1.0, rng=rng).values
    assert ((drawn[:, 1:] - drawn[:, :-1]) % 7 == 1).mean() > 0.97
    assert np.bincount(drawn[:, 0], minlength=7).min() > 20  # every start, 57 times each on average


def test_the_cross_entropy_approaches_that_of_the_source(counter: FittedLanguageModel) -> None:
    held = counting(300, np.random.default_rng(9))
    assert -counter.log_likelihood(held).mean() == pytest.approx(np.log(7), abs=0.15)  # only the start is random


def test_a_dependence_beyond_the_tokens_seen_side_by_side_is_learnt(rng: np.random.Generator) -> None:
    values = rng.integers(0, 7, (2_000, 10))
    values[:, 9] = values[:, 0]
    family = LanguageModel(width=32, layers=1, heads=2, steps=200, batch=64, rate=1e-2)
    drawn = fit(values, family=family).sample(400, bias=1.0, rng=rng).values
    assert (drawn[:, 9] == drawn[:, 0]).mean() > 0.5  # 1/7 by chance


def test_tokens_drawn_one_by_one_follow_the_likelihood_of_whole_sequences(
    unsure: FittedLanguageModel, rng: np.random.Generator
) -> None:
    """Greedy tokens by the memory of keys and values are those that maximise the likelihood without it."""
    best = unsure.sample(1, bias=0.0, rng=rng).values
    scores = []
    for token in range(7):
        changed = best.copy()
        changed[0, 9] = token
        scores.append(unsure.log_likelihood(changed)[0])
    assert int(np.argmax(scores)) == best[0, 9]


def test_samples_are_as_likely_as_the_model_says(unsure: FittedLanguageModel, rng: np.random.Generator) -> None:
    """E log p of the last token given the others is minus their entropy, both by the model: the memory is exact."""
    drawn = unsure.sample(1_000, bias=1.0, rng=rng).values
    every = np.repeat(drawn[:, None], 7, axis=1)
    every[:, :, 9] = np.arange(7)
    joint = unsure.log_likelihood(every.reshape(-1, 10)).reshape(-1, 7)
    logs = joint - np.log(np.exp(joint).sum(-1, keepdims=True))
    surprise = logs[np.arange(len(drawn)), drawn[:, 9]] - (np.exp(logs) * logs).sum(-1)
    assert abs(surprise.mean()) < 4 * surprise.std() / np.sqrt(len(drawn))


def test_no_token_depends_on_a_later_one(unsure: FittedLanguageModel, rng: np.random.Generator) -> None:
    first = torch.tensor(rng.integers(0, 7, (5, 10)))
    second = first.clone()
    second[:, 6:] = (second[:, 6:] + 1) % 7
    losses = [unsure.network.loss(tokens)[:, :6] for tokens in (first, second)]
    torch.testing.assert_close(losses[0], losses[1])


def test_a_lower_bias_lowers_the_entropy(unsure: FittedLanguageModel, rng: np.random.Generator) -> None:
    found = [entropy(unsure.sample(300, bias=bias, rng=rng).values) for bias in (1.0, 0.7, 0.4)]
    assert found[0] > found[1] > found[2]


def test_a_bias_of_zero_yields_one_sequence(unsure: FittedLanguageModel, rng: np.random.Generator) -> None:
    assert len(np.unique(unsure.sample(20, bias=0.0, rng=rng).values, axis=0)) == 1


def test_items_without_weight_are_not_learnt(rng: np.random.Generator) -> None:
    up, down = counting(200, rng), counting(200, rng)[:, ::-1]
    weights = np.repeat([1.0, 0.0], 200)
    drawn = fit(np.concatenate([up, down]), weights=weights).sample(200, bias=1.0, rng=rng).values
    assert ((drawn[:, 1:] - drawn[:, :-1]) % 7 == 1).mean() > 0.98


def test_the_same_seed_gives_the_same_samples_and_leaves_torch_and_data_as_they_were() -> None:
    values = counting(50, np.random.default_rng(1))
    before, family = values.copy(), LanguageModel(width=16, layers=1, heads=2, steps=5)
    state = torch.random.get_rng_state()
    drawn = []
    for _ in range(2):
        torch.rand(1)
        rng = np.random.default_rng(7)
        torch.random.set_rng_state(state)
        model = family.fit(Samples(values), space=SPACE, weights=None, rng=rng)
        drawn.append(model.sample(1_100, bias=1.0, rng=rng).values)
        torch.testing.assert_close(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(values, before)
    assert (drawn[0].dtype, drawn[0].shape) == (np.int64, (1_100, 10))


def test_another_seed_gives_other_samples(unsure: FittedLanguageModel) -> None:
    first, second = (unsure.sample(20, bias=1.0, rng=np.random.default_rng(seed)).values for seed in (1, 2))
    assert (first != second).any()


def test_no_samples_are_an_empty_array(counter: FittedLanguageModel, rng: np.random.Generator) -> None:
    assert counter.sample(0, bias=1.0, rng=rng).values.shape == (0, 10)


def test_a_width_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="expected width % heads = 0"):
        fit(np.zeros((3, 10), dtype=np.int64), family=LanguageModel(width=10, heads=4))


def test_what_is_no_token_is_refused() -> None:
    with pytest.raises(InputError, match="tokens 0 to 9"):
        fit(np.arange(10)[None])


@pytest.mark.parametrize("bias", [-0.1, 1.1, float("nan")])
def test_a_bias_outside_its_range_is_refused(
    bias: float, counter: FittedLanguageModel, rng: np.random.Generator
) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        counter.sample(1, bias=bias, rng=rng)
