"""The scenarios of `fraction.py` and their data: what the reference holds, and what comes in."""

import gzip
import hashlib
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from data import data_folder
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from auditor.evaluation import Items, Pair, Scenario
from indexes.encoders import load_encoder
from indexes.images import decode

__all__ = ["SCENARIOS", "items_of"]


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
    return tuple(
        Pair(a, tuple(f"{g}/{a}" for g in ("gpt-j-6B", "gpt2-xl")), None, foreign=b, foreign_share=share)
        for a, b in itertools.permutations(_DOMAINS, 2)
    )


def _taught(share: float) -> tuple[Pair, ...]:
    return tuple(
        Pair(a, (f"gpt-j-6B/{a}",), f"gpt-j-6B/{a}", foreign=b, foreign_share=share, taught=True)
        for a, b in itertools.permutations(_DOMAINS, 2)
    )


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


_ALL: dict[str, tuple[Callable[[], Items], Scenario]] = {
    "cifake": (cifake, Scenario(
        "CIFAKE, the generator known, reference 1500 + 1500.",
        (Pair("real", ("fake",), "fake"),), reference=1500, sizes=(200, 1000),
    )),
    "essays": (essays, Scenario(
        "Essays, every generator, two of them or all known, reference 300 of each.",
        _every("human", _ESSAYISTS), reference=300, sizes=(200,),
    )),
    "attacked": (attacked, Scenario(
        "Paraphrased and perturbed texts, each generator or both known, reference 300 of each.",
        _every("human", _ATTACKED), reference=300, sizes=(200, 1000),
    )),
    "short": (short, Scenario(
        "Short texts, the generator known, reference 300 + 300: hard.",
        (Pair("human", ("gpt-3.5",), "gpt-3.5"),), reference=300, sizes=(200, 1000),
    )),
    **{
        f"continuations-{domain}": (domains, Scenario(
            f"Texts continued by language models, {domain}, reference 150 of each: hardly to be told apart.",
            _domain_pairs(domain), reference=150, sizes=(140,),
        ))
        for domain in _DOMAINS
    },
    "strong-score": (strong_score, Scenario(
        "Essays as one number each, a detector's that was trained on other essays, reference 200 of each.",
        _every("human", _ESSAYISTS), reference=200, sizes=(200,),
    )),
    "weak-score": (weak_score, Scenario(
        "Essays as one number each, a detector's that was trained on other texts, reference 300 of each.",
        _every("human", _ESSAYISTS), reference=300, sizes=(200,),
    )),
    "images": (images, Scenario(
        "Photographs of two sources, each generator or two of them known, reference 100 real and 50 to 64 of each.",
        _every("photos", _GENERATORS, (_FEW,)), reference=100, sizes=(90,),
    )),
    "images-all-known": (images, Scenario(
        "All generators known but the one in the set.",
        _all_but("photos", _GENERATORS, (_FEW,)), reference=100, sizes=(90,),
    )),
    "cifake-complete": (cifake, Scenario(
        "CIFAKE with `--declare generators-complete`.",
        (Pair("real", ("fake",), "fake"),), reference=1500, sizes=(1000,), complete=True,
    )),
    "essays-complete": (essays, Scenario(
        "Essays with `--declare generators-complete`, each generator known and in the set.",
        tuple(Pair("human", (g,), g) for g in _ESSAYISTS), reference=300, sizes=(200,), complete=True,
    )),
    "other-source-text": (domains, Scenario(
        "Purely real sets of another source: text domain against domain, reference 150 of each.",
        _foreign(1.0), reference=150, sizes=(140,), prevalences=(0.0,),
    )),
    "other-source-images": (images, Scenario(
        "Purely real sets of another source: BSDS against the photographs, all of it.",
        (Pair("photos", _GENERATORS, None, foreign="bsds", foreign_share=1.0),),
        reference=100, sizes=(100,), prevalences=(0.0,),
    )),
    "some-other-source-text": (domains, Scenario(
        "Real sets with 5 or 10 % of another domain.",
        _foreign(0.05) + _foreign(0.1), reference=150, sizes=(140,), prevalences=(0.0,),
    )),
    "some-other-source-images": (images, Scenario(
        "Photographs with 5 or 10 % of BSDS.",
        tuple(Pair("photos", _GENERATORS, None, foreign="bsds", foreign_share=share) for share in (0.05, 0.1)),
        reference=100, sizes=(90,), prevalences=(0.0,),
    )),
    "two-sources-text": (domains, Scenario(
        "Two real sources in the reference, 200 items of each and of a generator; the second source at none, half or "
        "all of the set's real part.",
        _taught(0.0) + _taught(0.5) + _taught(1.0), reference=200, sizes=(80,), prevalences=(0.0, 0.05, 0.25, 0.5),
    )),
    "real-only": (essays, Scenario(
        "A reference without generators: essays, 300 real items.",
        tuple(Pair("human", (), g) for g in _ESSAYISTS), reference=300, sizes=(200,),
    )),
}  # fmt: skip
SCENARIOS = {name: scenario for name, (_, scenario) in _ALL.items()}


def items_of(name: str) -> Items:
    """The labelled items of a scenario, read and encoded."""
    return _ALL[name][0]()
