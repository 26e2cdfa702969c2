"""Vectors and tables as people have them."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather

from .case import Asked, odd
from .made import N, folder_of, jsonl, npy, parquet, pictures, texts, vectors, written


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def listed(rows: np.ndarray) -> pa.Array:
    return pa.array(rows.tolist(), pa.list_(pa.float32()))


@odd("vectors", offered=N, read=N, upload=202)
def vectors_in_half_precision(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors().astype(np.float16)))


@odd("vectors", offered=N, read=N, upload=202)
def vectors_in_double_precision_of_the_other_byte_order(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors().astype(">f8")))


@odd("vectors", offered=N, read=N, upload=202)
def vectors_in_extended_precision(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors().astype(np.longdouble)))


@odd("vectors", offered=N, read=None, upload=202, said="expected floats")
def vectors_of_whole_numbers(folder: Path) -> Path:
    return written(folder, "a.npy", npy((vectors() * 10).astype(np.int64)))


@odd("vectors", offered=N, read=None, upload=202, said="expected floats")
def vectors_of_complex_numbers(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors().astype(np.complex64)))


@odd("vectors", offered=N, read=N, upload=202)
def vectors_stored_by_column(folder: Path) -> Path:
    return written(folder, "a.npy", npy(np.asfortranarray(vectors())))


@odd("vectors", offered=1, read=None, upload=202, said="shape")
def one_vector_that_is_no_matrix(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors(1)[0]))


@odd("vectors", offered=1, read=1, upload=202)
def one_vector_as_a_matrix(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors(1)))


@odd("vectors", offered=0, read=None, upload=202)
def matrix_of_no_rows(folder: Path) -> Path:
    return written(folder, "a.npy", npy(np.zeros((0, 6), dtype=np.float32)))


@odd("vectors", offered=N, read=None, upload=202)
def matrix_of_no_columns(folder: Path) -> Path:
    return written(folder, "a.npy", npy(np.zeros((N, 0), dtype=np.float32)))


@odd("vectors", offered=N, read=None, upload=202, said="width")
def vectors_of_another_width(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors(width=9)))


@odd("vectors", offered=2 * N, read=N)
def files_of_two_widths(folder: Path) -> Path:
    return folder_of(folder, {"a.npy": npy(vectors()), "b.npy": npy(vectors(width=9))})


@odd("vectors", offered=N, read=N // 2, upload=202)
def lines_of_two_widths(folder: Path) -> Path:
    rows = [{"vector": row.tolist()[: 6 - i % 2]} for i, row in enumerate(vectors())]
    return written(folder, "a.jsonl", jsonl(rows))


@odd("vectors", offered=N, read=N - 4, upload=202)
def vectors_with_rows_that_are_not_finite(folder: Path) -> Path:
    rows = vectors()
    rows[0, 0], rows[3, 5], rows[5, 1], rows[7] = np.nan, np.inf, -np.inf, 1e30
    return written(folder, "a.npy", npy(rows))


@odd("vectors", offered=N, read=None, upload=202)
def vectors_of_which_none_is_finite(folder: Path) -> Path:
    return written(folder, "a.npy", npy(np.full((N, 6), np.nan, dtype=np.float32)))


@odd("vectors", offered=2 * N, read=2 * N, upload=202)
def two_arrays_in_one_file(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors()) + npy(vectors(seed=9)))


@odd("vectors", offered=N, read=N, upload=202)
def npz_with_ids_and_labels(folder: Path) -> Path:
    ids = np.array([f"{{{{7*7}}}} <b>{i}</b>\x1b[1m" for i in range(N)])
    return written(folder, "a.npz", npz(embeddings=vectors(), ids=ids, labels=np.arange(N)))


@odd("vectors", offered=N, read=None, upload=202, said="--column")
def npz_with_two_matrices(folder: Path) -> Path:
    return written(folder, "a.npz", npz(first=vectors(), second=vectors(seed=9)))


@odd("vectors", offered=N, read=N, upload=202)
def npz_with_two_matrices_of_which_one_is_asked_for(folder: Path) -> Asked:
    return Asked(written(folder, "a.npz", npz(first=vectors(), second=vectors(seed=9))), column="second")


@odd("vectors", offered=N, read=N)
def folder_of_clip_retrieval(folder: Path) -> Path:
    for place in ("img_emb", "text_emb", "metadata"):
        (folder / place).mkdir()
    written(folder, "img_emb/img_emb_0.npy", npy(vectors()))
    written(folder, "text_emb/text_emb_0.npy", npy(vectors(width=3)))
    parquet(folder / "metadata" / "metadata_0.parquet", pa.table({"image_path": ["x"] * N, "caption": texts()}))
    return folder


@odd("vectors", offered=9, read=9)
def nine_vectors_and_a_limit_of_a_thousand(folder: Path) -> Asked:
    return Asked(written(folder, "a.npy", npy(vectors(9))), limit=1000)


@odd("vectors", offered=10, read=10)
def forty_vectors_and_a_limit_of_ten(folder: Path) -> Asked:
    return Asked(written(folder, "a.npy", npy(vectors(40))), limit=10)


@odd("vectors", offered=N, read=N, upload=202)
def parquet_of_vectors_with_missing_ones(folder: Path) -> Path:
    return parquet(folder / "a.parquet", pa.table({"id": list(range(N)), "embedding": listed(vectors())}))


@odd("texts", offered=N, read=N - 2, upload=202)
def parquet_of_texts_with_missing_ones(folder: Path) -> Path:
    return parquet(folder / "a.parquet", pa.table({"text": [None, "", *texts(N - 2)]}))


@odd("texts", offered=0, read=None, upload=202)
def parquet_without_rows(folder: Path) -> Path:
    return parquet(folder / "a.parquet", pa.table({"text": pa.array([], pa.string())}))


@odd("texts", offered=N, read=None, upload=202, said="columns are named")
def parquet_with_a_column_twice(folder: Path) -> Path:
    table = pa.Table.from_arrays([pa.array(texts()), pa.array(texts(seed=9))], names=["text", "text"])
    return parquet(folder / "a.parquet", table)


@odd("texts", offered=N, read=N, upload=202)
def parquet_of_large_strings_in_a_dictionary(folder: Path) -> Path:
    cells = pa.array(texts(), pa.large_string()).dictionary_encode()
    return parquet(folder / "a.parquet", pa.table({"Text": cells}), compression="zstd")


@odd("texts", offered=N, read=N, upload=202)
def arrow_file(folder: Path) -> Path:
    feather.write_feather(pa.table({"text": texts()}), folder / "a.feather")
    return folder / "a.feather"


@odd("texts", offered=N, read=N, upload=202)
def arrow_file_without_a_suffix(folder: Path) -> Path:
    feather.write_feather(pa.table({"text": texts()}), folder / "a.feather")
    return (folder / "a.feather").rename(folder / "table")


@odd("images", offered=N, read=N)
def dataset_saved_to_disk_with_caches(folder: Path) -> Path:
    images = pa.table({"image": [{"bytes": data, "path": None} for data in pictures()], "label": list(range(N))})
    for name in ("data-00000-of-00001.arrow", "cache-0123456789abcdef.arrow"):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, images.schema) as stream:
            stream.write_table(images)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_fingerprint": "x", "_split": "train"}
    written(folder, "state.json", json.dumps(state).encode())
    return written(folder, "dataset_info.json", b"{}").parent


@odd("texts", offered=2 * N, read=2 * N)
def shards_whose_columns_have_other_names(folder: Path) -> Path:
    parquet(folder / "a.parquet", pa.table({"text": texts()}))
    parquet(folder / "b.parquet", pa.table({"content": texts(seed=9)}))
    return folder


@odd("vectors", offered=N + 2, read=N, upload=202)
def array_cut_in_its_last_row(folder: Path) -> Path:
    return written(folder, "a.npy", npy(vectors(N + 2))[:-30])
