"""Conditional diffusion on vectors: the distribution it learns, its guidance, its labels and its random streams."""

import numpy as np
import pytest
import torch

from indexes.errors import InputError
from loops.models.denoising import DenoisingModel
from loops.models.diffusion import Diffusion
from loops.samples import Samples, Space

PLANE = Space(2, classes=2)
SMALL = Diffusion(hidden=64, blocks=2, steps=400, batch=256, sampling_steps=25)
TINY = Diffusion(hidden=8, blocks=1, steps=5, levels=20, sampling_steps=5)


def two_classes(distance: float, n: int = 2000) -> Samples:
    """Two normal classes of the plane, unit variances, means `distance` apart on the first axis; a quarter is 1."""
    labels = (np.arange(n) % 4 == 0).astype(np.int64)
    values = np.random.default_rng(5).standard_normal((n, 2))
    values[:, 0] += distance * (labels - 0.5)
    return Samples(values.astype(np.float32), labels)


def fitted(family: Diffusion, data: Samples, seed: int = 0, weights: np.ndarray | None = None) -> DenoisingModel:
    return family.fit(data, space=PLANE, weights=weights, rng=np.random.default_rng(seed))


def drawn(model: DenoisingModel, n: int = 50, bias: float = 1.0, seed: int = 1) -> Samples:
    return model.sample(n, bias=bias, rng=np.random.default_rng(seed))


def of_class(samples: Samples, label: int) -> np.ndarray:
    assert samples.labels is not None
    return samples.values[samples.labels == label]


@pytest.fixture(scope="module")
def overlapping() -> DenoisingModel:
    return fitted(SMALL, two_classes(2.0))


@pytest.fixture(scope="module")
def separate() -> DenoisingModel:
    return fitted(SMALL, two_classes(8.0))


@pytest.fixture(scope="module")
def tiny() -> DenoisingModel:
    return fitted(TINY, two_classes(2.0))


@pytest.mark.parametrize("label", [0, 1])
def test_the_moments_of_each_class_are_those_of_the_data(separate: DenoisingModel, label: int) -> None:
    found = of_class(drawn(separate, 4000), label)
    np.testing.assert_allclose(found.mean(0), [8 * (label - 0.5), 0], atol=0.3)
    np.testing.assert_allclose(found.std(0), [1, 1], atol=0.3)


def test_guidance_moves_overlapping_classes_apart(overlapping: DenoisingModel) -> None:
    gaps = []
    for bias in (1.0, 0.5):
        samples = drawn(overlapping, 4000, bias)
        gaps.append(of_class(samples, 1)[:, 0].mean() - of_class(samples, 0)[:, 0].mean())
    assert gaps[0] == pytest.approx(2, abs=0.3)
    assert gaps[1] > gaps[0] + 0.4


def test_guidance_narrows_classes_along_what_tells_them_apart(overlapping: DenoisingModel) -> None:
    plain, guided = (of_class(drawn(overlapping, 4000, bias), 0)[:, 0].std() for bias in (1.0, 0.5))
    assert guided < 0.9 * plain


def test_labels_are_as_frequent_as_in_training(tiny: DenoisingModel) -> None:
    labels = drawn(tiny, 10_000).labels
    assert labels is not None
    assert labels.dtype == np.int64
    assert labels.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 10_000))


def test_weights_change_the_frequencies_of_labels() -> None:
    data = two_classes(2.0)
    assert data.labels is not None
    model = fitted(TINY, data, weights=np.where(data.labels == 1, 3.0, 1.0))  # a quarter, thrice: as much as the rest
    labels = drawn(model, 10_000).labels
    assert labels is not None
    assert labels.mean() == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 10_000))


def test_a_class_without_weight_never_appears() -> None:
    data = two_classes(8.0)
    assert data.labels is not None
    samples = drawn(fitted(SMALL, data, weights=(data.labels == 0).astype(float)), 1000)
    assert len(of_class(samples, 1)) == 0
    assert (samples.values[:, 0] < 0).mean() > 0.99  # where class 0 lies, 4 standard deviations from 0


def test_the_same_stream_gives_the_same_samples() -> None:
    first, second = (drawn(fitted(TINY, two_classes(2.0))) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.labels, second.labels)


@pytest.mark.parametrize("seeds", [(1, 1), (0, 2)], ids=["in fitting", "in sampling"])
def test_another_stream_gives_other_samples(seeds: tuple[int, int]) -> None:
    other = drawn(fitted(TINY, two_classes(2.0), seed=seeds[0]), seed=seeds[1])
    assert not np.array_equal(drawn(fitted(TINY, two_classes(2.0))).values, other.values)


def test_the_chunks_of_a_large_sample_differ(tiny: DenoisingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loops.models.denoising._CHUNK", 20)  # ten rows of two numbers
    samples = drawn(tiny, 25)
    assert samples.values.shape == (25, 2)
    assert len(np.unique(samples.values, axis=0)) == 25


def test_global_streams_and_the_data_stay_as_they_were() -> None:
    data = two_classes(2.0)
    assert data.labels is not None
    values, labels, state = data.values.copy(), data.labels.copy(), torch.random.get_rng_state()
    drawn(fitted(TINY, data, weights=np.ones(data.n)), bias=0.5)
    np.testing.assert_array_equal(data.values, values)
    np.testing.assert_array_equal(data.labels, labels)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_samples_are_float32_between_the_bounds(rng: np.random.Generator) -> None:
    data = Samples(rng.integers(0, 2, (100, 3)).astype(np.float64), np.zeros(100, np.int64))
    model = TINY.fit(data, space=Space(3, bounds=(0.0, 1.0), classes=1), weights=None, rng=rng)
    values = model.sample(200, bias=0.2, rng=rng).values
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() <= 1


@pytest.mark.parametrize("bias", [0.0, -0.5, 1.5])
def test_a_bias_that_guidance_cannot_give_is_refused(tiny: DenoisingModel, bias: float) -> None:
    with pytest.raises(InputError, match=r"\(0, 1\]"):
        drawn(tiny, bias=bias)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_outside_the_classes_is_refused(label: int) -> None:
    data = Samples(np.zeros((3, 2), np.float32), np.array([0, 1, label]))
    with pytest.raises(InputError, match=r"0\.\.1"):
        fitted(TINY, data)


def test_data_without_labels_are_refused() -> None:
    with pytest.raises(InputError, match="without labels"):
        fitted(TINY, Samples(np.zeros((3, 2), np.float32)))


def test_sampling_steps_that_do_not_divide_the_levels_are_refused() -> None:
    with pytest.raises(InputError, match="divisor"):
        fitted(Diffusion(levels=20, sampling_steps=3), two_classes(2.0))


def test_narrow_modes_of_the_plane_stay_narrow() -> None:
    rng = np.random.default_rng(8)
    modes = rng.integers(9, size=2000)
    centres = np.stack([modes // 3 - 1.0, modes % 3 - 1.0], axis=1)
    data = Samples(centres + 0.05 * rng.standard_normal((2000, 2)), np.zeros(2000, dtype=np.int64))
    model = SMALL.fit(data, space=Space(2, classes=1), weights=None, rng=rng)
    values = drawn(model, 500).values
    nearest = np.abs(values - np.clip(np.rint(values), -1, 1)).max(1)
    assert (nearest < 0.25).mean() > 0.85  # a uniform draw on the square would give a quarter
