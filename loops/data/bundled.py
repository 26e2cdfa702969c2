"""Named data sets made from installed libraries (scikit-learn, NumPy, Python), without a download."""

import hashlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loops.data.population import Empirical
from loops.samples import Space

__all__ = ["BUNDLED", "Bundled", "bundled_texts", "bundled_vectors"]

_SEED = 20240507  # seed of the data sets that are generated
_POINTS = 4000  # items of each generated data set
_SIDE = 8  # pixels of a patch
_PIECE = 64  # characters of a text


@dataclass(frozen=True, slots=True)
class Bundled:
    """One bundled data set: a summary, and a function that returns the vectors or texts of the data set."""

    summary: str
    vectors: Callable[[], Empirical] | None = None
    texts: Callable[[], list[str]] | None = None


def bundled_vectors(name: str) -> Empirical | None:
    """The bundled vector data set called `name`; None if the name is unknown or belongs to a text data set."""
    found = BUNDLED.get(name)
    return None if found is None or found.vectors is None else found.vectors()


def bundled_texts(name: str) -> list[str] | None:
    """The texts, at most 64 characters each, of the bundled data set `name`; None if there is no such text data set."""
    found = BUNDLED.get(name)
    return None if found is None or found.texts is None else found.texts()


def _empirical(
    name: str, values: np.ndarray, labels: np.ndarray | None = None, space: Space | None = None
) -> Empirical:
    values = np.ascontiguousarray(values, dtype=np.float32)
    digest = hashlib.blake2b(values, digest_size=16).hexdigest()
    if labels is None:
        return Empirical(name, space or Space(values.shape[1]), values, digest=digest)
    space = space or Space(values.shape[1], classes=int(labels.max()) + 1)
    return Empirical(name, space, values, labels.astype(np.int64), digest=digest)


def _digits() -> Empirical:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return _empirical("digits", loaded.data, loaded.target, Space(64, image=(1, 8, 8), bounds=(0.0, 16.0), classes=10))


def _standardised(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean(0)) / values.std(0))


def _cancer() -> Empirical:
    from sklearn.datasets import load_breast_cancer

    loaded = load_breast_cancer()
    return _empirical("cancer", _standardised(loaded.data), loaded.target)


def _diabetes() -> Empirical:
    from sklearn.datasets import load_diabetes

    return _empirical("diabetes", _standardised(load_diabetes().data))


def _moons() -> Empirical:
    from sklearn.datasets import make_moons

    values, labels = make_moons(_POINTS, noise=0.08, random_state=_SEED)
    return _empirical("moons", values, labels)


def _swiss_roll() -> Empirical:
    from sklearn.datasets import make_swiss_roll

    return _empirical("swiss-roll", _standardised(make_swiss_roll(_POINTS, noise=0.3, random_state=_SEED)[0]))


def _patches() -> Empirical:
    grey, labels = _cut_out(_SIDE, lambda image: image.mean(2))
    return _empirical("patches", grey, labels, Space(_SIDE**2, image=(1, _SIDE, _SIDE), bounds=(0.0, 255.0), classes=2))


def _colours() -> Empirical:
    colours, labels = _cut_out(_SIDE // 2, lambda image: image / 255)
    return _empirical("colours", colours, labels)


def _cut_out(side: int, look: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Flattened random patches of scikit-learn's two sample photographs, and the photograph number of each patch."""
    from sklearn.datasets import load_sample_images

    rng, patches = np.random.default_rng(_SEED), []
    for photograph in load_sample_images().images:
        image = look(photograph.astype(np.float64))
        tops = rng.integers(image.shape[0] - side, size=_POINTS // 2)
        lefts = rng.integers(image.shape[1] - side, size=_POINTS // 2)
        patches += [image[top : top + side, left : left + side].ravel() for top, left in zip(tops, lefts, strict=True)]
    return np.stack(patches), np.repeat([0, 1], _POINTS // 2)


def _pieces(text: str) -> list[str]:
    """A text cut at word boundaries into pieces of at most 64 characters; pieces with few letters are dropped."""
    pieces = textwrap.wrap(" ".join(text.split()), _PIECE, break_long_words=True)
    return [piece for piece in pieces if sum(c.isalpha() for c in piece) > _PIECE // 2]


def _python_topics() -> list[str]:
    from pydoc_data.topics import topics

    return _pieces(" ".join(topics[name] for name in sorted(topics)))


def _numpy_docstrings() -> list[str]:
    names = sorted(name for name in dir(np) if not name.startswith("_"))
    return _pieces(" ".join(inspect.getdoc(getattr(np, name)) or "" for name in names))


BUNDLED = {
    "digits": Bundled("1,797 labelled handwritten digits, 8 × 8 pixels with grey levels 0 to 16", _digits),
    "patches": Bundled("4,000 grey patches of 8 × 8 pixels from two photographs", _patches),
    "colours": Bundled("4,000 colour patches of 4 × 4 pixels from two photographs", _colours),
    "cancer": Bundled("569 breast tumours with 30 standardised measurements each and two labels", _cancer),
    "diabetes": Bundled("442 diabetes patients with 10 standardised measurements each", _diabetes),
    "moons": Bundled("4,000 noisy points on two half circles in the plane, with two labels", _moons),
    "swiss-roll": Bundled("4,000 noisy points on a rolled-up sheet in three dimensions", _swiss_roll),
    "topics": Bundled("Python's language reference, cut into pieces of at most 64 characters", texts=_python_topics),
    "docstrings": Bundled("NumPy's docstrings, cut into pieces of at most 64 characters", texts=_numpy_docstrings),
}
