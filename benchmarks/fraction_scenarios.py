"""The scenarios of `fraction.py`: what the reference holds, what comes in, and how a draw is made."""

import gzip
import hashlib
import io
import itertools
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from data import data_folder
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from indexes.encoders import load_encoder
from indexes.images import decode

__all__ = ["SCENARIOS", "Draw", "Items", "Pair", "Scenario", "draw_of", "draws_of", "references_of"]

_FEWEST = 50  # items of a component
_LEAST_OF_SIZE = 0.6
PREVALENCES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.7)


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
    """Pairs of what is known and what comes in, each at every size and prevalence."""

    summary: str
    items: Callable[[], Items]
    pairs: tuple[Pair, ...]
    reference: int  # items of a component, as far as there are so many
    sizes: tuple[int, ...]  # items of the sets
    prevalences: tuple[float, ...] = PREVALENCES
    complete: bool = False  # whether the generators are declared complete


@dataclass(frozen=True)
class Draw:
    """A reference and a set, of known truth."""

    part: str
    n: int  # items of the set, as far as the pools allow
    is_synthetic: np.ndarray  # (n,) bool
    wanted: float  # the prevalence that the truth is the nearest to
    labels: tuple[str, ...]
    n_real: int
    components: list[np.ndarray]
    component_digests: list[np.ndarray]
    incoming: np.ndarray
    incoming_digests: np.ndarray
    seed: int

    @property
    def truth(self) -> float:
        """The synthetic fraction."""
        return float(self.is_synthetic.mean())


def references_of(scenario: Scenario) -> list[tuple[Pair, ...]]:
    """The pairs that can be asked of one reference, for each reference in turn."""
    groups: dict[tuple[object, ...], list[Pair]] = defaultdict(list)
    for pair in scenario.pairs:
        groups[pair.real, pair.known, pair.foreign, pair.taught].append(pair)
    return [tuple(pairs) for pairs in groups.values()]


def draws_of(name: str, number: int) -> list[Draw]:
    """The draws with the reference of that number, which with the name fixes them: one a pair, size and prevalence.

    Every pool is split anew. Where a pool is too small for a cell the set is smaller, by up to two fifths, or left out.
    """
    scenario = SCENARIOS[name]
    references = references_of(scenario)
    pairs = references[number % len(references)]
    items = scenario.items()
    rng = np.random.default_rng([number, *name.encode()])
    parts, pools = _parts_and_pools(pairs, items, scenario.reference, rng)
    cells = list(itertools.product(pairs, scenario.sizes, scenario.prevalences))
    drawn = [(pair, size, wanted, _composed(pair, pools, size, wanted, rng)) for pair, size, wanted in cells]
    return [
        Draw(
            part=_part_name(pair),
            n=size,
            is_synthetic=is_synthetic,
            wanted=prevalence,
            labels=("real", *(("other",) if pair.taught else ()), *pair.known),
            n_real=1 + pair.taught,
            components=[items.vectors[part] for part in parts],
            component_digests=[items.digests[part] for part in parts],
            incoming=items.vectors[rows],
            incoming_digests=items.digests[rows],
            seed=number,
        )
        for pair, size, prevalence, (rows, is_synthetic) in drawn
        if len(rows)
    ]


def draw_of(name: str, number: int) -> Draw:
    """One draw: the cells of the first reference, then those of the next."""
    for reference in itertools.count():
        drawn = draws_of(name, reference)
        if number < len(drawn):
            break
        number -= len(drawn)
    return drawn[number]


Pools = dict[str, np.ndarray]  # rows for the sets, by source or generator


def _parts_and_pools(
    pairs: Sequence[Pair], items: Items, reference: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], Pools]:
    """Rows of the reference's components, and what is left for the sets."""
    asked, pools = pairs[0], {}
    parts = []
    for source in (asked.real, *([asked.foreign] if asked.foreign is not None else [])):
        size = reference if source == asked.real or asked.taught else 0
        part, pools[source] = _split(items.rows(source), size, rng)
        parts += [part] if size else []
    incoming = {pair.incoming for pair in pairs} - {None}
    for generator in (*asked.known, *sorted(incoming - set(asked.known))):
        rows = items.rows(generator)
        # of a generator that is in sets a fifth at least is left for them
        size = min(reference, max(_FEWEST, len(rows) * 4 // 5)) if generator in incoming else reference
        part, pools[generator] = _split(rows, size if generator in asked.known else 0, rng)
        parts += [part] if generator in asked.known else []
    return parts, pools


def _composed(
    pair: Pair, pools: Pools, size: int, prevalence: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a set in random order and which of them are synthetic; none where the pools do not reach."""
    real_share = (1 - prevalence) * (1 - pair.foreign_share)
    needs = {pair.real: real_share, pair.foreign: (1 - prevalence) * pair.foreign_share, pair.incoming: prevalence}
    reach = min([size, *(int(len(pools[name]) / share + 1e-9) for name, share in needs.items() if share > 0)])
    if reach < _LEAST_OF_SIZE * size:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=bool)
    n_synthetic, n_foreign = round(prevalence * reach), round(needs[pair.foreign] * reach)
    counts = {pair.incoming: n_synthetic, pair.foreign: n_foreign, pair.real: reach - n_synthetic - n_foreign}
    kinds = [name for name, n in counts.items() if n > 0]
    chosen = [_some(pools[name], min(counts[name], len(pools[name])), rng) for name in kinds]
    is_synthetic = np.repeat([name == pair.incoming for name in kinds], [len(rows) for rows in chosen])
    order = rng.permutation(len(is_synthetic))
    return np.concatenate(chosen)[order], is_synthetic[order]


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
def short() -> Items:
    """Short human and ChatGPT texts, through `lexical`."""
    return _encoded(*_texts("short", _generator), "lexical")


@cache
def domains() -> Items:
    """Human texts of three domains and their continuations by language models, through `lexical`."""
    return _encoded(*_texts("continuations", _domain), "lexical")


@cache
def strong_score() -> Items:
    """The essays through a single score, of a detector that was trained on other essays."""
    items, rng = essays(), np.random.default_rng(0)
    taught = {name: rng.choice(items.rows(name), 100, replace=False) for name in ("human", *_ESSAYISTS)}
    score = _detector(items, taught["human"], np.concatenate([taught[name] for name in _ESSAYISTS]))
    kept = np.setdiff1d(np.arange(len(items.names)), np.concatenate(list(taught.values())))
    return Items(score(items.vectors[kept]), items.digests[kept], items.names[kept])


@cache
def weak_score() -> Items:
    """The essays through a single score, of a detector that was trained on texts of other kinds and models."""
    items, others = essays(), attacked()
    score = _detector(others, others.rows("human"), others.rows("Claude-instant"))
    return Items(score(items.vectors), items.digests, items.names)


def _detector(items: Items, real: np.ndarray, synthetic: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What a vendor gives: log odds (n, 1)."""
    rows, origin = np.concatenate([real, synthetic]), np.repeat([0, 1], [len(real), len(synthetic)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(items.vectors[rows], origin)
    return lambda vectors: model.decision_function(vectors)[:, None].astype(np.float32)


@cache
def cifake() -> Items:
    """CIFAKE images as they lie in the archive, through `forensic`."""
    archive = zipfile.ZipFile(data_folder("images/cifake.zip") / "images/cifake.zip")
    files = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")]
    return _encoded([archive.read(name) for name in files], [name.split("/")[0] for name in files], "forensic")


@cache
def images() -> Items:
    """Photographs of two sources and images of six generators, all decoded, cut to 224 pixels and encoded alike."""
    data, names = [], []
    for file in ("scenes_256.zip", "named_generators_256.zip", "bsds_real_224.zip"):
        archive = zipfile.ZipFile(data_folder(f"images/{file}") / "images" / file)
        for member in sorted(archive.namelist()):
            if member.lower().endswith((".jpg", ".jpeg", ".png", ".webp")):
                data.append(_one_path(archive.read(member)))
                names.append(_IMAGE_NAMES.get(file) or _IMAGE_NAMES.get(member.split("/")[-2], member.split("/")[-2]))
    return _encoded(data, names, "forensic")


_IMAGE_NAMES = {
    "bsds_real_224.zip": "bsds",
    "real_flickr8k": "photos",
    "real_coco2017train": "photos",
    "fake_sdxl": "sdxl",
    "fake_stablecascade": "stable_cascade",
    "fake_sd15": "sd15",
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
_GENERATORS = ("sdxl", "stable_cascade", "dalle_mini", "latent_diffusion", "glid3xl")  # 60 images or more of each
_FEW = "sd15"  # 40: never known
_DOMAINS = ("xsum", "squad", "writing")


def _foreign(share: float) -> tuple[Pair, ...]:
    pairs = [(a, b) for a in _DOMAINS for b in _DOMAINS if a != b]
    return tuple(Pair(a, tuple(f"{g}/{a}" for g in ("gpt-j-6B", "gpt2-xl")), None, b, share) for a, b in pairs)


def _taught(share: float) -> tuple[Pair, ...]:
    pairs = [(a, b) for a in _DOMAINS for b in _DOMAINS if a != b]
    return tuple(Pair(a, (f"gpt-j-6B/{a}",), f"gpt-j-6B/{a}", b, share, taught=True) for a, b in pairs)


def _every(real: str, names: Sequence[str], strangers: Sequence[str] = ()) -> tuple[Pair, ...]:
    """Each generator, each two and all known; each known and each other one in the set."""
    groups = [(name,) for name in names] + list(itertools.combinations(names, 2)) + ([tuple(names)] * (len(names) > 2))
    return tuple(Pair(real, known, incoming) for known in groups for incoming in (*names, *strangers))


def _all_but(real: str, names: Sequence[str], strangers: Sequence[str] = ()) -> tuple[Pair, ...]:
    """All generators but that of the set known, at least three."""
    return tuple(
        Pair(real, tuple(n for n in names if n != incoming), incoming) for incoming in (*names, *strangers)
    )  # fmt: skip


def _domain_pairs(domain: str) -> tuple[Pair, ...]:
    names = [f"{generator}/{domain}" for generator in ("gpt2-xl", "gpt-j-6B", "opt-2.7b")]
    return _every(domain, names)


SCENARIOS = {
    "cifake": Scenario(
        "CIFAKE, the generator known, reference 1500 + 1500.",
        cifake, (Pair("real", ("fake",), "fake"),), 1500, (200, 1000),
    ),
    "essays": Scenario(
        "Essays, every generator, two of them or all known, reference 300 of each.",
        essays, _every("human", _ESSAYISTS), 300, (200,),
    ),
    "attacked": Scenario(
        "Paraphrased and perturbed texts, each generator or both known, reference 300 of each.",
        attacked, _every("human", _ATTACKED), 300, (200, 1000),
    ),
    "short": Scenario(
        "Short texts, the generator known, reference 300 + 300: hard.",
        short, (Pair("human", ("gpt-3.5",), "gpt-3.5"),), 300, (200, 1000),
    ),
    **{
        f"continuations-{domain}": Scenario(
            f"Texts continued by language models, {domain}, reference 150 of each: hardly to be told apart.",
            domains, _domain_pairs(domain), 150, (140,),
        )
        for domain in _DOMAINS
    },
    "strong-score": Scenario(
        "Essays as one number each, a detector's that was trained on other essays, reference 200 of each.",
        strong_score, _every("human", _ESSAYISTS), 200, (200,),
    ),
    "weak-score": Scenario(
        "Essays as one number each, a detector's that was trained on other texts, reference 300 of each.",
        weak_score, _every("human", _ESSAYISTS), 300, (200,),
    ),
    "images": Scenario(
        "Photographs of two sources, each generator or two of them known, reference 100 real and 50 to 64 of each.",
        images, _every("photos", _GENERATORS, (_FEW,)), 100, (90,),
    ),
    "images-all-known": Scenario(
        "The same, all generators but the set's known.",
        images, _all_but("photos", _GENERATORS, (_FEW,)), 100, (90,),
    ),
    "cifake-complete": Scenario(
        "CIFAKE with `--declare generators-complete`.",
        cifake, (Pair("real", ("fake",), "fake"),), 1500, (1000,), complete=True,
    ),
    "essays-complete": Scenario(
        "Essays with `--declare generators-complete`, each generator known and in the set.",
        essays, tuple(Pair("human", (g,), g) for g in _ESSAYISTS), 300, (200,), complete=True,
    ),
    "other-source-text": Scenario(
        "Purely real sets of another source: text domain against domain, reference 150 of each.",
        domains, _foreign(1.0), 150, (140,), prevalences=(0.0,),
    ),
    "other-source-images": Scenario(
        "Purely real sets of another source: BSDS against the photographs, all of it.",
        images, (Pair("photos", _GENERATORS, None, "bsds", 1.0),), 100, (100,), prevalences=(0.0,),
    ),
    "some-other-source-text": Scenario(
        "Real sets with 5 or 10 % of another domain.",
        domains, _foreign(0.05) + _foreign(0.1), 150, (140,), prevalences=(0.0,),
    ),
    "some-other-source-images": Scenario(
        "Photographs with 5 or 10 % of BSDS.",
        images, tuple(Pair("photos", _GENERATORS, None, "bsds", share) for share in (0.05, 0.1)), 100, (90,),
        prevalences=(0.0,),
    ),
    "two-sources-text": Scenario(
        "Two real sources in the reference, 200 items of each and of a generator; the second source at none, half or "
        "all of the set's real part.",
        domains, _taught(0.0) + _taught(0.5) + _taught(1.0), 200, (80,), prevalences=(0.0, 0.05, 0.25, 0.5),
    ),
    "real-only": Scenario(
        "A reference without generators: essays, 300 real items.",
        essays, tuple(Pair("human", (), g) for g in _ESSAYISTS), 300, (200,),
    ),
}  # fmt: skip
