"""Arrays of vectors in .npy and .npz files."""

import io
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.errors import InputError
from indexes.records import Item, Skip, Source
from indexes.sources import open_source
from indexes.sources.files import Refused


def read(source: Source) -> list[Item | Skip]:
    return [record for shard in source.shards for record in shard.read()]


def ids(source: Source) -> list[str]:
    return [record.id for record in read(source) if isinstance(record, Item)]


def skips(source: Source) -> list[Skip]:
    return [record for record in read(source) if isinstance(record, Skip)]


def facts(source: Source) -> list[tuple[str, str, int | None, int | None]]:
    return [(skip.path, skip.reason, skip.items, skip.bytes) for skip in skips(source)]


def packed(*arrays: np.ndarray) -> bytes:
    """The arrays as several calls of `numpy.save` write them on one handle."""
    content = io.BytesIO()
    for array in arrays:
        np.save(content, array)
    return content.getvalue()


def stating(rows: int, array: np.ndarray) -> bytes:
    """An array under a header that states another number of rows."""
    content = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(content, {**header, "shape": (rows, *array.shape[1:])})
    return content.getvalue() + array.tobytes("F" if header["fortran_order"] else "C")


def save(path: Path, content: bytes, form: str = ".npy") -> Path:
    """The bytes of a `.npy` file, as they are or as the only member of an `.npz` archive."""
    path = path / f"a{form.removesuffix('+')}"
    if form == ".npy":
        path.write_bytes(content)
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if form.endswith("+") else zipfile.ZIP_STORED) as archive:
        archive.writestr("vectors.npy", content)
    return path


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


def test_the_only_matrix_of_an_npz_is_taken_and_one_of_several_is_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=matrix(2), second=matrix(3))
    np.savez(tmp_path / "b.npz", labels=np.arange(3), images=np.ones((3, 2, 2)), vectors=matrix(3), none=matrix(0))
    assert len(ids(open_source(tmp_path / "a.npz", kind="vector", column="second"))) == 3
    assert len(ids(open_source(tmp_path / "b.npz", kind="vector"))) == 3
    with pytest.raises(InputError, match=r"first \(2, 3\), second \(3, 3\); choose the array of vectors with --column"):
        open_source(tmp_path / "a.npz", kind="vector")


@pytest.mark.parametrize("name", ["embeddings", "vectors", "features", "arr_0"])
def test_no_name_of_a_matrix_decides_between_two(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.npz").write_bytes(npz(**{"other": matrix(2), name: matrix(3)}))
    with pytest.raises(InputError, match="choose the array of vectors with --column"):
        open_source(tmp_path / "a.npz", kind="vector")


def test_an_npz_without_its_directory_is_read_and_called_broken(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", matrix())
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: data.index(b"PK\x01\x02")])
    source = open_source(tmp_path / "a.npz", kind="vector")
    np.testing.assert_array_equal(stack(source), matrix().astype(np.float32))
    assert facts(source) == [("a.npz", "broken archive", None, 0)]


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


FORMS = [".npy", ".npz", ".npz+"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [(20, 5), (20, 8200), (1, 2, 3), (9, 0, 4)])
def test_all_arrays_of_one_file_are_read(tmp_path: Path, form: str, rows: tuple[int, ...]) -> None:
    arrays = [matrix(count) + number for number, count in enumerate(rows)]
    path = save(tmp_path, packed(*arrays), form)
    source = open_source(path, kind="vector")
    assert ids(source) == [f"{path.name}#{row}" for row in range(sum(rows))]
    np.testing.assert_array_equal(stack(source), np.concatenate(arrays).astype(np.float32))
    assert skips(source) == []


@pytest.mark.parametrize("form", FORMS)
def test_precision_and_order_may_change_between_arrays(tmp_path: Path, form: str) -> None:
    arrays = [matrix(4).astype("<f4"), np.asfortranarray(matrix(5)), matrix(6).astype(">f2")]
    source = open_source(save(tmp_path, packed(*arrays), form), kind="vector")
    np.testing.assert_array_equal(stack(source), np.concatenate([array.astype(np.float32) for array in arrays]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("second", "reason", "items", "size"),
    [
        (matrix(7, 4), "rows of another width", 7, 224),
        (np.ones((6, 3), int), "not a matrix", 6, 144),
        (np.ones(5), "not a matrix", 5, 40),
        (np.ones((4, 2, 2)), "not a matrix", 4, 128),
        (np.zeros(3, [("x", "<f4"), ("y", "<f4")]), "not a matrix", 3, 24),
        (np.float64(1), "not a matrix", 1, 8),
    ],
)
def test_an_array_that_does_not_fit_is_counted_and_the_next_one_is_read(
    tmp_path: Path, form: str, second: np.ndarray, reason: str, items: int, size: int
) -> None:
    for arrays in ([matrix(), second, matrix(2)], [second, matrix(), matrix(2)]):
        path = save(tmp_path, packed(*arrays), form)
        if reason == "rows of another width" and arrays[0] is second:
            continue  # then the first width counts
        if arrays[0] is second and form != ".npy":
            continue  # numpy takes the first array of a member, and so does the choice between members
        source = open_source(path, kind="vector")
        assert len(ids(source)) == 22
        assert facts(source) == [(path.name, reason, items, size)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("stated", [1, 8, 19])
def test_rows_after_those_stated_are_counted(tmp_path: Path, form: str, order: Any, stated: int) -> None:
    path = save(tmp_path, stating(stated, np.asarray(matrix(), order=order)), form)
    source = open_source(path, kind="vector")
    assert len(ids(source)) == stated
    assert facts(source) == [(path.name, "rows after those stated", 20 - stated, (20 - stated) * 24)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tail", [b"x", b"garbage" * 5, bytes(25)])
def test_bytes_that_are_no_rows_are_stated(tmp_path: Path, form: str, tail: bytes) -> None:
    path = save(tmp_path, packed(matrix()) + tail, form)
    assert facts(open_source(path, kind="vector")) == [(path.name, "rows after those stated", None, len(tail))]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("stated", [21, 30, 10**6])
def test_rows_that_are_stated_and_not_there_are_counted(tmp_path: Path, form: str, order: Any, stated: int) -> None:
    path = save(tmp_path, stating(stated, np.asarray(matrix(), order=order)), form)
    if order == "F":  # where the columns begin is unknown
        assert account(path) == ([], stated, False)
        return
    source = open_source(path, kind="vector")
    assert len(ids(source)) == 20
    assert facts(source) == [(path.name, "broken archive", stated - 20, 0)]


@pytest.mark.parametrize("cut", [1, 8, 30, 161])
def test_a_cut_array_stored_by_column_is_refused_with_its_rows(tmp_path: Path, cut: int) -> None:
    path = save(tmp_path, packed(np.asfortranarray(matrix()))[:-cut])
    with pytest.raises(Refused, match="ends before the 20 rows it states") as refused:
        open_source(path, kind="vector")
    assert refused.value.items == 20


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("array", "items"),
    [
        (np.ones(3), 3),
        (np.ones((2, 2, 2)), 2),
        (np.ones((4, 2), int), 4),
        (np.ones((0, 3)), 0),
        (np.ones((3, 0)), 3),
        (np.zeros(6, [("x", "<f4")]), 6),
        (np.ones((5, 2), complex), 5),
        (np.full((7, 2), "a"), 7),
        (np.array([[None], [1]], dtype=object), 2),
    ],
)
def test_a_refused_array_says_how_many_rows_it_holds(tmp_path: Path, form: str, array: np.ndarray, items: int) -> None:
    with pytest.raises(Refused) as refused:
        open_source(save(tmp_path, packed(array), form), kind="vector")
    assert refused.value.items == items


@pytest.mark.parametrize("shape", ["(-1, 3)", "(99999999999999999999, 3)", "(3, -3)"])
def test_a_shape_that_no_array_has_is_a_broken_header(tmp_path: Path, shape: str) -> None:
    data = packed(matrix()).replace(b"(20, 3), }" + b" " * 40, f"{shape}, }}".encode().ljust(50))
    with pytest.raises(InputError, match="cannot be opened"):
        open_source(save(tmp_path, data), kind="vector")


def npz(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # typed for its flag alone
    return content.getvalue()


def test_bytes_around_an_npz_are_stated(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"before" + npz(vectors=matrix()) + b"after" * 20_000)
    source = open_source(tmp_path / "a.npz", kind="vector")
    assert len(ids(source)) == 20
    assert facts(source) == [
        ("a.npz", "bytes before the archive", None, 6),
        ("a.npz", "bytes after the archive", None, 100_000),
    ]


def test_a_repeated_member_is_counted_with_its_rows(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(npz(vectors=matrix()) + npz(vectors=matrix(7)) + npz(labels=np.arange(9)))
    source = open_source(tmp_path / "a.npz", kind="vector")
    assert len(ids(source)) == 20
    assert [fact[:3] for fact in facts(source)] == [("a.npz/vectors.npy", "repeated name", 7)]


def test_two_different_matrices_of_joined_npz_files_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(npz(first=matrix()) + npz(second=matrix(7)))
    with pytest.raises(InputError, match="choose the array of vectors with --column"):
        open_source(tmp_path / "a.npz", kind="vector")


def test_members_that_are_no_arrays_are_skips(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("vectors.npy", packed(matrix()))
        archive.writestr("readme.txt", "about the vectors")
        archive.writestr("more.parquet", b"PAR1" + bytes(50))
        archive.writestr("__MACOSX/._vectors.npy", b"\0")
    source = open_source(tmp_path / "a.npz", kind="vector")
    assert len(ids(source)) == 20
    assert {path: items for path, _, items, _ in facts(source)} == {
        "a.npz/readme.txt": 0,
        "a.npz/more.parquet": None,
        "a.npz/__MACOSX/._vectors.npy": 0,
    }


def test_a_damaged_member_counts_the_rows_that_were_not_given(tmp_path: Path) -> None:
    for size in (20, 9000):
        data = bytearray(npz(vectors=matrix(size)))
        data[len(data) - 300] ^= 0xFF
        (tmp_path / "a.npz").write_bytes(data)
        source = open_source(tmp_path / "a.npz", kind="vector")
        (skip,) = skips(source)
        assert skip == Skip("a.npz", "broken archive")
        assert skip.items == size - len(ids(source))


def test_ids_of_a_member_with_two_arrays_name_the_first(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("vectors.npy", packed(matrix(2), matrix(5)))
        archive.writestr("ids.npy", packed(np.array(["cat", "dog"])))
    source = open_source(tmp_path / "a.npz", kind="vector")
    assert ids(source) == ["a.npz#cat", "a.npz#dog"]
    assert facts(source) == [("a.npz", "rows without ids", 5, 120)]


@pytest.mark.parametrize("count", [1, 3, 21])
def test_ids_of_another_length_are_refused_with_the_rows(tmp_path: Path, count: int) -> None:
    (tmp_path / "a.npz").write_bytes(npz(vectors=matrix(), ids=np.arange(count).astype(str)))
    with pytest.raises(Refused, match=f"found {count} ids") as refused:
        open_source(tmp_path / "a.npz", kind="vector")
    assert refused.value.items == 20


def test_an_encrypted_or_unknown_member_is_refused(tmp_path: Path) -> None:
    for place, value in ((8, 1), (10, 77)):
        data = bytearray(npz(vectors=matrix()))
        struct.pack_into("<H", data, data.index(b"PK\x01\x02") + place, value)
        (tmp_path / "a.npz").write_bytes(data)
        with pytest.raises(Refused, match="expected a float array"):
            open_source(tmp_path / "a.npz", kind="vector")


def account(path: Path) -> tuple[list[Item], int, bool]:
    """The items, how many more are counted as skipped, and whether some bytes stand for an unknown number."""
    try:
        records = read(open_source(path, kind="vector"))
    except Refused as refused:
        return [], refused.items or 0, refused.items is None
    skipped = [record for record in records if isinstance(record, Skip)]
    items = [record for record in records if isinstance(record, Item)]
    return items, sum(skip.items or 0 for skip in skipped), any(skip.items is None for skip in skipped)


def sample(tmp_path: Path, form: str, order: Any) -> tuple[Path, bytes]:
    path = save(tmp_path, packed(np.asarray(matrix(40), order=order)), form)
    return path, path.read_bytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_a_cut_leaves_of_an_array_is_read_or_counted(tmp_path: Path, form: str, order: Any) -> None:
    path, data = sample(tmp_path, form, order)
    truth = matrix(40).astype(np.float32)
    for cut in (len(data) * step // 21 for step in range(1, 21)):
        path.write_bytes(data[:cut])
        items, counted, is_open = account(path)
        assert is_open or len(items) + counted >= 40, cut
        assert all(np.array_equal(item.data, row) for item, row in zip(items, truth, strict=False)), cut


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_damaged_byte_of_an_array_makes_no_row_vanish(tmp_path: Path, form: str, order: Any) -> None:
    path, data = sample(tmp_path, form, order)
    header = range(0, min(len(data), 180), 3)
    for place in [*header, *(len(data) * step // 21 for step in range(1, 21)), *range(len(data) - 90, len(data), 4)]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x03]) + data[place + 1 :])
        items, counted, is_open = account(path)
        assert is_open or len(items) + counted >= 40, place


@pytest.mark.parametrize("form", FORMS)
def test_what_is_joined_to_an_array_file_is_read_or_stated(tmp_path: Path, form: str) -> None:
    path, data = sample(tmp_path, form, "C")
    for garbage in (b"\0" * 7, b"x" * 1000, b"\0" * 70_000, data[: len(data) // 2]):
        path.write_bytes(data + garbage)
        items, counted, is_open = account(path)
        assert len(items) >= 40
        assert counted or is_open
        path.write_bytes(garbage + data)
        items, counted, is_open = account(path)
        assert is_open or len(items) + counted >= 40
    path.write_bytes(data + data)
    items, counted, _ = account(path)
    assert len(items) + counted == 80


def test_the_reason_of_a_damaged_header_is_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00\x40\x00" + b"__import__('os').getpid()".ljust(63) + b"\n")
    with pytest.raises(InputError) as refused:
        open_source(str(tmp_path / "a.npy"), kind="vector")
    assert "0x" not in str(refused.value)
