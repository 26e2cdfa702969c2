"""The scenarios of `fraction.py`: what the reference holds, what comes in, and how a draw is made."""

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from data import data_folder
from PIL import Image

from indexes.encoders import load_encoder
from indexes.images import decode

__all__ = ["SCENARIOS", "Draw", "Scenario", "draw_of"]

PREVALENCES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Items:
    """Labelled vectors: real sources and generators by name."""

    vectors: np.ndarray  # (n, d)
    digests: np.ndarray  # (n, 16)
    names: np.ndarray  # (n,)

    def rows(self, name: str) -> np.ndarray:
        """Row numbers of a source or generator."""
        found = np.flatnonzero(self.names == name)
        if len(found) == 0:
            raise KeyError(name)
        return found


@dataclass(frozen=True)
class Pair:
    """One way to fill reference and set."""

    real: str
    known: tuple[str, ...]
    incoming: str | None  # the generator of the set's synthetic part
    foreign: str | None = None  # another real source
    foreign_share: float = 0.0  # of the set's real part
    taught: bool = False  # whether the reference holds that other source too


@dataclass(frozen=True)
class Scenario:
    """Pairs taken in turn, each at every prevalence."""

    summary: str
    items: Callable[[], Items]
    pairs: tuple[Pair, ...]
    reference: int  # items of a component, as far as there are so many
    size: int  # items of the set
    prevalences: tuple[float, ...] = PREVALENCES
    complete: bool = False  # whether the generators are declared complete


@dataclass(frozen=True)
class Draw:
    """A reference and a set, of known truth."""

    part: str
    truth: float
    labels: tuple[str, ...]
    n_real: int
    components: list[np.ndarray]
    component_digests: list[np.ndarray]
    incoming: np.ndarray
    incoming_digests: np.ndarray
    seed: int


def draw_of(name: str, number: int) -> Draw:
    """The draw of that number, which with the name determines it: a fresh split of every pool."""
    scenario = SCENARIOS[name]
    pair = scenario.pairs[number % len(scenario.pairs)]
    prevalence = scenario.prevalences[number // len(scenario.pairs) % len(scenario.prevalences)]
    items = scenario.items()
    rng = np.random.default_rng([number, *name.encode()])
    n_synthetic = round(prevalence * scenario.size)
    n_foreign = round(pair.foreign_share * (scenario.size - n_synthetic))
    real, real_pool = _split(items.rows(pair.real), scenario.reference, rng)
    parts, chosen = [real], [_some(real_pool, scenario.size - n_synthetic - n_foreign, rng)]
    if pair.foreign is not None:
        size = scenario.reference if pair.taught else 0
        part, pool = _split(items.rows(pair.foreign), size, rng)
        chosen.append(_some(pool, n_foreign, rng))
        parts += [part] if pair.taught else []
    for generator in pair.known:
        part, pool = _split(items.rows(generator), scenario.reference, rng)
        parts.append(part)
        if generator == pair.incoming:
            chosen.append(_some(pool, n_synthetic, rng))
    if pair.incoming is not None and pair.incoming not in pair.known:
        chosen.append(_some(items.rows(pair.incoming), n_synthetic, rng))
    incoming = rng.permutation(np.concatenate(chosen))
    return Draw(
        part=_part_name(pair),
        truth=n_synthetic / scenario.size,
        labels=("real", *(("other",) if pair.taught else ()), *pair.known),
        n_real=1 + pair.taught,
        components=[items.vectors[rows] for rows in parts],
        component_digests=[items.digests[rows] for rows in parts],
        incoming=items.vectors[incoming],
        incoming_digests=items.digests[incoming],
        seed=number,
    )


def _part_name(pair: Pair) -> str:
    known = " + ".join(pair.known) or "real only"
    if pair.taught:
        return f"{pair.real} + {pair.foreign}, {known} ← {pair.foreign_share:.0%} {pair.foreign}, {pair.incoming}"
    if pair.foreign is not None:
        return f"{pair.real}, {known} ← {pair.foreign_share:.0%} {pair.foreign}"
    return f"{known} ← {pair.incoming or 'real'}"


def _split(rows: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(rows)
    return order[:size], order[size:]


def _some(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(rows, n, replace=False)


def _encoded(data: Sequence[bytes | str], names: Sequence[str], encoder: str) -> Items:
    chosen = load_encoder(encoder)
    prepared = (chosen.prepare(decode(item).pixels if chosen.kind == "image" else item) for item in data)
    vectors = np.concatenate([chosen(batch) for batch in batched(prepared, 256)])
    raw = [item if isinstance(item, bytes) else item.encode() for item in data]
    digests = np.stack([np.frombuffer(hashlib.blake2b(b, digest_size=16).digest(), np.uint8) for b in raw])
    return Items(vectors, digests, np.array(names))


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one shorter."""
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch


def _texts(name: str, label: Callable[[Mapping[str, str]], str]) -> tuple[list[bytes | str], list[str]]:
    file = f"text/{name}.jsonl.gz"
    with gzip.open(data_folder(file) / file, "rt") as lines:
        rows = [row for row in map(json.loads, lines) if row["text"].strip()]
    return [row["text"] for row in rows], [label(row) for row in rows]


def _generator(row: Mapping[str, str]) -> str:
    return row["generator"]


def _domain(row: Mapping[str, str]) -> str:
    return row["source"] if row["generator"] == "human" else f"{row['generator']}/{row['source']}"


@cache
def essays() -> Items:
    """Human essays and those of three language models, through `lexical`."""
    return _encoded(*_texts("essays", _generator), "lexical")


@cache
def attacked() -> Items:
    """Human texts and paraphrased or perturbed ones of two language models, through `lexical`."""
    return _encoded(*_texts("attacked", _generator), "lexical")


@cache
def domains() -> Items:
    """Human texts of three domains and their continuations by language models, through `lexical`."""
    return _encoded(*_texts("continuations", _domain), "lexical")


@cache
def cifake() -> Items:
    """CIFAKE images as they lie in the archive, through `forensic`."""
    archive = zipfile.ZipFile(data_folder("images/cifake.zip") / "images/cifake.zip")
    files = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")]
    return _encoded([archive.read(name) for name in files], [name.split("/")[0] for name in files], "forensic")


@cache
def images() -> Items:
    """Photographs of two sources and images of four generators, all decoded, cut to 224 pixels and encoded alike."""
    data, names = [], []
    for file, name_of in _ARCHIVES.items():
        archive = zipfile.ZipFile(data_folder(f"images/{file}") / "images" / file)
        for member in sorted(archive.namelist()):
            label = name_of(member)
            if label and member.lower().endswith((".jpg", ".jpeg", ".png", ".webp")):
                data.append(_one_path(archive.read(member)))
                names.append(label)
    return _encoded(data, names, "forensic")


_ARCHIVES: dict[str, Callable[[str], str]] = {
    "photos_vs_diffusion_256.zip": lambda member: "photos" if "real/" in member else "",
    "bsds_real_224.zip": lambda member: "bsds",
    "stable_diffusion_224.zip": lambda member: "stable_diffusion",
    "named_generators_256.zip": lambda member: member.split("/")[-2],
}
_SIDE = 224


def _one_path(data: bytes) -> bytes:
    """Decoded, the shorter side at 224 pixels, cut to a square, JPEG at quality 90."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = _SIDE / min(image.size)
    image = image.resize([max(_SIDE, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
    left, top = ((side - _SIDE) // 2 for side in image.size)
    buffer = io.BytesIO()
    image.crop((left, top, left + _SIDE, top + _SIDE)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


_ESSAYISTS = ("gpt-3.5-turbo-0613", "text-davinci-003", "flan-t5-xxl")
_ATTACKED = ("ChatGPT", "Claude-instant")
_GENERATORS = ("dalle_mini", "latent_diffusion", "glid3xl", "stable_diffusion")
_DOMAINS = ("xsum", "squad", "writing")


def _unseen(names: tuple[str, ...]) -> tuple[Pair, ...]:
    return tuple(Pair("human", (known,), other) for known in names for other in names if other != known)


def _foreign(share: float) -> tuple[Pair, ...]:
    pairs = [(a, b) for a in _DOMAINS for b in _DOMAINS if a != b]
    return tuple(Pair(a, tuple(f"{g}/{a}" for g in ("gpt-j-6B", "gpt2-xl")), None, b, share) for a, b in pairs)


def _taught(share: float) -> tuple[Pair, ...]:
    pairs = [(a, b) for a in _DOMAINS for b in _DOMAINS if a != b]
    return tuple(Pair(a, (f"gpt-j-6B/{a}",), f"gpt-j-6B/{a}", b, share, taught=True) for a, b in pairs)


SCENARIOS = {
    "cifake": Scenario(
        "Known generator, CIFAKE, reference 1500 + 1500, n = 1000 (of pools of 1500).",
        cifake, (Pair("real", ("fake",), "fake"),), 1500, 1000,
    ),
    "cifake-complete": Scenario(
        "The same with `--declare generators-complete`.",
        cifake, (Pair("real", ("fake",), "fake"),), 1500, 1000, complete=True,
    ),
    "cifake-1500": Scenario(
        "Known generator, CIFAKE, reference 1500 + 1500, n = 1500 (the whole pool at 0 and 1).",
        cifake, (Pair("real", ("fake",), "fake"),), 1500, 1500,
    ),
    "essays": Scenario(
        "Known generator, essays, reference 300 + 300, n = 200 (the whole pool at 0 and 1), each generator in turn.",
        essays, tuple(Pair("human", (g,), g) for g in _ESSAYISTS), 300, 200,
    ),
    "attacked": Scenario(
        "Known generator, attacked text, reference 300 + 300, n = 200 (of pools of 1700 and 700).",
        attacked, tuple(Pair("human", (g,), g) for g in _ATTACKED), 300, 200,
    ),
    "essays-unseen": Scenario(
        "Unseen generator, essays, reference 300 + 300, n = 200 (of pools of 200 and 500), all pairs.",
        essays, _unseen(_ESSAYISTS), 300, 200,
    ),
    "attacked-unseen": Scenario(
        "Unseen generator, attacked text, reference 300 + 300, n = 200 (of pools of 1700 and 1000), both pairs.",
        attacked, _unseen(_ATTACKED), 300, 200,
    ),
    "images-unseen": Scenario(
        "Unseen generator, photographs, reference 100 + 60 or 100 of each of three others, n = 100 (the whole real "
        "pool at 0, 50 of 60 or 100 at .5).",
        images, tuple(Pair("photos", tuple(o for o in _GENERATORS if o != g), g) for g in _GENERATORS), 100, 100,
        prevalences=(0.0, 0.01, 0.05, 0.1, 0.25, 0.5),
    ),
    "pure-real": Scenario(
        "Purely real sets of the same source: CIFAKE, n = 1000 of 1500.",
        cifake, (Pair("real", ("fake",), None),), 1500, 1000, prevalences=(0.0,),
    ),
    "pure-real-essays": Scenario(
        "Purely real sets of the same source: essays, n = 200 of 200.",
        essays, tuple(Pair("human", (g,), None) for g in _ESSAYISTS), 300, 200, prevalences=(0.0,),
    ),
    "other-source-text": Scenario(
        "Purely real sets of another source: text domain against domain, reference 150 of each, n = 140.",
        domains, _foreign(1.0), 150, 140, prevalences=(0.0,),
    ),
    "other-source-images": Scenario(
        "Purely real sets of another source: BSDS against the photographs, n = 100 (all of it).",
        images, (Pair("photos", _GENERATORS, None, "bsds", 1.0),), 100, 100, prevalences=(0.0,),
    ),
    "some-other-source-text": Scenario(
        "Real sets with 5 or 10 % of another domain.",
        domains, _foreign(0.05) + _foreign(0.1), 150, 140, prevalences=(0.0,),
    ),
    "some-other-source-images": Scenario(
        "Photographs with 5 or 10 % of BSDS, n = 100.",
        images, tuple(Pair("photos", _GENERATORS, None, "bsds", share) for share in (0.05, 0.1)), 100, 100,
        prevalences=(0.0,),
    ),
    "two-sources-text": Scenario(
        "Two real sources in the reference, 200 items of each and of a generator; n = 80, the second source at none, "
        "half or all of the set's real part.",
        domains, _taught(0.0) + _taught(0.5) + _taught(1.0), 200, 80, prevalences=(0.0, 0.05, 0.25, 0.5),
    ),
    "real-only": Scenario(
        "A reference without generators: essays, 300 real items, n = 200.",
        essays, tuple(Pair("human", (), g) for g in _ESSAYISTS), 300, 200,
    ),
}  # fmt: skip
