"""The encoder `forensic`: processing traces of images (noise, DCT, spectrum, colour, gradients), without weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn

from indexes.encoders.protocol import Sees
from indexes.errors import InputError
from indexes.images import CANONICAL, resize
from indexes.records import Kind

__all__ = ["ForensicEncoder", "load_forensic"]

_SIDES = (256, 128, 64, 32)  # pixels; the largest crop that fits is taken, not resized: resizing erases the traces
_LEVELS = 2  # residuals are quantised to −2 … 2 before co-occurrences are counted
_RINGS, _SECTORS, _ORIENTATIONS = 20, 8, 12
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ForensicEncoder:
    """Encodes images as statistics of the kind that is used in steganalysis and camera forensics.

    Residual co-occurrences follow the spatial rich model (Fridrich & Kodovský 2012), and spectral statistics follow
    Durall et al. (2020). An image with a side under 32 pixels is resized to 32 × 32 pixels.
    """

    spec: str = "forensic"
    kind: Kind = "image"
    sees: Sees = "traces"
    dim: int = 548
    fingerprint: str = f"forensic:{_VERSION}:{CANONICAL}"

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """A square crop from the middle of an image, aligned to the 8-pixel grid of JPEG blocks."""
        height, width = pixels.shape[:2]
        fitting = [side for side in _SIDES if side <= min(height, width)]
        if not fitting:
            return resize(pixels, _SIDES[-1])
        side = fitting[0]
        top, left = (height - side) // 16 * 8, (width - side) // 16 * 8
        return pixels[top : top + side, left : left + side]

    def __call__(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Forensic statistics (n, 548) float32 of a batch of crops; crops of equal size are processed together."""
        sides = np.array([len(image) for image in batch])
        result = np.empty((len(batch), self.dim), dtype=np.float32)
        for side in np.unique(sides):
            of_side = np.flatnonzero(sides == side)
            step = max(1, 2**20 // int(side) ** 2)  # about a megapixel at a time stays in cache
            for start in range(0, len(of_side), step):
                rows = of_side[start : start + step]
                result[rows] = statistics_of(np.stack([batch[i] for i in rows]))
        return result


def load_forensic(args: str, *, device: str) -> ForensicEncoder:
    """The encoder `forensic`, which takes no arguments and runs on the CPU."""
    if args:
        raise InputError(f"forensic takes no arguments, got {args!r}: write --encoder forensic")
    return ForensicEncoder()


def statistics_of(images: np.ndarray) -> np.ndarray:
    """All forensic statistics (n, 548) of square images (n, s, s, 3) uint8."""
    planes = _luma_chroma(images)
    residuals = _residuals(planes)
    parts = [
        _residual_moments(residuals),
        _co_occurrences(residuals),
        _block_dct(planes),
        _spectrum(planes),
        _colour(images, planes, residuals["laplace"]),
        _gradients(planes[:, 0]),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _luma_chroma(images: np.ndarray) -> np.ndarray:
    """Convert RGB images (n, s, s, 3) uint8 to Y, Cb, Cr planes (n, 3, s, s) float32 (BT.601)."""
    red, green, blue = np.moveaxis(images.astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([luma, 0.564 * (blue - luma), 0.713 * (red - luma)], axis=1)


def _residuals(p: np.ndarray) -> dict[str, np.ndarray]:
    """Noise residuals of planes: first and second differences along both axes, and the rich model's 3 × 3 kernel."""
    cross = p[..., :-2, 1:-1] + p[..., 2:, 1:-1] + p[..., 1:-1, :-2] + p[..., 1:-1, 2:]
    corners = p[..., :-2, :-2] + p[..., 2:, :-2] + p[..., :-2, 2:] + p[..., 2:, 2:]
    return {
        "right": p[..., :, 1:] - p[..., :, :-1],
        "down": p[..., 1:, :] - p[..., :-1, :],
        "right2": p[..., :, 2:] - 2 * p[..., :, 1:-1] + p[..., :, :-2],
        "down2": p[..., 2:, :] - 2 * p[..., 1:-1, :] + p[..., :-2, :],
        "laplace": 4 * p[..., 1:-1, 1:-1] + corners - 2 * cross,
    }


def _residual_moments(residuals: dict[str, np.ndarray]) -> np.ndarray:
    """Log standard deviation, log mean absolute value and log kurtosis of every noise residual plane, (n, 45)."""
    parts = []
    for residual in residuals.values():
        flat = residual.reshape(*residual.shape[:2], -1)
        centred = flat - flat.mean(2, keepdims=True)
        square = centred**2
        scale = np.sqrt(square.mean(2))
        kurtosis = (square**2).mean(2) / (scale + 1e-3) ** 4
        parts += [np.log(scale + 0.5), np.log1p(np.abs(flat).mean(2)), np.log1p(kurtosis)]
    return np.concatenate(parts, axis=1)


def _co_occurrences(residuals: dict[str, np.ndarray]) -> np.ndarray:
    """Square roots of the frequencies of neighbouring quantised residuals: five for luma, two per chroma plane."""
    parts = []
    for name, residual in residuals.items():
        step = 6 if name == "laplace" else 4  # grey levels per quantisation step
        quantised = (np.clip(np.rint(residual / step), -_LEVELS, _LEVELS) + _LEVELS).astype(np.int32)
        for channel in range(3 if name in ("right", "down") else 1):
            plane = quantised[:, channel]
            parts.append(_pair_frequencies(plane[:, :, :-1], plane[:, :, 1:]))
            parts.append(_pair_frequencies(plane[:, :-1], plane[:, 1:]))
    return np.sqrt(np.concatenate(parts, axis=1))


def _pair_frequencies(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Frequencies (n, 9) of pairs of quantised values; pairs that differ only in order or sign are pooled."""
    n, base = len(first), 2 * _LEVELS + 1
    codes = (first * base + second).reshape(n, -1) + (np.arange(n, dtype=np.int32) * base**2)[:, None]
    table = np.bincount(codes.ravel(), minlength=n * base**2).reshape(n, base, base) / codes.shape[1]
    pooled = table + table.transpose(0, 2, 1)
    pooled = (pooled + pooled[:, ::-1, ::-1]) / 4
    kept = [(i, j) for i in range(base) for j in range(i, base) if i + j <= base - 1]
    return np.stack([pooled[:, i, j] for i, j in kept], axis=1)


def _block_dct(planes: np.ndarray) -> np.ndarray:
    """Log mean absolute coefficient at each frequency of the 8 × 8 block DCT, (n, 192)."""
    n, channels, side, _ = planes.shape
    blocks = planes.reshape(n, channels, side // 8, 8, side // 8, 8).transpose(0, 1, 2, 4, 3, 5)
    coefficients = np.abs(dctn(blocks, axes=(-2, -1), norm="ortho"))
    return np.log(coefficients.mean((2, 3)) + 0.3).reshape(n, -1)


def _spectrum(planes: np.ndarray) -> np.ndarray:
    """Mean log spectral power per frequency ring, and per direction above half the Nyquist frequency, (n, 84)."""
    n, channels, side, _ = planes.shape
    window = np.hanning(side).astype(np.float32)
    windowed = (planes - planes.mean((2, 3), keepdims=True)) * (window[:, None] * window)
    power = np.log1p(np.abs(np.fft.fft2(windowed)) ** 2 * (32 / side) ** 2).reshape(n, channels, -1)
    vertical, horizontal = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :]
    radius = np.hypot(vertical, horizontal).ravel()
    ring = np.minimum((radius / 0.5 * 16).astype(int), _RINGS - 1)
    angle = np.mod(np.arctan2(vertical + 0 * horizontal, horizontal + 0 * vertical), np.pi).ravel()
    sector = np.minimum((angle / np.pi * _SECTORS).astype(int), _SECTORS - 1)
    averages = [_averaging(ring, _RINGS), _averaging(np.where(radius > 0.25, sector, _SECTORS), _SECTORS)]
    return (power @ np.concatenate(averages, axis=1)).reshape(n, -1)


def _averaging(group: np.ndarray, count: int) -> np.ndarray:
    """Matrix (len(group), count): multiplying a row vector by this matrix averages the values of each group."""
    members = (group[:, None] == np.arange(count)).astype(np.float32)
    return members / members.sum(0)


def _colour(images: np.ndarray, planes: np.ndarray, laplace: np.ndarray) -> np.ndarray:
    """Moments, quantiles and correlations of colour planes, saturation quantiles and clipped pixel shares, (n, 45)."""
    n = len(planes)
    flat = planes.reshape(n, 3, -1)
    mean, spread = flat.mean(2), flat.std(2)
    skewness = ((flat - mean[:, :, None]) ** 3).mean(2) / (spread + 1) ** 3
    levels = np.quantile(flat[:, :, :: max(1, flat.shape[2] // 4096)], [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98], axis=2)
    saturation = (images.max(-1).astype(np.float32) - images.min(-1)).reshape(n, -1)
    saturation_levels = np.quantile(saturation[:, :: max(1, saturation.shape[1] // 4096)], [0.1, 0.5, 0.9], axis=1)
    clipped = [(images == 0).mean((1, 2)), (images == 255).mean((1, 2))]
    correlations = [_correlations(flat), _correlations(laplace.reshape(n, 3, -1))]
    quantiles = [levels.transpose(1, 0, 2).reshape(n, -1), saturation_levels.T]
    return np.concatenate([mean, np.log(spread + 1), skewness, *correlations, *quantiles, *clipped], axis=1)


def _correlations(flat: np.ndarray) -> np.ndarray:
    """Pairwise correlations (n, 3) between three planes (n, 3, pixels)."""
    scaled = flat - flat.mean(2, keepdims=True)
    scaled /= scaled.std(2, keepdims=True) + 1
    matrix = scaled @ scaled.transpose(0, 2, 1) / flat.shape[2]
    return matrix[:, [0, 0, 1], [1, 2, 2]]


def _gradients(luma: np.ndarray) -> np.ndarray:
    """Square-rooted histogram of log gradient magnitudes, and share of gradient magnitude per orientation, (n, 20)."""
    n = len(luma)
    across = luma[:, 1:-1, 2:] - luma[:, 1:-1, :-2]
    along = luma[:, 2:, 1:-1] - luma[:, :-2, 1:-1]
    magnitude = np.hypot(across, along).reshape(n, -1)
    octave = np.minimum(np.log2(magnitude / 2 + 1), 7.99).astype(int) + 8 * np.arange(n)[:, None]
    octaves = np.bincount(octave.ravel(), minlength=8 * n).reshape(n, 8) / magnitude.shape[1]
    angle = np.mod(np.arctan2(along, across), np.pi).reshape(n, -1)
    sector = np.minimum((angle / np.pi * _ORIENTATIONS).astype(int), _ORIENTATIONS - 1)
    index = sector + _ORIENTATIONS * np.arange(n)[:, None]
    weights = np.bincount(index.ravel(), magnitude.ravel(), minlength=_ORIENTATIONS * n).reshape(n, _ORIENTATIONS)
    return np.concatenate([np.sqrt(octaves), weights / (weights.sum(1, keepdims=True) + 1)], axis=1)
