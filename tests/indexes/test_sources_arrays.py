"""Arrays of vectors in .npy and .npz files."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.errors import InputError
from indexes.records import Item, Skip, Source
from indexes.sources import open_source


def read(source: Source) -> list[Item | Skip]:
    return [record for shard in source.shards for record in shard.read()]


def ids(source: Source) -> list[str]:
    return [record.id for record in read(source) if isinstance(record, Item)]


def skips(source: Source) -> list[Skip]:
    return [record for record in read(source) if isinstance(record, Skip)]


def stack(source: Source) -> np.ndarray:
    return np.stack([record.data for record in read(source) if isinstance(record, Item)])


def matrix(rows: int = 20, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, columns))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f8", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_rows_of_any_precision_and_order_are_float32_vectors(tmp_path: Path, dtype: str, order: Any, name: str) -> None:
    rows = np.asarray(matrix().astype(dtype), order=order)
    np.save(tmp_path / name, rows) if name == "a.npy" else np.savez_compressed(tmp_path / name, rows)
    source = open_source(tmp_path / name, kind="vector")
    assert ids(source) == [f"{name}#{row}" for row in range(20)]
    assert stack(source).dtype == np.float32
    np.testing.assert_array_equal(stack(source), rows.astype(np.float32))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_long_array_is_cut_into_shards_of_8192_rows(tmp_path: Path, order: Any) -> None:
    rows = np.asarray(matrix(9000), order=order)
    np.save(tmp_path / "a.npy", rows)
    source = open_source(tmp_path / "a.npy", kind="vector")
    assert [shard.name for shard in source.shards] == ["a.npy:00000", "a.npy:00001"]
    np.testing.assert_array_equal(stack(source), rows.astype(np.float32))


def test_rows_that_are_not_finite_are_skips(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.0, np.nan], [1.0, 2.0], [1e300, 0.0]]))
    source = open_source(tmp_path / "a.npy", kind="vector")
    assert ids(source) == ["a.npy#1"]
    assert skips(source) == [Skip("a.npy#0", "not finite"), Skip("a.npy#2", "not finite")]


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize("form", ["object array", "pickle", "npz"])
def test_pickled_objects_are_refused_and_never_loaded(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("a.npz" if form == "npz" else "a.npy")
    objects = np.array([[_Bomb()]], dtype=object)
    if form == "pickle":
        path.write_bytes(pickle.dumps(_Bomb()))
    elif form == "npz":
        np.savez(path, embeddings=objects)
    else:
        np.save(path, objects)
    with pytest.raises(InputError, match="holds pickled objects, refused"):
        open_source(path, kind="vector", column="embeddings")


def test_pickled_labels_beside_the_vectors_are_left_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", embeddings=matrix(), labels=np.array([_Bomb()], dtype=object))
    assert len(ids(open_source(tmp_path / "a.npz", kind="vector"))) == 20


def test_a_pickle_in_a_folder_is_one_skip(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([_Bomb()], dtype=object))
    np.save(tmp_path / "b.npy", matrix())
    assert skips(open_source(tmp_path, kind="vector")) == [Skip("a.npy", "holds pickled objects")]


@pytest.mark.parametrize(
    "array", [np.ones(3), np.ones((2, 2, 2)), np.ones((2, 2), int), np.ones((0, 3)), np.ones((3, 0))]
)
def test_anything_but_a_matrix_of_floats_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=r"expected floats of shape \(rows, columns\)"):
        open_source(tmp_path / "a.npy", kind="vector")


def test_a_cut_array_keeps_its_whole_rows_and_ends_with_one_skip(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", matrix(9000))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-30])
    source = open_source(tmp_path / "a.npy", kind="vector")
    assert len(ids(source)) == 8998
    assert skips(source) == [Skip("a.npy", "broken archive")]


def test_an_array_that_states_more_rows_than_any_memory_reads_what_is_there(tmp_path: Path) -> None:
    with open(tmp_path / "a.npy", "wb") as handle:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**15, 2)}
        np.lib.format.write_array_header_1_0(handle, header)
        handle.write(np.ones(4, np.float32).tobytes())
    assert len(ids(open_source(tmp_path / "a.npy", kind="vector"))) == 2


def test_stored_ids_name_the_rows_of_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", vectors=matrix(2), ids=np.array(["cat", "dog"]))
    assert ids(open_source(tmp_path / "a.npz", kind="vector")) == ["a.npz#cat", "a.npz#dog"]


@pytest.mark.parametrize("wrong", [["cat", "cat"], ["cat"], [1, 2]])
def test_ids_that_do_not_name_each_row_once_are_refused(tmp_path: Path, wrong: list[Any]) -> None:
    np.savez(tmp_path / "a.npz", vectors=matrix(2), ids=np.array(wrong))
    with pytest.raises(InputError, match="ids"):
        open_source(tmp_path / "a.npz", kind="vector")


def test_the_array_of_an_npz_is_told_by_name_or_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=matrix(2), second=matrix(3))
    np.savez(tmp_path / "b.npz", other=matrix(2), embeddings=matrix(3))
    assert len(ids(open_source(tmp_path / "a.npz", kind="vector", column="second"))) == 3
    assert len(ids(open_source(tmp_path / "b.npz", kind="vector"))) == 3
    with pytest.raises(InputError, match="choose the array of vectors with --column"):
        open_source(tmp_path / "a.npz", kind="vector")


def test_a_broken_npz_is_one_skip_in_a_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", matrix())
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-40])
    assert skips(open_source(tmp_path, kind="vector")) == [Skip("b.npz", "broken archive")]


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_array_identity_follows_content_and_not_place(tmp_path: Path, name: str) -> None:
    save = np.save if name == "a.npy" else np.savez
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    save(tmp_path / "one" / name, matrix())
    shutil.copy(tmp_path / "one" / name, tmp_path / "two" / name)
    one, two = (open_source(tmp_path / folder, kind="vector").shards[0] for folder in ("one", "two"))
    assert one.identity() == two.identity()
    assert pickle.loads(pickle.dumps(one)).identity() == two.identity()
    assert len(list(one.read())) == 20
    save(tmp_path / "two" / name, matrix() + 1)
    assert open_source(tmp_path / "two", kind="vector").shards[0].identity() != one.identity()


@pytest.mark.parametrize("damage", [b"{'descr': (", b"{1: 2, 'a': b'", b"\0" * 12, b"print(1)    "])
def test_a_damaged_header_is_one_skip_in_a_folder(tmp_path: Path, damage: bytes) -> None:
    np.save(tmp_path / "a.npy", matrix())
    data = bytearray((tmp_path / "a.npy").read_bytes())
    data[10 : 10 + len(damage)] = damage
    (tmp_path / "b.npy").write_bytes(data)
    assert skips(open_source(tmp_path, kind="vector")) == [Skip("b.npy", "broken archive")]
