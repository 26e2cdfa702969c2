"""Exact search against brute force in float64, and faiss against exact search."""

import sys

import numpy as np
import pytest
import torch

from indexes.device import compute_threads, resolve_device
from indexes.errors import InputError, ResourceError
from indexes.search import approximate, ball_counts, knn, membership
from indexes.search import exact as search
from indexes.search.approximate import NearestIndex, build_index, choose_kind


def brute_force(queries, database):
    """Squared distances (n, m) float64."""
    return np.stack([((database.astype(np.float64) - query) ** 2).sum(axis=1) for query in queries.astype(np.float64)])


def nearest(distances, k):
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


def gaussian(n, d, *, rng):
    return rng.standard_normal((n, d)).astype(np.float32)


def grid(n, d, *, rng):
    """Small integers: many exact ties and duplicates, and every sum is exact."""
    return rng.integers(0, 3, (n, d)).astype(np.float32)


def near_copies(n, d, *, rng):
    """Clusters far tighter than float32 products can resolve."""
    return (gaussian(5, d, rng=rng)[rng.integers(0, 5, n)] + 1e-5 * rng.standard_normal((n, d))).astype(np.float32)


def offset(n, d, *, rng):
    return gaussian(n, d, rng=rng) + np.float32(3000)


def outlier(n, d, *, rng):
    rows = gaussian(n, d, rng=rng)
    rows[n // 2] *= 1e6
    return rows


def tiny(n, d, *, rng):
    return gaussian(n, d, rng=rng) * np.float32(1e-25)


def sorted_by_cluster(n, d, *, rng):
    """Embeddings in the order of their classes: the nearest rows stand side by side."""
    centres = np.sort(rng.integers(0, n // 50 + 1, n))
    return gaussian(n // 50 + 1, d, rng=rng)[centres] + np.float32(0.2) * gaussian(n, d, rng=rng)


DATA = [gaussian, grid, near_copies, offset, outlier, tiny]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks small enough that a few hundred rows take every branch."""
    for name, size in [("_QUERY_ROWS", 50), ("_TILE_ROWS", 128), ("_PAIR_VALUES", 100)]:
        monkeypatch.setattr(search, name, {"cpu": size, "cuda": size})
    monkeypatch.setattr(search, "_GROUPS", 4)


@pytest.mark.parametrize("make", DATA)
@pytest.mark.parametrize(("d", "k"), [(3, 1), (17, 6), (64, 20)])
def test_knn_finds_the_neighbours_of_brute_force(make, d, k, rng):
    rows = make(700, d, rng=rng)
    distances, indices = knn(rows[:300], rows, k)
    expected, expected_indices = nearest(brute_force(rows[:300], rows), k)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected, rtol=1e-6, atol=2e-45)  # the smallest float32
    assert (distances.dtype, indices.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("make", DATA)
def test_knn_gives_the_same_bits_in_small_blocks(make, rng, request):
    rows = make(500, 19, rng=rng)
    whole = knn(rows, rows, 5)
    request.getfixturevalue("small_blocks")
    for blocked, unblocked in zip(knn(rows, rows, 5), whole, strict=True):
        np.testing.assert_array_equal(blocked, unblocked)


def test_knn_gives_the_same_bits_on_one_thread_and_two(rng):
    rows = gaussian(2000, 64, rng=rng)
    with compute_threads(1):
        one = knn(rows, rows, 6)
    with compute_threads(2):
        two = knn(rows, rows, 6)
    assert [array.tobytes() for array in one] == [array.tobytes() for array in two]


@pytest.mark.parametrize("make", [*DATA, sorted_by_cluster])
@pytest.mark.parametrize(("m", "d", "k"), [(30, 5, 30), (5000, 40, 6), (2000, 130, 9)])
def test_knn_gives_the_same_bits_without_matrix_units(make, m, d, k, rng, monkeypatch):
    rows = make(m, d, rng=rng)
    default = knn(rows[:200], rows, k)
    for precisions in [[torch.float32], [torch.bfloat16, torch.float32]]:
        monkeypatch.setattr(search, "_precisions", lambda device, chosen=precisions: chosen)
        for found, expected in zip(knn(rows[:200], rows, k), default, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_coarse_bounds_hold_for_every_pair(rng):
    for make in DATA:
        rows = make(512, 65, rng=rng)
        for dtype in (torch.float32, torch.bfloat16):
            scorer = search._prepare(rows, "cpu", None, 128, dtype)
            block = scorer.block(torch.from_numpy(rows))
            bounds = block.bounds(next(scorer.tiles(block))[1].T.contiguous())
            assert (bounds.numpy() <= brute_force(rows, rows)).all()


def test_knn_with_reduced_precision_products_gives_the_same_bits(rng, monkeypatch):
    rows = gaussian(1500, 64, rng=rng)
    full = knn(rows, rows, 6)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    monkeypatch.setattr(torch, "addmm", _bfloat16_addmm)
    for reduced, expected in zip(knn(rows, rows, 6), full, strict=True):
        np.testing.assert_array_equal(reduced, expected)


def test_a_matmul_precision_set_per_backend_leaves_the_answer_alone(rng, monkeypatch):
    rows = gaussian(500, 64, rng=rng)
    expected = knn(rows, rows, 6)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", _mixed_settings)
    monkeypatch.setattr(torch, "addmm", _bfloat16_addmm)
    np.testing.assert_array_equal(knn(rows, rows, 6)[1], expected[1])


def _mixed_settings():
    raise RuntimeError("mix of the legacy and new APIs")


def _bfloat16_addmm(bias, left, right, *, alpha, out):
    rounded = left.bfloat16().float() @ right.bfloat16().float()
    return out.copy_(bias + alpha * rounded)


def test_copies_of_a_row_are_at_distance_zero_and_come_in_row_order(rng):
    rows = gaussian(3000, 32, rng=rng) + np.float32(100)
    copies = rng.choice(3000, 900, replace=False)
    rows[copies] = rows[copies[0]]
    distances, indices = knn(rows[copies[:2]], rows, 12)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices, np.tile(np.sort(copies)[:12], (2, 1)))


def test_knn_of_identical_rows_returns_the_first_rows():
    rows = np.ones((9000, 4), dtype=np.float32)
    distances, indices = knn(rows, rows, 3)
    assert (distances == 0).all()
    assert (indices == [0, 1, 2]).all()


def test_knn_can_return_the_whole_database(rng):
    rows = gaussian(9, 4, rng=rng)
    np.testing.assert_array_equal(knn(rows, rows, 9)[1], nearest(brute_force(rows, rows), 9)[1])


def test_knn_reads_read_only_and_strided_arrays(rng):
    rows = gaussian(200, 8, rng=rng)
    locked = np.asfortranarray(rows)
    locked.flags.writeable = False
    np.testing.assert_array_equal(knn(locked[::2], locked, 3)[1], knn(rows[::2].copy(), rows, 3)[1])


def test_knn_of_no_queries_is_empty(rng):
    distances, indices = knn(np.empty((0, 4), dtype=np.float32), gaussian(5, 4, rng=rng), 2)
    assert distances.shape == indices.shape == (0, 2)


@pytest.mark.parametrize("k", [0, 11])
def test_knn_refuses_k_outside_the_database(k, rng):
    rows = gaussian(10, 4, rng=rng)
    with pytest.raises(InputError, match="expected 1 to 10"):
        knn(rows, rows, k)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.zeros(4), "shape"),
        (np.zeros((2, 0)), "d >= 1"),
        (np.zeros((2, 5)), "width 5, expected width 4"),
        (np.full((2, 4), np.nan), "queries hold nan"),
        (np.full((2, 4), 1e300), "beyond float32"),
        (np.full((2, 4), 1e30), "too long"),
    ],
)
def test_knn_refuses_unusable_queries(queries, message, rng):
    with pytest.raises(InputError, match=message):
        knn(queries, gaussian(10, 4, rng=rng), 2)


@pytest.mark.parametrize("make", DATA)
@pytest.mark.parametrize("blocks", ["default", "small_blocks"])
def test_ball_counts_agree_with_brute_force(make, blocks, rng, request):
    if blocks != "default":
        request.getfixturevalue(blocks)
    rows = make(600, 23, rng=rng)
    queries, centres = rows[:250], rows[200:]
    radii = knn(centres, centres, 6)[0][:, -1]
    inside = brute_force(queries, centres).astype(np.float32) <= radii
    counts, covered = ball_counts(queries, centres, radii)
    np.testing.assert_array_equal(counts, inside.sum(axis=1))
    np.testing.assert_array_equal(covered, inside.any(axis=0))


@pytest.mark.parametrize("make", DATA)
def test_a_neighbour_exactly_on_the_radius_is_inside(make, rng):
    rows = make(400, 31, rng=rng)
    distances, indices = knn(rows, rows, 4)
    for row in range(0, 400, 40):
        counts, covered = ball_counts(rows[indices[row, 3]][None], rows[row][None], distances[row, 3:])
        assert counts.tolist() == [1]
        assert covered.tolist() == [True]


def test_a_radius_one_step_shorter_leaves_the_neighbour_outside(rng):
    rows = gaussian(100, 31, rng=rng)
    distances, indices = knn(rows, rows, 2)
    shorter = np.nextafter(distances[:1, 1], np.float32(0))
    assert ball_counts(rows[indices[0, 1]][None], rows[:1], shorter)[0].tolist() == [0]


@pytest.mark.parametrize("radii", [[1.0, 1.0], [[1.0]], [-1.0], [np.nan], [np.inf]])
def test_ball_counts_refuses_unusable_radii(radii):
    with pytest.raises(InputError, match="radii"):
        ball_counts(np.zeros((2, 3)), np.zeros((1, 3)), np.array(radii))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("make", DATA)
@pytest.mark.parametrize("precision", ["highest", "high"])
def test_the_gpu_gives_the_bits_of_the_cpu(make, precision, rng):
    rows = make(5000, 96, rng=rng)
    distances, indices = knn(rows, rows, 6)
    counts = ball_counts(rows, rows, distances[:, -1])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        on_gpu = [*knn(rows, rows, 6, device="cuda"), *ball_counts(rows, rows, distances[:, -1], device="cuda")]
    finally:
        torch.set_float32_matmul_precision(before)
    for found, expected in zip(on_gpu, [distances, indices, *counts], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_automatic_device_is_the_gpu_where_there_is_one():
    assert resolve_device("auto") == resolve_device(None) == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_missing_gpu_is_a_resource_error_with_a_remedy():
    with pytest.raises(ResourceError, match="use auto or cpu"):
        resolve_device("cuda:99")


def test_an_unknown_device_is_an_input_error():
    with pytest.raises(InputError, match="expected auto"):
        resolve_device("tpu")


def test_compute_threads_restores_the_setting_before():
    before = torch.get_num_threads()
    with compute_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("kind", "recall"), [("flat", 1.0), ("hnsw", 0.95), ("ivf", 0.6)])
def test_faiss_indexes_find_most_exact_neighbours(kind, recall, rng):
    rows = gaussian(4000, 16, rng=rng)
    found = build_index(rows, kind=kind).search(rows[:200], 10).indices
    exact = knn(rows[:200], rows, 10)[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)]) >= recall


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_building_an_index_twice_gives_the_same_answers(kind, rng):
    rows = gaussian(3000, 16, rng=rng)
    one, two = (build_index(rows, kind=kind).search(rows, 5).indices for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_an_index_returns_as_many_neighbours_as_asked_for(kind, rng):
    rows = gaussian(2000, 8, rng=rng)
    assert (build_index(rows, kind=kind).search(rows[:3], 1500).indices >= 0).all()


@pytest.mark.parametrize(("n", "lists"), [(10, 1), (1000, 25), (100_000, 1024), (1_000_000, 4096)])
def test_inverted_lists_have_enough_rows_to_train_on(n, lists):
    assert approximate._list_count(n) == lists
    assert n < 39 or n // lists >= 39


def test_search_refuses_queries_of_another_width(rng):
    index = build_index(gaussian(50, 8, rng=rng), kind="flat")
    with pytest.raises(InputError, match="expected width 8"):
        index.search(gaussian(5, 7, rng=rng), 3)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="expected flat, hnsw or ivf"):
        build_index(np.zeros((3, 2)), kind="tree")


def test_missing_faiss_names_the_extra_to_install(monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ResourceError, match=r"madaudit\[cpu\]"):
        build_index(gaussian(5, 2, rng=rng), kind="flat")


def test_the_kind_follows_the_size():
    assert [choose_kind(n) for n in (10, 200_000, 200_001, 1_000_001)] == ["exact", "exact", "hnsw", "ivf"]


def test_an_index_is_a_nearest_index(rng):
    index = build_index(gaussian(5, 2, rng=rng), kind="flat")
    assert isinstance(index, NearestIndex)
    assert (index.size, index.dimension) == (5, 2)


@pytest.mark.parametrize(("n", "m", "width"), [(1, 1, 1), (30, 40, 3), (700, 900, 5), (50, 20_000, 8)])
def test_membership_is_that_of_brute_force(n, m, width, rng):
    queries, centres = gaussian(n, width, rng=rng), gaussian(m, width, rng=rng)
    radii = rng.uniform(0, 2 * width**0.5, m).astype(np.float32)
    squared = ((queries[:, None].astype(np.float64) - centres[None].astype(np.float64)) ** 2).sum(-1)
    holds = squared.astype(np.float32) <= radii
    found = membership(queries, centres, radii)
    assert found.counts.tolist() == holds.sum(1).tolist()
    assert found.totals.tolist() == holds.sum(0).tolist()
    assert found.sole_queries.tolist() == (holds & (holds.sum(1, keepdims=True) == 1)).sum(0).tolist()
    assert found.sole_balls.tolist() == (holds & (holds.sum(0) == 1)).sum(1).tolist()
    counts, covered = ball_counts(queries, centres, radii)
    assert (counts.tolist(), covered.tolist()) == (found.counts.tolist(), (found.totals > 0).tolist())
