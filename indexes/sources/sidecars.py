"""Find files that only describe other files, and are therefore neither items nor skips."""

import posixpath
from collections.abc import Collection, Iterator

from indexes.records import Kind
from indexes.sources.members import is_companion, is_wanted, key

__all__ = ["companions", "sidecars"]

_EMBEDDING_FOLDERS = ("img_emb", "text_emb")
_DATASET_RECORDS = ("dataset_dict.json", "dataset_info.json", "state.json")


def sidecars(names: Collection[str], kind: Kind) -> frozenset[str]:
    """Names of files that describe other files: captions, metadata of img2dataset, clip-retrieval and Hugging Face."""
    names = frozenset(names)
    return frozenset(
        [
            *companions(names, kind),
            *_img2dataset(names),
            *_clip_retrieval(names, kind),
            *_hugging_face(names),
        ]
    )


def companions(names: Collection[str], kind: Kind) -> frozenset[str]:
    """Names of files that describe a wanted file with the same key, such as the caption of an image."""
    wanted = {key(name) for name in names if is_wanted(name, kind)}
    return frozenset(name for name in names if is_companion(name, kind) and key(name) in wanted)


def _img2dataset(names: frozenset[str]) -> Iterator[str]:
    """Metadata files that img2dataset writes beside its shards, which are tar archives or folders."""
    folders = {posixpath.dirname(name) for name in names}
    for stem in {name.removesuffix(".tar") for name in names if name.endswith(".tar")} | folders:
        yield from names & {f"{stem}.parquet", f"{stem}_stats.json"}


def _clip_retrieval(names: frozenset[str], kind: Kind) -> Iterator[str]:
    """Files in clip-retrieval's folders `img_emb`, `text_emb` and `metadata` that do not hold items of the kind."""
    images = {posixpath.dirname(name) for name in names if name.endswith(".npy")}
    roots = {posixpath.dirname(folder) for folder in images if posixpath.basename(folder) == "img_emb"}
    unread = {"vector": ("metadata", "text_emb"), "text": _EMBEDDING_FOLDERS, "image": ()}[kind]
    for name in names:
        folder = posixpath.dirname(name)
        if posixpath.basename(folder) in unread and posixpath.dirname(folder) in roots:
            yield name


def _hugging_face(names: frozenset[str]) -> Iterator[str]:
    folders = {posixpath.dirname(name) for name in names if name.endswith(".arrow")}
    folders |= {posixpath.dirname(folder) for folder in folders}
    return (posixpath.join(folder, record) for folder in folders for record in _DATASET_RECORDS)
