"""Approximate nearest neighbours by faiss, for databases too large for exact search, and index files on disk."""

from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from indexes.device import compute_threads
from indexes.errors import ArtifactError, InputError, ResourceError
from indexes.records import Neighbours
from indexes.search.exact import matrix
from indexes.store import checked_manifest, emptied, replacing, sizes, write_manifest

__all__ = ["NearestIndex", "build_index", "choose_kind", "load_index", "read_index", "save_index"]

_EXACT_LIMIT = 200_000  # all pairs at d = 512 take under two minutes on two cores, seconds on a GPU
_HNSW_LIMIT = 1_000_000  # rows; beyond, the graph's memory and single-threaded build cost more than they save
_INDEX = "madaudit/index/1"


def choose_kind(n: int) -> Literal["exact", "hnsw", "ivf"]:
    """The search method for n rows: exact up to 200,000, a faiss HNSW graph up to a million, else inverted lists."""
    return "exact" if n <= _EXACT_LIMIT else "hnsw" if n <= _HNSW_LIMIT else "ivf"


@final
class NearestIndex:
    """A faiss index of the rows of a matrix; several threads may search the index at the same time."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.size: int = index.ntotal
        self.dimension: int = index.d

    def search(self, queries: np.ndarray, k: int) -> Neighbours:
        """The k nearest rows that faiss finds for each query (n, d), nearest first.

        The distances have the float32 rounding error of faiss. Raises InputError for unusable queries or k outside
        1..size, and ArtifactError if the search reaches fewer than k rows of the index.
        """
        queries = matrix(queries, "queries")
        if queries.shape[1] != self.dimension or not 1 <= k <= self.size:
            raise InputError(
                f"got queries of width {queries.shape[1]} and k = {k}, "
                f"expected width {self.dimension} and k from 1 to {self.size}"
            )
        distances, indices = self._index.search(queries, k, params=self._effort(2 * k))
        missed = np.flatnonzero((indices < 0).any(axis=1))
        if len(missed):  # the visited lists or the visited part of the graph hold fewer than k rows
            effort = self._effort(self.size)
            distances[missed], indices[missed] = self._index.search(queries[missed], k, params=effort)
        if (indices < 0).any():
            raise ArtifactError(f"the search reached fewer than {k} of {self.size} rows: build the index again")
        return Neighbours(distances=distances, indices=indices)

    def write(self, path: Path) -> None:
        """Write the index to a file that `read_index` can read."""
        _faiss().write_index(self._index, str(path))

    def _effort(self, rows: int) -> Any:
        """faiss search parameters that visit at least `rows` rows if the graph or the inverted lists allow it."""
        faiss = _faiss()
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(self._index.hnsw.efSearch, rows))
        if isinstance(self._index, faiss.IndexIVF):
            every = self._index.nlist
            return faiss.SearchParametersIVF(nprobe=every if rows >= self.size else self._index.nprobe)
        return None


def build_index(vectors: np.ndarray, *, kind: Literal["flat", "hnsw", "ivf"]) -> NearestIndex:
    """A faiss index over the rows of `vectors` (n, d).

    An HNSW graph is built on one thread, because its edges depend on the order of insertion. The k-means of inverted
    lists has a fixed seed. Raises InputError for unusable vectors or an unknown index kind, and ResourceError if faiss
    is not installed.
    """
    if kind not in ("flat", "hnsw", "ivf"):
        raise InputError(f"got index kind {kind!r}, expected flat, hnsw or ivf")
    faiss, vectors = _faiss(), matrix(vectors, "vectors")
    n, d = vectors.shape
    if n == 0:
        raise InputError("got no vectors, expected at least one vector to index")
    if kind == "flat":
        index = faiss.IndexFlatL2(d)
        index.add(vectors)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(d, 32)
        index.hnsw.efConstruction, index.hnsw.efSearch = 128, 128
        with compute_threads(1):
            index.add(vectors)
    else:
        lists = _list_count(n)
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, lists)
        index.cp.seed = 1
        index.nprobe = min(lists, max(8, lists // 32))
        index.train(vectors)
        index.add(vectors)
    return NearestIndex(index)


def read_index(path: Path) -> NearestIndex:
    """Read an index that `NearestIndex.write` wrote, memory-mapped if the index kind allows it.

    Raises ArtifactError for a file that faiss cannot read, and ResourceError if faiss is not installed.
    """
    faiss = _faiss()
    try:
        return NearestIndex(faiss.read_index(str(path), faiss.IO_FLAG_MMAP))
    except RuntimeError as error:
        raise ArtifactError(f"{path} is not a readable faiss index ({error}): build it again") from error


def _list_count(n: int) -> int:
    """Number of inverted lists for n rows: 2^round(log2(4 sqrt n)) as in autofaiss, with at least 39 rows per list."""
    return max(1, min(2 ** round(np.log2(4 * np.sqrt(n))), n // 39))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ResourceError("faiss is not installed: pip install 'madaudit[cpu]'") from error
    return faiss


def save_index(folder: Path, index: NearestIndex, *, encoder: str) -> None:
    """Save an index and its manifest in a folder; `encoder` is the fingerprint of the vectors' encoder."""
    folder = emptied(folder)
    with replacing(folder / "knn.index") as path:
        index.write(path)
    fields = {"encoder": encoder, "shape": [index.size, index.dimension], "dtype": "float32"}
    write_manifest(folder, {"schema": _INDEX, **fields, "bytes": sizes(folder, "knn.index")})


def load_index(folder: Path, *, encoder: str | None = None) -> NearestIndex:
    """Load the index saved in a folder, memory-mapped if its kind allows it; raises the errors of `load_embeddings`."""
    folder = Path(folder)
    manifest = checked_manifest(folder, _INDEX, encoder)
    index = read_index(folder / "knn.index")
    if [index.size, index.dimension] != manifest["shape"]:
        found = f"an index of shape {[index.size, index.dimension]}"
        raise ArtifactError(f"{folder} holds {found}, but its manifest says {manifest['shape']}: save it again")
    return index
