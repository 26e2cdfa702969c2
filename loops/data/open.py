"""Open the data of a loop (formula, bundled data set or source) as the vectors or tokens that the family reads."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from indexes.encode import Batch, encode_shard
from indexes.encoders import load_encoder
from indexes.errors import InputError
from indexes.records import Kind, Skip
from indexes.sources import open_source
from loops.config import LoopConfig
from loops.data.bundled import bundled_texts, bundled_vectors
from loops.data.distributions import distribution_named
from loops.data.image_arrays import read_image_array
from loops.data.population import Empirical, Population, Supply
from loops.data.supply import Contaminated, Sampled, clustered, sampled
from loops.models import FAMILIES, make_family
from loops.models.catalogue import file_digest, plain_name
from loops.models.protocol import Family
from loops.random_streams import Purpose, Streams
from loops.samples import Space
from loops.tokens import GridCodec, TextCodec

__all__ = ["LoopData", "default_data", "open_data", "open_world"]

_DEFAULTS = {
    "gaussian": "normal:1", "categorical": "tokens:10", "linear-regression": "linear:10", "gmm": "grid:5",
    "kde": "normal:2", "flow": "rosenbrock",
}  # fmt: skip
_LEVELS = 17  # tokens for the values of a numeric column
_LENGTH = 64  # tokens of a text
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
_SIDE = 32  # pixels of an image, at most


@dataclass(frozen=True, slots=True)
class LoopData:
    """Real items for training (optionally contaminated, or labelled by clustering), and the clean real distribution."""

    drawn: Supply
    clean: Population
    digests: Mapping[str, str]  # of the other inputs: the contaminant's items, the family's file


def default_data(family: str) -> str:
    """The name of the data that a model family uses by default."""
    return _DEFAULTS.get(plain_name(family), "digits")


def open_world(config: LoopConfig, family: Family) -> LoopData:
    """The data of a loop in the form that its family reads; raises InputError for data that the family cannot read."""
    clean = open_data(config.data or default_data(config.family), config, reads=family.reads)
    drawn: Supply = clean
    digests = {"family": file_digest(config.family)}
    if config.contamination and config.contaminant is not None:
        contaminant = _contaminant(config.contaminant, config, family, clean)
        digests["contaminant"] = contaminant.digest
        drawn = Contaminated(clean, contaminant, config.contamination)
    if family.conditional:
        drawn = clustered(drawn, clean, rng=Streams(config.seed).rng(Purpose.labels, 0))
    return LoopData(drawn, clean, {name: digest for name, digest in digests.items() if digest})


def open_data(spec: str, config: LoopConfig, *, reads: str, like: Population | None = None) -> Population:
    """Open a formula, bundled data set or source as vectors or tokens; tokens use the codec of `like`, if given."""
    formula = distribution_named(spec)
    if formula is not None:
        if (reads == "tokens") != bool(formula.space.vocabulary):
            kind = "tokens" if formula.space.vocabulary else "vectors"
            raise InputError(
                f"{spec} is made of {kind}, but the family {config.family} reads {reads}: choose other --data"
            )
        return formula
    arrays = read_image_array(spec) if config.encoder is None else None
    bundled, bundled_text = bundled_vectors(spec), bundled_texts(spec)
    if bundled is not None:
        values, labels = _some(bundled.values, bundled.labels, config)
        found = dataclasses.replace(bundled, values=values, labels=labels)
    elif bundled_text is not None:
        coded = _text_population(spec, [bundled_text[row] for row in _kept(len(bundled_text), config)], like)
        return coded if reads == "tokens" else _embedded(coded)
    elif arrays is not None:
        values, labels, space = arrays
        found = Empirical(spec, space, *_some(values, labels, config), digest=_digest(values, labels))
    else:
        texts, found = _read_source(spec, config)
        if reads == "tokens" and texts:
            return dataclasses.replace(_text_population(spec, texts, like), skipped=found.skipped)
    return _quantised(found, like) if reads == "tokens" else found


def _check_alike(like: Population | None, *, texts: bool) -> None:
    codec = like.codec if isinstance(like, Empirical) else None
    if codec is not None and isinstance(codec, TextCodec) != texts:
        raise InputError("the data and the contaminant differ in kind: choose texts for both or numbers for both")


def _read_source(spec: str, config: LoopConfig) -> tuple[list[str], Empirical]:
    """The texts of a source (an empty list if the items are not texts), and the encoded vectors of all items."""
    problems = []
    for kind, encoder in _attempts(spec, config):
        try:
            batches, skipped = _encode(spec, kind, encoder, config)
        except InputError as error:
            problems.append(str(error))
            continue
        if sum(len(batch.ids) for batch in batches) < 2:
            problems.append(f"{spec} holds fewer than 2 items usable as {kind}s ({skipped.total()} skipped)")
            continue
        texts, found = _population(spec, kind, encoder, batches, config)
        return texts, dataclasses.replace(found, skipped=dict(skipped))
    raise InputError(problems[0])


def _attempts(spec: str, config: LoopConfig) -> list[tuple[Kind, str]]:
    """Item kinds to try when reading a source, the most likely kind first, each with the encoder to use."""
    if config.encoder is not None:
        return [(load_encoder(config.encoder).kind, config.encoder)]
    vectors: tuple[Kind, str] = ("vector", "embeddings")
    images: tuple[Kind, str] = ("image", f"pixels:{_SIDE}")
    texts: tuple[Kind, str] = ("text", "lexical")
    suffixes = "".join(PurePosixPath(spec).suffixes).lower()
    if suffixes.endswith((".npy", ".npz")):
        return [vectors]
    if any(ending in suffixes for ending in (".jsonl", ".txt")):
        return [texts, images]
    return [images, texts, vectors]


def _encode(spec: str, kind: Kind, encoder_spec: str, config: LoopConfig) -> tuple[list[Batch], Counter[str]]:
    encoder = load_encoder(_fitting(spec, kind, encoder_spec, config), device=config.device)
    batches, skipped = [], Counter[str]()
    for shard in open_source(spec, kind=kind, column=config.column).shards:
        for entry in encode_shard(shard, [encoder]):
            if isinstance(entry, Skip):
                skipped[entry.reason] += entry.entries
            else:
                batches.append(entry)
    return batches, skipped


def _fitting(spec: str, kind: Kind, encoder_spec: str, config: LoopConfig) -> str:
    """The encoder to use; by default, images get `pixels:N` with N the shorter side of the first image (at most 32)."""
    if kind != "image" or config.encoder is not None:
        return encoder_spec
    probe = load_encoder("pixels:1")
    for shard in open_source(spec, kind=kind, column=config.column).shards:
        for entry in encode_shard(shard, [probe], batch_size=1, threads=1):
            if not isinstance(entry, Skip):
                return f"pixels:{min(_SIDE, int(entry.shapes.min()))}"
    return encoder_spec


def _population(
    spec: str, kind: Kind, encoder: str, batches: list[Batch], config: LoopConfig
) -> tuple[list[str], Empirical]:
    vectors = np.concatenate([batch.vectors[0] for batch in batches])
    ids = [name for batch in batches for name in batch.ids]
    texts = [text for batch in batches for text in batch.data] if kind == "text" else []
    rows = _kept(len(vectors), config)
    vectors, ids = vectors[rows], [ids[i] for i in rows]
    texts = [texts[i] for i in rows] if texts else []
    labels, names = _labels_of(ids)
    space = Space(vectors.shape[1], classes=len(names))
    if kind == "image" and encoder.startswith("pixels"):
        vectors, image = _channels_first(vectors)
        space = Space(vectors.shape[1], image=image, bounds=(0.0, 1.0), classes=len(names))
    return texts, Empirical(spec, space, vectors, labels, digest=_digest(vectors, labels), label_names=names)


def _channels_first(vectors: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Reorder flat (height, width, 3) images to (channels, height, width), with one channel if all images are grey."""
    side = round((vectors.shape[1] / 3) ** 0.5)
    images = vectors.reshape(-1, side, side, 3).transpose(0, 3, 1, 2)
    if (images == images[:, :1]).all():
        images = images[:, :1]
    return np.ascontiguousarray(images).reshape(len(images), -1), (images.shape[1], side, side)


def _labels_of(ids: list[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels (n,) from the folders of the items, and the folder names; (None, ()) if the folders give no labels.

    Folders give labels only if there are at least two and at most n/5 folders, with at least two items in each. An
    archive does not count as a folder: the same folder in several archives gives one label.
    """
    parents = [PurePosixPath(name).parent.parts for name in ids]
    folders = ["/".join(part for part in parent if not part.lower().endswith(_ARCHIVES)) for parent in parents]
    names, labels, counts = np.unique(folders, return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.min() < 2 or len(names) > len(ids) // 5:
        return None, ()
    return labels.astype(np.int64), tuple(str(name) for name in names)


def _text_population(spec: str, texts: list[str], like: Population | None) -> Empirical:
    """Texts as character tokens (by the codec of `like`, if given); measures use vectors of the encoder `lexical`."""
    _check_alike(like, texts=True)
    known = like.codec if isinstance(like, Empirical) else None
    codec = known if isinstance(known, TextCodec) else TextCodec.of(texts, length=_LENGTH)
    encoder = load_encoder("lexical")
    values = codec.encode(texts)

    def embed(tokens: np.ndarray) -> np.ndarray:
        return encoder([text or " " for text in codec.decode(tokens)])

    space = Space(values.shape[1], vocabulary=codec.size)
    return Empirical(spec, space, values, None, embed, codec.decode, digest=_digest(values), codec=codec)


def _embedded(coded: Empirical) -> Empirical:
    """Convert a data set of tokenised texts to the embedding vectors of the texts."""
    vectors = coded.embed(coded.values)
    return Empirical(coded.name, Space(vectors.shape[1]), vectors, digest=_digest(vectors))


def _quantised(found: Empirical, like: Population | None) -> Empirical:
    """Vectors as tokens, 17 levels per column (or the codec of `like`, if given); measures use the decoded vectors."""
    _check_alike(like, texts=False)
    known = like.codec if isinstance(like, Empirical) else None
    codec = (
        known if isinstance(known, GridCodec) else GridCodec.of(found.values, levels=_LEVELS, bounds=found.space.bounds)
    )
    tokens = codec.encode(found.values)
    space = dataclasses.replace(found.space, vocabulary=codec.levels)
    digest = _digest(tokens, found.labels)
    return dataclasses.replace(found, space=space, values=tokens, embedding=codec.decode, digest=digest, codec=codec)


def _contaminant(name: str, config: LoopConfig, family: Family, clean: Population) -> Population | Sampled:
    """The contaminant called `name`: samples of a model family fitted to clean data, or a formula or other data."""
    if plain_name(name) not in FAMILIES and ".py:" not in name:
        coded = family.reads == "tokens" and clean.size is not None
        return open_data(name, config, reads=family.reads, like=clean if coded else None)
    other = make_family(name, device=config.device)
    if other.reads != family.reads:
        raise InputError(
            f"the contaminant {name} reads {other.reads}, but the family {config.family} reads {family.reads}: choose "
            f"a contaminant that reads {family.reads}"
        )
    made = sampled(other, clean, rng=Streams(config.seed).rng(Purpose.contaminant, 0))
    return dataclasses.replace(made, digest=file_digest(name))


def _digest(values: np.ndarray, labels: np.ndarray | None = None) -> str:
    made = hashlib.blake2b(np.ascontiguousarray(values), digest_size=16)
    if labels is not None:
        made.update(np.ascontiguousarray(labels))
    return made.hexdigest()


def _kept(n: int, config: LoopConfig) -> np.ndarray:
    """Sorted row numbers of a random sample of `limit` items; all row numbers if there are at most `limit` items."""
    if config.limit is None or config.limit >= n:
        return np.arange(n)
    return np.sort(Streams(config.seed).rng(Purpose.limit, 0).permutation(n)[: config.limit])


def _some(values: np.ndarray, labels: np.ndarray | None, config: LoopConfig) -> tuple[np.ndarray, np.ndarray | None]:
    rows = _kept(len(values), config)
    return values[rows], None if labels is None else labels[rows]
