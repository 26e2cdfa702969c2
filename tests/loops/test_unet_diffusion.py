"""Conditional diffusion on images: sizes of any kind, what it learns of classes, guidance and refusals."""

import numpy as np
import pytest
import torch

from indexes.errors import InputError
from loops.models.denoising import DenoisingModel
from loops.models.unet_diffusion import UNetDiffusion
from loops.samples import Samples, Space

TINY = UNetDiffusion(channels=4, steps=3, levels=20, sampling_steps=4)
STRIPES = Space(25, image=(1, 5, 5), bounds=(0.0, 1.0), classes=2)


def stripes(n: int = 400) -> Samples:
    """Noisy 5 × 5 images: the top row is bright in class 0, the bottom row in class 1."""
    labels = (np.arange(n) % 2).astype(np.int64)
    images = np.random.default_rng(5).uniform(0.0, 0.3, (n, 5, 5))
    images[labels == 0, 0] += 0.7
    images[labels == 1, -1] += 0.7
    return Samples(images.reshape(n, 25).astype(np.float32), labels)


def drawn(model: DenoisingModel, n: int = 20, bias: float = 1.0) -> Samples:
    return model.sample(n, bias=bias, rng=np.random.default_rng(1))


@pytest.fixture(scope="module")
def model() -> DenoisingModel:
    family = UNetDiffusion(channels=8, steps=150, levels=100, sampling_steps=20)
    return family.fit(stripes(), space=STRIPES, weights=None, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def tiny() -> DenoisingModel:
    return TINY.fit(stripes(), space=STRIPES, weights=None, rng=np.random.default_rng(0))


@pytest.mark.parametrize("bias", [1.0, 0.5])
@pytest.mark.parametrize("label", [0, 1])
def test_each_label_yields_its_own_images(model: DenoisingModel, label: int, bias: float) -> None:
    samples, data = drawn(model, 200, bias), stripes()
    found = samples.values[samples.labels == label].mean(0)
    np.testing.assert_allclose(found, data.values[data.labels == label].mean(0), atol=0.15)


@pytest.mark.parametrize("image", [(1, 5, 5), (3, 4, 7), (1, 1, 1), (2, 8, 3)], ids=str)
@pytest.mark.parametrize("halvings", [0, 2])
def test_images_of_any_size_come_back_at_that_size(
    image: tuple[int, int, int], halvings: int, rng: np.random.Generator
) -> None:
    width = int(np.prod(image))
    data = Samples(rng.random((10, width)), np.zeros(10, np.int64))
    family = UNetDiffusion(channels=4, halvings=halvings, steps=2, levels=20, sampling_steps=2)
    model = family.fit(data, space=Space(width, image=image, classes=1), weights=None, rng=rng)
    samples = model.sample(3, bias=0.5, rng=rng)
    assert samples.values.shape == (3, width)
    assert samples.values.dtype == np.float32
    assert np.isfinite(samples.values).all()


def test_the_same_stream_gives_the_same_samples(tiny: DenoisingModel) -> None:
    again = TINY.fit(stripes(), space=STRIPES, weights=None, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(drawn(tiny).values, drawn(again).values)


def test_another_stream_gives_other_samples(tiny: DenoisingModel) -> None:
    other = TINY.fit(stripes(), space=STRIPES, weights=None, rng=np.random.default_rng(2))
    assert not np.array_equal(drawn(tiny).values, drawn(other).values)


def test_global_streams_and_the_data_stay_as_they_were(rng: np.random.Generator) -> None:
    data, state = stripes(), torch.random.get_rng_state()
    drawn(TINY.fit(data, space=STRIPES, weights=np.ones(data.n), rng=rng))
    np.testing.assert_array_equal(data.values, stripes().values)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_items_that_are_no_images_are_sent_to_the_other_family(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="use the family diffusion"):
        TINY.fit(stripes(), space=Space(25, classes=2), weights=None, rng=rng)


@pytest.mark.parametrize(("channels", "halvings"), [(0, 1), (6, 1), (-4, 1), (4, -1)])
def test_channels_that_make_no_network_are_refused(channels: int, halvings: int, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="multiple of 4"):
        UNetDiffusion(channels=channels, halvings=halvings).fit(stripes(), space=STRIPES, weights=None, rng=rng)


def test_a_bias_of_zero_is_refused(tiny: DenoisingModel) -> None:
    with pytest.raises(InputError, match=r"\(0, 1\]"):
        drawn(tiny, bias=0.0)


def test_data_without_labels_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="without labels"):
        TINY.fit(Samples(stripes().values), space=STRIPES, weights=None, rng=rng)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_stream_gives_the_same_samples_on_a_gpu() -> None:
    family = UNetDiffusion(channels=8, steps=50, levels=100, sampling_steps=10, device="cuda")
    models = [family.fit(stripes(), space=STRIPES, weights=None, rng=np.random.default_rng(0)) for _ in range(2)]
    np.testing.assert_array_equal(drawn(models[0]).values, drawn(models[1]).values)


def test_more_halvings_than_an_image_can_bear_are_refused_before_memory_runs_out() -> None:
    space = Space(64, image=(1, 8, 8), bounds=(0.0, 1.0), classes=1)
    data = Samples(np.zeros((4, 64), dtype=np.float32), np.zeros(4, dtype=np.int64))
    with pytest.raises(InputError, match="9 halvings for images of"):
        UNetDiffusion(halvings=9).fit(data, space=space, weights=None, rng=np.random.default_rng(0))
