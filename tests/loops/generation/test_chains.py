import numpy as np

from loops.generation.chains import Chains, fit_chains, streams_of
from loops.models import make_family
from loops.models.categorical import CategoricalModel
from loops.models.kernel_density import KernelDensityModel
from loops.models.ngram import NGram
from loops.random_streams import Purpose, Streams
from loops.samples import Samples, Space, Truth

TRUTH = Truth(np.zeros(1), np.eye(1))


def kde(chains: int = 3) -> tuple[Chains, Samples]:
    data = Samples(np.random.default_rng(0).standard_normal((chains, 20, 1)))
    family = make_family("kde")
    rngs = streams_of(Streams(0), Purpose.training, 1, family=family, chains=chains)
    return fit_chains(family, data, space=Space(1), weights=None, rngs=rngs), data


def test_a_family_for_one_chain_gets_a_stream_for_each() -> None:
    rngs = streams_of(Streams(0), Purpose.training, 1, family=make_family("kde"), chains=3)
    assert len({rng.random() for rng in rngs}) == 3


def test_a_vectorised_family_gets_one_stream() -> None:
    assert len(streams_of(Streams(0), Purpose.training, 1, family=make_family("gaussian"), chains=3)) == 1


def test_every_chain_is_fitted_to_its_own_data() -> None:
    chains, data = kde()
    for model, values in zip(chains.models, data.values, strict=True):
        assert isinstance(model, KernelDensityModel)
        np.testing.assert_array_equal(model.data, values)


def test_a_chains_samples_do_not_depend_on_the_number_of_chains() -> None:
    (three, _), streams = kde(), [np.random.default_rng(c) for c in range(3)]
    alone = three.models[1].sample(5, bias=1.0, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(three.sample(5, bias=1.0, rngs=streams).values[1], alone.values)


def test_the_first_chains_keep_their_models() -> None:
    chains, _ = kde()
    assert chains.first(2).models == chains.models[:2]


def test_families_without_exact_measures_have_none() -> None:
    assert kde()[0].exact(TRUTH) == {}


def test_the_first_of_vectorised_chains_are_cut_from_the_model() -> None:
    model = CategoricalModel(np.array([[0.1, 0.9], [0.4, 0.6], [1.0, 0.0]]), 1)
    cut = Chains((model,), 3, 1).first(2).vectorised
    assert isinstance(cut, CategoricalModel)
    np.testing.assert_array_equal(cut.probabilities, model.probabilities[:2])


def test_progress_counts_the_chains() -> None:
    told: list[int] = []
    data = Samples(np.random.default_rng(0).standard_normal((3, 8, 1)))
    rngs = [np.random.default_rng(c) for c in range(3)]
    fit_chains(make_family("kde"), data, space=Space(1), weights=None, rngs=rngs, on_progress=told.append)
    assert told == [1, 2, 3]


def test_the_cross_entropy_is_minus_the_mean_log_likelihood() -> None:
    tokens = np.random.default_rng(0).integers(3, size=(2, 30, 4))
    space = Space(4, vocabulary=3)
    rngs = [np.random.default_rng(c) for c in range(2)]
    chains = fit_chains(NGram(order=2), Samples(tokens), space=space, weights=None, rngs=rngs)
    expected = [-model.log_likelihood(tokens[0]).mean() for model in chains.models]  # type: ignore[attr-defined]
    np.testing.assert_allclose(chains.cross_entropy(tokens[0]), expected)


def test_models_that_know_no_likelihood_have_no_cross_entropy() -> None:
    chains, data = kde()
    assert chains.cross_entropy(data.values[0]) is None


def test_labels_are_stacked_with_their_chains() -> None:
    class Labelled:
        def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
            labels = rng.integers(9, size=n)
            return Samples(labels[:, None].astype(float), labels)

    rngs = [np.random.default_rng(c) for c in range(2)]
    found = Chains((Labelled(), Labelled()), 2, 1).sample(6, bias=1.0, rngs=rngs)
    np.testing.assert_array_equal(found.labels, found.values[:, :, 0])
