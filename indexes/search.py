"""Nearest neighbours: exact by blocked matrix products on CPU and GPU, approximate by faiss beyond that."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from indexes.device import compute_threads, resolve_device
from indexes.errors import ArtifactError, InputError, ResourceError
from indexes.records import Neighbours

__all__ = ["NearestIndex", "ball_counts", "build_index", "choose_kind", "knn", "read_index"]

_EXACT_LIMIT = 200_000  # all pairs at d = 512 take under two minutes on two cores, seconds on a GPU
_HNSW_LIMIT = 1_000_000  # beyond, the graph's memory and single-threaded building cost more than they give

_QUERY_ROWS = {"cpu": 1024, "cuda": 8192}
_TILE_ROWS = {"cpu": 4096, "cuda": 32768}
_PAIR_VALUES = {"cpu": 2**20, "cuda": 2**25}  # float64 values in one piece of exact work: 8 and 256 MiB
_GROUP = 64  # columns whose smallest score stands for them in the first stage of selection
_SPARE = 4  # candidates beyond k: the last one's score usually proves that nothing nearer was left out
_LARGEST_SQUARE = 1e36  # squared norms up to here stay clear of float32's 3.4e38
_SMALLEST_SQUARE = 2.0**-100  # the error of a shorter vector's products is that of this squared norm: they underflow
_INPUT_ROUNDING = {"highest": 0.0, "high": 2.0**-9, "medium": 2.0**-6}  # of a product, by torch's matmul precision


def knn(
    queries: np.ndarray, database: np.ndarray, k: int, *, device: str | None = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Squared Euclidean distances (n, k) float32 and row numbers (n, k) int64 of the k nearest database rows.

    Exact: nearest first by the float64 sum of squared differences of the float32 rows, ties to the lowest row number,
    the same bits for any device, number of threads or neighbouring queries; equal rows are at distance 0. A query that
    is itself in the database finds itself. A float32 matrix product proposes candidates with a proven bound on its
    error, differences rank them, and queries for which the bound proves too little are searched again without it.
    Takes one extra copy of the database and blocks of fixed size.

    Raises InputError for arrays that are not two-dimensional, finite and of equal width, and for k outside 1..m.
    """
    scorer = _prepare(_matrix(database, "database"), resolve_device(device))
    size = len(scorer.rows)
    if not 1 <= k <= size:
        raise InputError(f"got k = {k}, expected 1 to {size}, the rows of the database")
    distances, indices = [torch.empty(0, k)], [torch.empty(0, k, dtype=torch.int64)]
    with torch.inference_mode():
        for block in scorer.blocks(_matrix(queries, "queries")):
            exact, columns = _nearest(block, scorer, k)
            distances.append(exact.float().cpu())
            indices.append(columns.cpu())
    return torch.cat(distances).numpy(), torch.cat(indices).numpy()


def ball_counts(
    queries: np.ndarray, centres: np.ndarray, radii: np.ndarray, *, device: str | None = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """For each query the number of balls that hold it (n,) int64; for each ball whether it holds a query (m,) bool.

    Ball j has its centre in row j of `centres` (m, d) and `radii[j]` is its squared radius, as `knn` returns it. The
    boundary belongs to the ball: pairs within rounding of it are decided by the distance that `knn` would return, so
    a centre's own k-th neighbour is inside. Precision and density are the counts' and coverage the balls' side of
    Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020.

    Raises InputError for arrays that are not finite and of equal width, and for radii that are not m values >= 0.
    """
    radii = np.asarray(radii, dtype=np.float32)
    scorer = _prepare(_matrix(centres, "centres"), resolve_device(device), radii)
    counts, covered = [torch.empty(0, dtype=torch.int64)], torch.zeros(len(centres), dtype=torch.bool)
    covered = covered.to(scorer.rows.device)
    with torch.inference_mode():
        for block in scorer.blocks(_matrix(queries, "queries")):
            inside = torch.zeros(len(block.rows), dtype=torch.int64, device=covered.device)
            for start, scores in scorer.tiles(block):
                at, to = _inside(block, scorer, start, scores)
                inside += torch.bincount(at, minlength=len(inside))
                covered[to] = True
            counts.append(inside.cpu())
    return torch.cat(counts).numpy(), covered.cpu().numpy()


def choose_kind(n: int) -> Literal["exact", "hnsw", "ivf"]:
    """How to search n rows: exactly by `knn` to 200,000, a faiss HNSW graph to a million, inverted lists beyond."""
    return "exact" if n <= _EXACT_LIMIT else "hnsw" if n <= _HNSW_LIMIT else "ivf"


@final
class NearestIndex:
    """A faiss index over the rows it was built from; searching is safe from several threads."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.size: int = index.ntotal
        self.dimension: int = index.d

    def search(self, queries: np.ndarray, k: int) -> Neighbours:
        """The k nearest rows faiss finds for each query (n, d), nearest first.

        Distances carry faiss' float32 rounding. Raises InputError for unusable queries or k outside 1..size, and
        ArtifactError where part of the index cannot be reached.
        """
        queries = _matrix(queries, "queries")
        if queries.shape[1] != self.dimension or not 1 <= k <= self.size:
            raise InputError(
                f"got queries of width {queries.shape[1]} and k = {k}, "
                f"expected width {self.dimension} and k from 1 to {self.size}"
            )
        distances, indices = self._index.search(queries, k, params=self._effort(2 * k))
        missed = np.flatnonzero((indices < 0).any(axis=1))
        if len(missed):  # the lists or the part of the graph that were visited hold fewer than k rows
            effort = self._effort(self.size)
            distances[missed], indices[missed] = self._index.search(queries[missed], k, params=effort)
        if (indices < 0).any():
            raise ArtifactError(f"the index reaches fewer than {k} of its {self.size} rows: build it again")
        return Neighbours(distances=distances, indices=indices)

    def write(self, path: Path) -> None:
        """Write the index to a file that `read_index` reads."""
        _faiss().write_index(self._index, str(path))

    def _effort(self, rows: int) -> Any:
        """Search parameters that visit at least `rows` rows where the graph or the lists allow it."""
        faiss = _faiss()
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(self._index.hnsw.efSearch, rows))
        if isinstance(self._index, faiss.IndexIVF):
            every = self._index.nlist
            return faiss.SearchParametersIVF(nprobe=every if rows >= self.size else self._index.nprobe)
        return None


def build_index(vectors: np.ndarray, *, kind: Literal["flat", "hnsw", "ivf"]) -> NearestIndex:
    """A faiss index over the rows of `vectors` (n, d).

    The graph is built on one thread, since its edges depend on the order of insertion; the lists' k-means is seeded.
    Raises InputError for unusable vectors or an unknown kind, ResourceError where faiss is not installed.
    """
    if kind not in ("flat", "hnsw", "ivf"):
        raise InputError(f"got index kind {kind!r}, expected flat, hnsw or ivf")
    faiss, vectors = _faiss(), _matrix(vectors, "vectors")
    n, d = vectors.shape
    if n == 0:
        raise InputError("got no vectors, expected at least one to index")
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
    """The index that `NearestIndex.write` wrote, memory-mapped where its kind allows.

    Raises ArtifactError for a file that faiss cannot read, ResourceError where faiss is not installed.
    """
    faiss = _faiss()
    try:
        return NearestIndex(faiss.read_index(str(path), faiss.IO_FLAG_MMAP))
    except RuntimeError as error:
        raise ArtifactError(f"{path} is not a readable faiss index ({error}): build it again") from error


def _list_count(n: int) -> int:
    """Inverted lists for n rows: 2^round(log2(4 sqrt n)), as autofaiss, with 39 rows a list for k-means to train on."""
    return max(1, min(2 ** round(np.log2(4 * np.sqrt(n))), n // 39))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ResourceError("faiss is not installed: pip install 'madaudit[cpu]'") from error
    return faiss


def _matrix(array: np.ndarray, name: str) -> np.ndarray:
    """The array as contiguous finite float32 (n, d)."""
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(array, dtype=np.float32)
    if np.ndim(array) != 2 or matrix.shape[1] == 0:
        raise InputError(f"got {name} of shape {np.shape(array)}, expected (n, d) with d >= 1")
    if not np.isfinite([matrix.min(initial=0), matrix.max(initial=0)]).all():  # makes no copy of that size
        raise InputError(f"{name} hold nan or values beyond float32: drop or repair those rows first")
    return matrix


def _tensor(array: np.ndarray, device: str) -> Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


@dataclass(frozen=True, slots=True)
class _Block:
    """Some queries, ready for the matrix product."""

    rows: Tensor  # (q, d) float32 as given
    centred: Tensor  # (q, d) float32
    weights: Tensor  # (q,) float64: |x|^2, their share in the error
    lifts: Tensor  # (q,) float64: score + lift is a lower bound of squared distance minus squared radius

    def limits(self, reach: Tensor | float) -> Tensor:
        """Scores (q, 1) float32 above which the distance minus the radius, both squared, surely exceeds `reach`."""
        limits = (reach - self.lifts).float()
        return torch.nextafter(limits, torch.full_like(limits, torch.inf))[:, None]


@final
@dataclass(frozen=True, slots=True)
class _Scorer:
    """A database laid out so that one matrix product gives lower bounds of all distances.

    For a query x and a row y, both less the database's mean (which shrinks cancellation and leaves distances alone),
    |x - y|^2 = |x|^2 + |y|^2 - 2 x.y, and the float32 error is at most `slack` (|x|^2 + |y|^2): the bound of a dot
    product in Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1, plus the rounding of the inputs.
    Weighing the squares by 1 - slack therefore turns the computed value into a lower bound, at no cost.
    """

    rows: Tensor  # (m, d) float32 as given
    centre: Tensor  # (d,) float32
    centred: Tensor  # (m', d) float32, zero rows up to a multiple of _GROUP
    bias: Tensor  # (m',) float32, infinite for the filling rows
    weights: Tensor  # (m,) float64: |y|^2 plus the squared radius, their share in the error
    radii: Tensor  # (m,) float32, squared
    slack: float

    def blocks(self, queries: np.ndarray) -> Iterator[_Block]:
        """The queries in blocks of fixed size."""
        if queries.shape[1] != self.rows.shape[1]:
            raise InputError(
                f"got queries of width {queries.shape[1]}, expected {self.rows.shape[1]} as in the database"
            )
        device = self.rows.device
        step = _QUERY_ROWS[device.type]
        for start in range(0, len(queries), step):
            yield self.block(_tensor(queries[start : start + step], str(device)))

    def block(self, rows: Tensor) -> _Block:
        centred = rows - self.centre
        squares = _squared_norms(centred)
        weights = squares + _SMALLEST_SQUARE
        return _Block(rows, centred, weights, squares - self.slack * weights)

    def tiles(self, block: _Block) -> Iterator[tuple[int, Tensor]]:
        """The first row number and the scores (q, t) of each tile of the database; the next tile overwrites them."""
        step = _TILE_ROWS[self.rows.device.type]
        memory = torch.empty(len(block.rows) * min(step, len(self.centred)), device=self.rows.device)
        for start in range(0, len(self.centred), step):
            tile, bias = self.centred[start : start + step], self.bias[start : start + step]
            scores = memory[: len(block.rows) * len(tile)].view(len(block.rows), len(tile))
            yield start, torch.addmm(bias, block.centred, tile.T, alpha=-2, out=scores)


def _prepare(database: np.ndarray, device: str, radii: np.ndarray | None = None) -> _Scorer:
    m, d = database.shape
    radii = np.zeros(m, dtype=np.float32) if radii is None else radii
    if radii.shape != (m,) or not ((radii >= 0) & np.isfinite(radii)).all():
        raise InputError(f"got radii of shape {radii.shape}, expected ({m},) finite squared radii >= 0")
    rows, squared_radii = _tensor(database, device), _tensor(radii, device)
    filling = -m % _GROUP
    centre = (rows.mean(dim=0, dtype=torch.float64) if m else rows.new_zeros(d)).float()
    centred = torch.cat([rows - centre, rows.new_zeros(filling, d)])
    squares = _squared_norms(centred)[:m]
    weights = squares + squared_radii
    slack = (2 * d + 16) * 2.0**-24 + 2 * _input_rounding()
    bias = (squares - squared_radii - slack * weights).float()
    bias = torch.cat([bias, bias.new_full((filling,), torch.inf)])
    return _Scorer(rows, centre, centred, bias, weights, squared_radii, slack)


def _input_rounding() -> float:
    """The relative error of a product of two inputs under torch's present matmul precision, at least."""
    try:
        return _INPUT_ROUNDING[torch.get_float32_matmul_precision()]
    except RuntimeError:  # set per backend, which this function of torch cannot express: allow for the coarsest
        return _INPUT_ROUNDING["medium"]


def _squared_norms(rows: Tensor) -> Tensor:
    """Squared norms (n,) float64, and the check that float32 products of these rows cannot overflow."""
    squares = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).square()
    if len(squares) and not bool(squares.max() < _LARGEST_SQUARE):
        raise InputError("vectors are too long for float32 products: divide them by a common factor")
    return squares


def _nearest(block: _Block, scorer: _Scorer, k: int) -> tuple[Tensor, Tensor]:
    """Exact distances (q, k) float64 and row numbers (q, k)."""
    count = min(k + _SPARE, len(scorer.rows))
    scores = block.centred.new_empty(len(block.rows), 0)
    columns = scores.long()
    for start, tile in scorer.tiles(block):
        tile_scores, tile_columns = _smallest(tile, count)
        scores, columns = torch.cat([scores, tile_scores], 1), torch.cat([columns, tile_columns + start], 1)
        scores, kept = scores.topk(min(count, scores.shape[1]), largest=False, sorted=False)
        columns = columns.gather(1, kept)
    columns = columns.sort(dim=1).values
    at = torch.arange(len(columns), device=columns.device).repeat_interleave(count)
    distances, order = _distances(block.rows, scorer.rows, at, columns.flatten()).view_as(columns).sort(stable=True)
    distances, columns = distances[:, :k], columns.gather(1, order)[:, :k]
    if count == len(scorer.rows):
        return distances, columns
    left_out = scores.amax(dim=1) + block.lifts  # every row that is no candidate is at least this far
    unproven = (distances[:, -1] >= left_out).nonzero().flatten()
    if len(unproven):
        rows, inverse = block.rows[unproven].unique(dim=0, return_inverse=True)  # many duplicates make few searches
        reach = distances.new_empty(len(rows)).index_copy_(0, inverse, distances[unproven, -1])
        exact, exact_columns = _search_again(scorer.block(rows), scorer, k, reach)
        distances[unproven], columns[unproven] = exact[inverse], exact_columns[inverse]
    return distances, columns


def _search_again(block: _Block, scorer: _Scorer, k: int, reach: Tensor) -> tuple[Tensor, Tensor]:
    """As `_nearest`, ranking exactly every row that may lie within `reach` (q,), at least the k-th distance."""
    best = torch.full((len(block.rows), k), torch.inf, dtype=torch.float64, device=reach.device)
    best_columns = torch.full_like(best, -1, dtype=torch.int64)
    limits = block.limits(reach)
    for start, scores in scorer.tiles(block):
        at, to = (scores <= limits).nonzero(as_tuple=True)
        pieces = to.split(at.bincount(minlength=len(best)).tolist())
        for query, near in enumerate(pieces):  # one by one: a query may share its distance with a whole tile
            near = near + start
            exact = _distances(block.rows, scorer.rows, torch.full_like(near, query), near)
            merged, merged_columns = torch.cat([best[query], exact]), torch.cat([best_columns[query], near])
            merged, order = merged.sort(stable=True)  # earlier tiles come first: ties to the lowest row number
            best[query], best_columns[query] = merged[:k], merged_columns[order[:k]]
    return best, best_columns


def _smallest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest of each row (q, t), or all of them, and their columns, unordered.

    They lie in the `count` groups of columns with the smallest minima: finding those first reads the scores once.
    """
    q, t = scores.shape
    if t <= 2 * count * _GROUP:
        return scores.topk(min(count, t), largest=False, sorted=False)
    groups = scores.view(q, -1, _GROUP)
    chosen = groups.amin(dim=2).topk(count, largest=False, sorted=False).indices  # (q, count)
    within = groups.gather(1, chosen[:, :, None].expand(-1, -1, _GROUP)).flatten(1)
    values, places = within.topk(count, largest=False, sorted=False)
    return values, chosen.gather(1, places // _GROUP) * _GROUP + places % _GROUP


def _inside(block: _Block, scorer: _Scorer, start: int, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs (query of the block, row of the database) whose distance is at most the row's radius."""
    at, to = (scores <= block.limits(0.0)).nonzero(as_tuple=True)
    bounds = scores[at, to] + block.lifts[at]
    to = to + start
    sure = bounds + 2 * scorer.slack * (block.weights[at] + scorer.weights[to]) < 0
    unsure = (~sure).nonzero().flatten()
    exact = _distances(block.rows, scorer.rows, at[unsure], to[unsure]).float()
    sure[unsure] = exact <= scorer.radii[to[unsure]]
    return at[sure], to[sure]


def _distances(queries: Tensor, rows: Tensor, at: Tensor, to: Tensor) -> Tensor:
    """Squared distances (p,) float64 of the pairs `queries[at]`, `rows[to]`, from differences.

    The sum is folded in halves, so that a pair gives the same bits in any block and on any device.
    """
    distances = torch.empty(len(at), dtype=torch.float64, device=rows.device)
    step = max(1, _PAIR_VALUES[rows.device.type] // rows.shape[1])
    for start in range(0, len(at), step):
        piece = slice(start, start + step)
        terms = queries[at[piece]].double().sub_(rows[to[piece]]).square_()
        width = terms.shape[1]
        while width > 1:
            half = (width + 1) // 2
            terms[:, : width - half] += terms[:, half:width]
            width = half
        distances[piece] = terms[:, 0]
    return distances
