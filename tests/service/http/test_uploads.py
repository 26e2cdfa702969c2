"""An upload is read as the same file is read from the disk."""

import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.reference.reference import load_reference
from auditor.run import audit
from service.http.problems import ProblemError
from service.http.uploads import check_upload

N = 30


def vectors(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, 8)).astype(np.float32)


def lines(seed: int) -> bytes:
    return "".join(json.dumps({"embedding": row.tolist()}) + "\n" for row in vectors(seed)).encode()


def saved(save: Callable[..., None], *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


def parquet(seed: int) -> bytes:
    return saved(lambda file: pq.write_table(pa.table({"emb": vectors(seed).tolist()}), file))


def arrow(seed: int) -> bytes:
    buffer, table = io.BytesIO(), pa.table({"emb": vectors(seed).tolist()})
    with pa.ipc.new_stream(buffer, table.schema) as stream:
        stream.write_table(table)
    return buffer.getvalue()


BODIES: dict[str, tuple[str, Callable[[], bytes], int, int]] = {  # name on disk, body, items read, items unread
    "lines behind a byte order mark": ("a.jsonl", lambda: b"\xef\xbb\xbf" + lines(1), N, 0),
    "npz": ("a.npz", lambda: saved(np.savez, embeddings=vectors(1)), N, 0),
    "two arrays in a file": ("a.npy", lambda: saved(np.save, vectors(1)) + saved(np.save, vectors(2)), 2 * N, 0),
    "gzip of two members and a broken line": (
        "a.jsonl.gz", lambda: gzip.compress(lines(1)) + gzip.compress(b"{broken\n" + lines(2)), 2 * N, 1
    ),
    "xz": ("a.jsonl.xz", lambda: lzma.compress(lines(1)), N, 0),
    "joined tables": ("a.parquet", lambda: parquet(1) + parquet(2), 2 * N, 0),
    "arrow stream": ("a.arrow", lambda: arrow(1) + arrow(2), 2 * N, 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", BODIES)
def test_an_upload_is_read_as_the_file_is(service: Any, tmp_path: Path, kind: str) -> None:
    name, make, read, unread = BODIES[kind]
    answer = service.admin.post("/v1/audits/upload?reference=vectors", content=make())
    assert answer.status_code == 202, answer.text
    job = service.finished(f"/v1/audits/{answer.json()['id']}")
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    assert (result["n_items"], result["unread"]["items"]) == (read, unread)
    (tmp_path / name).write_bytes(make())
    direct = audit(tmp_path / name, load_reference(service.context.home.references / "vectors")).to_dict()
    for field in ("n_items", "skipped", "unread", "synthetic_fraction", "verdict"):
        assert result[field] == direct[field], field


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (saved(np.savez, a=vectors(1), b=vectors(2)), "choose"),
        (json.dumps({"words": "no vector"}).encode(), "--column"),
    ],
)
def test_an_upload_that_cannot_be_read_says_why(service: Any, body: bytes, said: str) -> None:
    answer = service.admin.post("/v1/audits/upload?reference=vectors", content=body)
    job = service.finished(f"/v1/audits/{answer.json()['id']}")
    assert job["state"] == "failed"
    assert said in job["error"]


@pytest.mark.parametrize("name", ["12:30.txt", "a:b/c.txt", "x/C:/y.txt", "..a.txt", "a..b/c.txt", "\x1b[31m.txt"])
@pytest.mark.parametrize("form", [".tar", ".zip"])
def test_names_that_the_reader_takes_are_taken(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / f"upload{form}"
    if form == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(name, "words")
    else:
        with tarfile.open(path, "w") as archive:
            archive.addfile(tarfile.TarInfo(name))
    check_upload(path, limit=2**20)


def test_a_tar_header_that_states_more_than_any_disk_holds_is_looked_behind(tmp_path: Path) -> None:
    """Looking through it would never end if sizes were believed."""
    header = bytearray(tarfile.TarInfo("a.txt").tobuf())
    header[124:136], header[148:156] = b"\x80" + b"\x7f" * 11, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    evil = tarfile.TarInfo("../evil.txt").tobuf()
    (tmp_path / "upload.tar").write_bytes(bytes(header) + evil)
    with pytest.raises(ProblemError, match="leads out"):
        check_upload(tmp_path / "upload.tar", limit=2**20)


@pytest.mark.parametrize(("kept", "said"), [(None, "is empty"), (12, "damaged")])
def test_compressed_nothing_is_empty_and_cut_bytes_are_damaged(service: Any, kept: int | None, said: str) -> None:
    body = gzip.compress(b"" if kept is None else lines(1))[:kept]
    answer = service.admin.post("/v1/audits/upload?reference=vectors", content=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
