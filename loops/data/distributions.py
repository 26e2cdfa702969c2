"""Real distributions defined by a formula, so that loop results can be compared with theory."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from indexes.errors import InputError
from loops.samples import Samples, Space, Truth

__all__ = ["FORMULAS", "Distribution", "distribution_named"]


@dataclass(frozen=True)
class Distribution:
    """A real distribution defined by a formula: a sampler, and a log density up to a constant."""

    name: str
    space: Space
    truth: Truth
    sampler: Callable[[int, int, np.random.Generator], Samples]  # (chains, n, rng)
    log_density: Callable[[np.ndarray], np.ndarray]  # (n, width) → (n,)
    centres: np.ndarray | None = None  # (modes, d)
    digest: str = ""
    size: None = None

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        """Draw n independent items per chain; `fresh` makes no difference for a formula."""
        return self.sampler(chains, n, rng)

    def embed(self, values: np.ndarray) -> np.ndarray:
        """Items as vectors: numbers are unchanged, and tokens become one-hot vectors (rare tokens share one column)."""
        if not self.space.vocabulary:
            return values
        return np.eye(len(self.truth.mean), dtype=np.float32)[np.minimum(values[:, 0], len(self.truth.mean) - 1)]

    @property
    def skipped(self) -> dict[str, int]:
        """An empty mapping, because a formula has no unusable items."""
        return {}

    def spell(self, values: np.ndarray) -> None:
        """Always None, because no formula produces texts."""

    def typicality(self, values: np.ndarray) -> np.ndarray:
        """Log density of each item."""
        return self.log_density(values)

    def typical_floor(self, share: float, *, rng: np.random.Generator) -> float:
        """The `share` quantile of the log density of real items, estimated from 10,000 draws."""
        return float(np.quantile(self.log_density(self.sampler(1, 10_000, rng).values[0]), share))


def distribution_named(spec: str) -> Distribution | None:
    """The distribution for a specification `NAME[:NUMBER]`; None if NAME is not a known formula."""
    name, colon, argument = spec.partition(":")
    if name not in FORMULAS:
        return None
    make, default, _ = FORMULAS[name]
    try:
        number = float(argument) if colon else default
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise InputError(f"got {spec}, expected a number after the colon, such as {name}:{default:g}") from None
    return make(spec, number)


def _normal(name: str, number: float) -> Distribution:
    width = _count(name, number)
    truth = Truth(np.zeros(width), np.eye(width))
    return Distribution(
        name, Space(width), truth, lambda chains, n, rng: Samples(rng.standard_normal((chains, n, width))),
        lambda values: -(values**2).sum(-1) / 2,
    )  # fmt: skip


_SPREAD = 0.05  # standard deviation of a mode of the grid; neighbours are 1 apart


def _grid(name: str, number: float) -> Distribution:
    side = _count(name, number)
    ticks = np.arange(side) - (side - 1) / 2
    centres = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    truth = Truth(np.zeros(2), (ticks.var() + _SPREAD**2) * np.eye(2))

    def draw(chains: int, n: int, rng: np.random.Generator) -> Samples:
        mode = rng.integers(len(centres), size=(chains, n))
        return Samples(centres[mode] + _SPREAD * rng.standard_normal((chains, n, 2)), mode)

    def log_density(values: np.ndarray) -> np.ndarray:
        squared = ((values[:, None, :] - centres) ** 2).sum(-1)
        found: np.ndarray = special.logsumexp(-squared / (2 * _SPREAD**2), axis=1)
        return found

    return Distribution(name, Space(2, classes=len(centres)), truth, draw, log_density, centres)


def _rosenbrock(name: str, spread: float) -> Distribution:
    """Banana-shaped distribution of pairs (x, y): x ~ N(1, 1) and y ~ N(x², spread²)."""
    if not spread > 0:
        raise InputError(f"got {name}, expected a positive standard deviation after the colon")
    truth = Truth(np.array([1.0, 2.0]), np.array([[1.0, 2.0], [2.0, 6.0 + spread**2]]))

    def draw(chains: int, n: int, rng: np.random.Generator) -> Samples:
        x = 1 + rng.standard_normal((chains, n))
        return Samples(np.stack([x, x**2 + spread * rng.standard_normal((chains, n))], axis=-1))

    def log_density(values: np.ndarray) -> np.ndarray:
        x, y = values[:, 0], values[:, 1]
        return -((x - 1) ** 2) / 2 - (y - x**2) ** 2 / (2 * spread**2)

    return Distribution(name, Space(2), truth, draw, log_density)


def _uniform_tokens(name: str, number: float) -> Distribution:
    count = _count(name, number)
    return _tokens(name, np.full(count, 1 / count))


def _bernoulli(name: str, chance: float) -> Distribution:
    if not 0 < chance < 1:
        raise InputError(f"got {name}, expected a probability between 0 and 1 after the colon")
    return _tokens(name, np.array([1 - chance, chance]))


_TAIL = 200_000  # tokens of the Zipf distribution; for β = 2 the mass beyond is 3e-6


def _zipf(name: str, exponent: float) -> Distribution:
    if not exponent > 1:
        raise InputError(f"got {name}, expected an exponent above 1 after the colon")
    masses = np.arange(1, _TAIL + 1, dtype=np.float64) ** -exponent
    return _tokens(name, masses / masses.sum())


_SHOWN = 256  # coordinates of a token's vector; the last coordinate represents all rarer tokens


def _tokens(name: str, probabilities: np.ndarray) -> Distribution:
    shown = (
        np.append(probabilities[: _SHOWN - 1], probabilities[_SHOWN - 1 :].sum())
        if len(probabilities) > _SHOWN
        else probabilities
    )
    truth = Truth(shown, np.diag(shown) - np.outer(shown, shown), probabilities)
    cumulative = np.cumsum(probabilities)[:-1]

    def draw(chains: int, n: int, rng: np.random.Generator) -> Samples:
        return Samples(np.searchsorted(cumulative, rng.random((chains, n, 1)), side="right"))

    def log_density(values: np.ndarray) -> np.ndarray:
        return np.log(probabilities)[values].sum(-1)

    return Distribution(name, Space(1, vocabulary=len(probabilities)), truth, draw, log_density)


def _linear(name: str, number: float) -> Distribution:
    """Linear regression data: d inputs from N(0, I), all coefficients 1/√d, and label noise of variance 1."""
    width = _count(name, number)
    coefficients = np.full(width, 1 / math.sqrt(width))
    covariance = np.eye(width + 1)
    covariance[-1, :-1] = covariance[:-1, -1] = coefficients
    covariance[-1, -1] = 2.0

    def draw(chains: int, n: int, rng: np.random.Generator) -> Samples:
        inputs = rng.standard_normal((chains, n, width))
        return Samples(
            np.concatenate([inputs, (inputs @ coefficients + rng.standard_normal((chains, n)))[..., None]], -1)
        )

    def log_density(values: np.ndarray) -> np.ndarray:
        return -((values[:, -1] - values[:, :-1] @ coefficients) ** 2) / 2 - (values[:, :-1] ** 2).sum(1) / 2

    return Distribution(
        name, Space(width + 1), Truth(np.zeros(width + 1), covariance, None, coefficients), draw, log_density
    )


_MOST = 1_000_000


def _count(name: str, number: float) -> int:
    if not 1 <= number <= _MOST or number != int(number):
        raise InputError(f"got {name}, expected a positive whole number after the colon")
    return int(number)


FORMULAS: dict[str, tuple[Callable[[str, float], Distribution], float, str]] = {
    "normal": (_normal, 1, "standard normal in D dimensions, normal:D"),
    "grid": (_grid, 5, "a square grid of G × G narrow modes in the plane, grid:G"),
    "rosenbrock": (_rosenbrock, 0.3, "a banana-shaped distribution x ~ N(1, 1), y ~ N(x², s²), rosenbrock:s"),
    "tokens": (_uniform_tokens, 10, "one of K equally likely tokens, tokens:K"),
    "bernoulli": (_bernoulli, 0.5, "token 1 with probability p, else token 0, bernoulli:p"),
    "zipf": (_zipf, 2, "200,000 tokens with probabilities proportional to rank^−β, zipf:β"),
    "linear": (_linear, 10, "D standard normal inputs and a noisy linear response, linear:D"),
}
