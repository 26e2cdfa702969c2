"""Find exact nearest neighbours and count points in balls, by blocked matrix products on CPU and GPU."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from indexes.device import resolve_device
from indexes.errors import InputError

__all__ = ["Membership", "ball_counts", "knn", "matrix", "membership"]

_QUERY_ROWS = {"cpu": 512, "cuda": 8192}
_TILE_ROWS = {"cpu": 8192, "cuda": 32768}
_PAIR_VALUES = {"cpu": 2**15, "cuda": 2**25}  # float64 values per piece of exact work; 256 KiB fits a CPU cache
_GROUPS = 256  # groups of columns in a tile; the smallest score of each group shows where the candidates are
_SPARE = 18  # extra groups of candidates beyond k: the score of the next group then usually proves the result
_LARGEST_SQUARE = 1e36  # squared norms up to here stay clear of float32's 3.4e38
_SMALLEST_SQUARE = 2.0**-100  # products of shorter vectors underflow; their error bound is that of this squared norm
_COARSE = 2.0**-9  # typical relative error of rounding a row to bfloat16; the bound is valid for any value here
_INPUT_ROUNDING = {"highest": 0.0, "high": 2.0**-9, "medium": 2.0**-6}  # relative error, by torch's matmul precision


def knn(
    queries: np.ndarray, database: np.ndarray, k: int, *, device: str | None = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Squared Euclidean distances (n, k) float32 and row numbers (n, k) int64 of each query's k nearest database rows.

    The search is exact: rows are ordered by the float64 sum of squared differences of the float32 rows, and ties go to
    the lowest row number. The result is identical to the last bit on every device, with any number of threads and with
    any other queries. Equal rows have distance 0, so a query that is in the database finds itself. A matrix product
    with a proven error bound selects candidate rows, and exact differences rank the candidates. On CPUs with matrix
    units, the first matrix product is in bfloat16, which is several times faster than float32. If the error bound
    cannot prove that the neighbours of a query are correct, the query is searched again in float32. If the float32
    result is not proven either, all rows that the error bound does not exclude are ranked exactly. Memory use: up to
    1.5 extra copies of the database, and blocks of fixed size.

    Raises InputError for arrays that are not two-dimensional, finite and of equal width, and for k outside 1 to the
    number of database rows.
    """
    queries, database, device = matrix(queries, "queries"), matrix(database, "database"), resolve_device(device)
    if not 1 <= k <= len(database):
        raise InputError(f"got k = {k}, expected 1 to {len(database)} (the number of database rows)")
    distances, indices = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    groups = _GROUPS * -(-2 * (k + _SPARE) // _GROUPS)
    left, rows = np.arange(len(queries)), queries
    with torch.inference_mode():
        for dtype in _precisions(device):
            scorer, unproven, start = _prepare(database, device, None, groups, dtype), [left[:0]], 0
            for block in scorer.blocks(rows):
                at = left[start : start + len(block.rows)]
                exact, columns, unsure = _nearest(block, scorer, k)
                distances[at], indices[at] = exact.float().cpu().numpy(), columns.cpu().numpy()
                unproven.append(at[unsure.cpu().numpy()])
                start += len(at)
            left = np.concatenate(unproven)
            if not len(left):
                break
            rows = queries[left]
    return distances, indices


def ball_counts(
    queries: np.ndarray, centres: np.ndarray, radii: np.ndarray, *, device: str | None = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The number of balls that contain each query (n,) int64, and whether each ball contains a query (m,) bool.

    Ball j has its centre in row j of `centres` (m, d) and the squared radius `radii[j]`, as returned by `knn`. The
    boundary of a ball belongs to the ball. Pairs within rounding error of the boundary are decided by the distance that
    `knn` would return, so a centre's own k-th neighbour is inside the ball. The counts per query are used for precision
    and density, and the flags per ball for coverage (Naeem et al., "Reliable Fidelity and Diversity Metrics for
    Generative Models", ICML 2020).

    Raises InputError for arrays that are not finite and of equal width, and for radii that are not m values >= 0.
    """
    scorer = _balls(centres, radii, device)
    counts, covered = [torch.empty(0, dtype=torch.int64)], torch.zeros(len(centres), dtype=torch.bool)
    covered = covered.to(scorer.rows.device)
    with torch.inference_mode():
        for block in scorer.blocks(matrix(queries, "queries")):
            inside = torch.zeros(len(block.rows), dtype=torch.int64, device=covered.device)
            for start, scores in scorer.tiles(block):
                at, to = _inside(block, scorer, start, scores)
                inside += torch.bincount(at, minlength=len(inside))
                covered[to] = True
            counts.append(inside.cpu())
    return torch.cat(counts).numpy(), covered.cpu().numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """How many query points lie in balls around other points; fidelity and coverage are computed from these counts."""

    counts: np.ndarray  # (n,) int64, number of balls that contain each query
    totals: np.ndarray  # (m,) int64, number of queries in each ball
    sole_queries: np.ndarray  # (m,) int64, number of queries that are in this ball and in no other
    sole_balls: np.ndarray  # (n,) int64, number of balls that contain this query and no other
    only_queries: np.ndarray  # (m,) int64, the query in each ball that contains exactly one; -1 for other balls


def membership(
    queries: np.ndarray, centres: np.ndarray, radii: np.ndarray, *, device: str | None = "cpu"
) -> Membership:
    """Count balls per query and queries per ball, and separately queries in only one ball and balls with one query."""
    scorer = _balls(centres, radii, device)
    m, place = len(centres), scorer.rows.device
    totals = torch.zeros(m, dtype=torch.int64, device=place)
    queries_of = torch.zeros(m, dtype=torch.float64, device=place)  # sum of the numbers of a ball's queries; exact
    counts, sole_queries, start_row = [torch.empty(0, dtype=torch.int64)], torch.zeros(m, dtype=torch.int64), 0
    with torch.inference_mode():
        for block in scorer.blocks(matrix(queries, "queries")):
            inside = torch.zeros(len(block.rows), dtype=torch.int64, device=place)
            balls_of = torch.zeros(len(block.rows), dtype=torch.float64, device=place)
            for start, scores in scorer.tiles(block):
                at, to = _inside(block, scorer, start, scores)
                inside += torch.bincount(at, minlength=len(inside))
                balls_of += torch.bincount(at, weights=to.double(), minlength=len(inside))
                totals += torch.bincount(to, minlength=m)
                queries_of += torch.bincount(to, weights=(at + start_row).double(), minlength=m)
            sole_queries += torch.bincount(balls_of[inside == 1].long(), minlength=m).cpu()
            counts.append(inside.cpu())
            start_row += len(block.rows)
    found = torch.cat(counts)
    only = torch.where(totals == 1, queries_of.long(), -1).cpu()
    sole_balls = torch.bincount(only[only >= 0], minlength=len(found))
    return Membership(
        counts=found.numpy(),
        totals=totals.cpu().numpy(),
        sole_queries=sole_queries.numpy(),
        sole_balls=sole_balls.numpy(),
        only_queries=only.numpy(),
    )


def _balls(centres: np.ndarray, radii: np.ndarray, device: str | None) -> "_Scorer":
    radii = np.asarray(radii, dtype=np.float32)
    return _prepare(matrix(centres, "centres"), resolve_device(device), radii)


def matrix(array: np.ndarray, name: str) -> np.ndarray:
    """The array as a contiguous float32 matrix (n, d); raises InputError for another shape or non-finite values."""
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(array, dtype=np.float32)
    if np.ndim(array) != 2 or matrix.shape[1] == 0:
        raise InputError(f"got {name} of shape {np.shape(array)}, expected (n, d) with d >= 1")
    if not np.isfinite([matrix.min(initial=0), matrix.max(initial=0)]).all():  # without a temporary copy of the matrix
        raise InputError(f"{name} hold nan or values beyond float32 range: drop or repair these rows first")
    return matrix


def _tensor(array: np.ndarray, device: str) -> Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of queries, prepared for the matrix product with the database."""

    rows: Tensor  # (q, d) float32 as given
    factors: Tensor  # (q, f) centred rows, laid out for the product
    errors: Tensor  # (q,) float64: the queries' part of the error bound
    lifts: Tensor  # (q,) float64: score + lift is a lower bound of squared distance minus squared radius

    def limits(self, reach: Tensor | float) -> Tensor:
        """Limits (q,) of the scores: a higher score surely means squared distance minus squared radius > `reach`."""
        limits = (reach - self.lifts).float()
        return torch.nextafter(limits, torch.full_like(limits, torch.inf))

    def bounds(self, scores: Tensor) -> Tensor:
        """Lower bounds (q, c) float64 of squared distance minus squared radius, from rounded `scores` (q, c)."""
        return _below(scores).double() + self.lifts[:, None]


@final
@dataclass(frozen=True, slots=True)
class _Scorer:
    """A database laid out so that one matrix product gives lower bounds of all distances.

    Let x be a query and y a row, both minus the database's mean, which reduces cancellation and leaves the distances
    unchanged. The squared distance is |x - y|^2 = |x|^2 + |y|^2 - 2 x.y, with a float32 error of at most `slack` (|x|^2
    + |y|^2). The float32 error bound adds the rounding of the inputs to the bound for dot products in Higham, "Accuracy
    and Stability of Numerical Algorithms", section 3.1. Rounding x and y to bfloat16 drops known remainders r and s,
    which changes 2 x.y by at most 2 |r| |y| + 2 |x - r| |s|. Products of two norms are bounded by 2 |r| |y| <= |r|^2 /
    c + c |y|^2 for any c > 0. The computed squared distance minus the error bounds of x and y is therefore a lower
    bound of the true squared distance.
    """

    rows: Tensor  # (m, d) float32 as given
    centre: Tensor  # (d,) float32
    factors: Tensor  # (m', f) centred rows laid out for the product, zeros up to a multiple of `groups`
    bias: Tensor  # (m', 1) float32, infinite for the padding rows
    errors: Tensor  # (m,) float64: the part of the error bound from the rows and squared radii
    radii: Tensor  # (m,) float32, squared
    slack: float
    groups: int  # number of groups into which the columns of each tile can be divided

    def blocks(self, queries: np.ndarray) -> Iterator[_Block]:
        """The queries in blocks of fixed size."""
        width, device = self.rows.shape[1], self.rows.device
        step = _QUERY_ROWS[device.type]
        if queries.shape[1] != width:
            raise InputError(f"got queries of width {queries.shape[1]}, expected width {width} as in the database")
        for start in range(0, len(queries), step):
            yield self.block(_tensor(queries[start : start + step], str(device)))

    def block(self, rows: Tensor) -> _Block:
        factors = self.factors.new_zeros(len(rows), self.factors.shape[1])
        squares, losses = _lay_out(rows, self.centre, factors)
        errors = losses + self.slack * (squares + _SMALLEST_SQUARE)
        if factors.dtype == torch.bfloat16:
            factors.mul_(-2)[:, rows.shape[1] : rows.shape[1] + 2] = 1
        return _Block(rows, factors, errors, squares - errors)

    def tiles(self, block: _Block) -> Iterator[tuple[int, Tensor]]:
        """First row number and scores (t, q) of each tile of t database rows; the next tile overwrites the scores."""
        step = max(1, _TILE_ROWS[self.rows.device.type] // self.groups) * self.groups
        memory = self.factors.new_empty(min(step, len(self.factors)), len(block.rows))
        for start in range(0, len(self.factors), step):
            tile, bias = self.factors[start : start + step], self.bias[start : start + step]
            scores = memory[: len(tile)]
            if tile.dtype == torch.bfloat16:  # two of its columns hold the bias: rounded once, and faster
                yield start, torch.mm(tile, block.factors.T, out=scores)
            else:
                yield start, torch.addmm(bias, tile, block.factors.T, alpha=-2, out=scores)


def _prepare(
    database: np.ndarray,
    device: str,
    radii: np.ndarray | None = None,
    groups: int = 1,
    dtype: torch.dtype = torch.float32,
) -> _Scorer:
    m, d = database.shape
    radii = np.zeros(m, dtype=np.float32) if radii is None else radii
    if radii.shape != (m,) or not ((radii >= 0) & np.isfinite(radii)).all():
        raise InputError(f"got radii of shape {radii.shape}, expected ({m},) finite squared radii >= 0")
    rows, squared_radii = _tensor(database, device), _tensor(radii, device)
    centre = rows.mean(dim=0) if m else rows.new_zeros(d)
    width = d if dtype == torch.float32 else -(-(d + 2) // 16) * 16
    factors = rows.new_zeros(m + -m % groups, width, dtype=dtype)
    pieces = [part.split(_QUERY_ROWS[rows.device.type]) for part in (rows, factors[:m])]
    parts = [_lay_out(piece, centre, out) for piece, out in zip(*pieces, strict=True)]
    squares, losses = (torch.cat(part) for part in zip(*parts, strict=True))
    slack = (1 if dtype == torch.float32 else 2) * ((2.1 * d + 24) * 2.0**-24 + 2 * _input_rounding())
    errors = losses + slack * (squares + squared_radii)
    bias = rows.new_full((len(factors),), torch.inf)
    bias[:m] = _below((squares - squared_radii - errors).float())
    if dtype == torch.bfloat16:
        factors[:, d] = bias
        factors[:m, d + 1] = _below((bias - factors[:, d])[:m].bfloat16())
    return _Scorer(rows, centre, factors, bias[:, None], errors, squared_radii, slack, groups)


def _lay_out(rows: Tensor, centre: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Write rows minus the centre into `factors`; return squared norms (n,) and bounds (n,) of the rounding errors."""
    centred = rows - centre
    squares = _squared_norms(centred)
    kept = factors[:, : rows.shape[1]].copy_(centred)
    if factors.dtype == torch.float32:
        return squares, torch.zeros_like(squares)
    rests = _squared_norms(centred.sub_(kept)) + _SMALLEST_SQUARE
    return squares, rests / _COARSE + 1.02 * _COARSE * squares  # rounding may lengthen a row by 2^-8


def _below(values: Tensor) -> Tensor:
    return torch.nextafter(values, values.new_full((), -torch.inf))


def _precisions(device: str) -> list[torch.dtype]:
    """Number formats of successive searches: bfloat16 (only on a CPU with AMX units and oneDNN), then float32."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", bool)  # not in every torch: bool() is False
    coarse = device == "cpu" and torch.backends.mkldnn.is_available() and supported()
    return [torch.bfloat16, torch.float32] if coarse else [torch.float32]


def _input_rounding() -> float:
    """An upper bound of the relative error of a product of two inputs, under torch's current matmul precision."""
    try:
        return _INPUT_ROUNDING[torch.get_float32_matmul_precision()]
    except RuntimeError:  # set per backend, which this torch function cannot express: assume the coarsest
        return _INPUT_ROUNDING["medium"]


def _squared_norms(rows: Tensor) -> Tensor:
    """Squared norms (n,) float64 of the rows; raises InputError if float32 products of the rows could overflow."""
    squares = torch.linalg.vector_norm(rows, dim=1).double().square()
    if len(squares) and not bool(squares.max() < _LARGEST_SQUARE):
        raise InputError("vectors are too long for float32 products: divide all vectors by a common factor")
    return squares


def _nearest(block: _Block, scorer: _Scorer, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Exact squared distances (q, k) float64, row numbers (q, k), and queries (u,) not proven (none in float32)."""
    scores, columns, left_out = _candidates(block, scorer, k)
    bounds = block.bounds(scores)
    exact = torch.full_like(bounds, torch.inf)

    def measure(chosen: Tensor) -> None:
        at, place = chosen.nonzero(as_tuple=True)
        exact[at, place] = _distances(block.rows, scorer.rows, at, columns[at, place])

    known = scores < torch.inf
    measure(known & (scores <= scores.float().kthvalue(k, dim=1, keepdim=True).values))
    reach = exact.kthvalue(k, dim=1, keepdim=True).values
    measure(known & (bounds <= reach) & (exact == torch.inf))
    exact, order = exact.sort(dim=1, stable=True)
    exact, columns = exact[:, :k], columns.gather(1, order[:, :k])
    unproven = (exact[:, -1:] >= block.bounds(left_out)).flatten().nonzero().flatten()
    if len(unproven) and scorer.factors.dtype == torch.float32:
        highest = block.bounds(left_out)[:, 0] + 4 * (block.errors + scorer.errors.max())  # at least k rows are nearer
        reach = torch.minimum(exact[:, -1], highest)[unproven]
        rows, inverse = block.rows[unproven].unique(dim=0, return_inverse=True)  # equal queries are searched once
        reach = reach.new_empty(len(rows)).index_copy_(0, inverse, reach)
        again, again_columns = _search_again(scorer.block(rows), scorer, k, reach)
        exact[unproven], columns[unproven], unproven = again[inverse], again_columns[inverse], unproven[:0]
    return exact, columns, unproven


def _candidates(block: _Block, scorer: _Scorer, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores and ascending row numbers (q, c) of the candidates: all rows with scores below the limits (q, 1).

    The limit of a query's scores is the (k + _SPARE)-th smallest of the column groups' minimum scores. Unused places in
    the score array are infinite.
    """
    q, size = len(block.rows), len(scorer.factors)
    best = scorer.factors.new_empty(q, 0)
    keys, values = [], []
    for start, scores in scorer.tiles(block):
        dealt = scores.view(-1, scorer.groups, q)
        smallest = dealt.amin(dim=0).T.contiguous()
        best = torch.cat([best, smallest], 1).topk(k + _SPARE, largest=False, sorted=False).values
        limits = best.amax(dim=1, keepdim=True)
        at, group = (smallest < limits).nonzero(as_tuple=True)
        members = dealt.flatten(1).index_select(1, group * q + at)
        place, member = (members < limits[at, 0]).nonzero(as_tuple=True)
        at, columns = at[member], place * scorer.groups + group[member]
        keys.append(at * size + columns + start)
        values.append(scores[columns, at])
    key, order = torch.cat(keys).sort()
    value, at = torch.cat(values)[order], key // size
    key, value, at = (part[value < limits[at, 0]] for part in (key, value, at))  # the limits have fallen since
    counts = at.bincount(minlength=q)
    place = torch.arange(len(at), device=at.device) - (counts.cumsum(0) - counts)[at]
    shape = q, max(k, int(counts.max()))
    scores = value.new_full(shape, torch.inf).index_put_((at, place), value)
    return scores, key.new_zeros(shape).index_put_((at, place), key % size), limits


def _search_again(block: _Block, scorer: _Scorer, k: int, reach: Tensor) -> tuple[Tensor, Tensor]:
    """The k nearest rows, by exact ranking of all rows possibly within distance `reach` (q,) >= the k-th distance."""
    best = torch.full((len(block.rows), k), torch.inf, dtype=torch.float64, device=reach.device)
    best_columns = torch.full_like(best, -1, dtype=torch.int64)
    limits = block.limits(reach)
    for start, scores in scorer.tiles(block):
        at, to = (scores <= limits).T.nonzero(as_tuple=True)
        pieces = to.split(at.bincount(minlength=len(best)).tolist())
        for query, near in enumerate(pieces):  # one query at a time: a whole tile may be at the same distance from it
            near = near + start
            exact = _distances(block.rows, scorer.rows, torch.full_like(near, query), near)
            merged, merged_columns = torch.cat([best[query], exact]), torch.cat([best_columns[query], near])
            merged, order = merged.sort(stable=True)  # earlier tiles come first: ties to the lowest row number
            best[query], best_columns[query] = merged[:k], merged_columns[order[:k]]
    return best, best_columns


def _inside(block: _Block, scorer: _Scorer, start: int, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs (query of the block, row of the database) whose distance is at most the radius of the row's ball."""
    to, at = (scores <= block.limits(0.0)).nonzero(as_tuple=True)
    bounds = scores[to, at] + block.lifts[at]
    to = to + start
    sure = bounds + 2 * (block.errors[at] + scorer.errors[to]) < 0
    unsure = (~sure).nonzero().flatten()
    exact = _distances(block.rows, scorer.rows, at[unsure], to[unsure]).float()
    sure[unsure] = exact <= scorer.radii[to[unsure]]
    return at[sure], to[sure]


def _distances(queries: Tensor, rows: Tensor, at: Tensor, to: Tensor) -> Tensor:
    """Squared distances (p,) float64 of the pairs `queries[at]`, `rows[to]`, computed from differences.

    Terms are summed by repeated halving, so that a pair gives the same bits in any block and on any device.
    """
    distances = torch.empty(len(at), dtype=torch.float64, device=rows.device)
    step = max(1, _PAIR_VALUES[rows.device.type] // rows.shape[1])
    for start in range(0, len(at), step):
        piece = slice(start, start + step)
        terms = queries.index_select(0, at[piece]).double()
        terms = terms.sub_(rows.index_select(0, to[piece])).square_()
        width = terms.shape[1]
        while width > 1:
            half = (width + 1) // 2
            terms[:, : width - half] += terms[:, half:width]
            width = half
        distances[piece] = terms[:, 0]
    return distances
