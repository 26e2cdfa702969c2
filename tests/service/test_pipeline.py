import io
import json
import os
import struct
import tarfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from auditor.passes.request import AuditRequest
from auditor.run import AuditOptions
from indexes.errors import InputError
from service.pipeline import run_audit
from service.references.build import make_reference, parse_labelled
from service.references.shelf import find_reference
from service.settings import Settings
from service.storage.ledger import Ledger

Command = Any
World = Any


def sql(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def tars(tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> Path:
    """Five tar shards of 16 images each, a quarter synthetic."""
    folder = tmp_path / "tars"
    for i in range(5):
        images = np.concatenate([make.real_images(12, rng), make.fake_images(4, rng)])
        make.write_tar(folder / f"{i:05d}.tar", images, prefix=f"{i}-")
    return folder


# one answer


def test_one_process_and_two_workers_give_the_same_bytes(
    madaudit: Command, tars: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    results = [
        madaudit("audit", tars, "--reference", "images", "--out", tmp_path / f"w{n}", "--workers", n, "--json").json
        for n in (1, 2)
    ]
    assert make.comparable(results[0]) == make.comparable(results[1])
    items = [b"".join(p.read_bytes() for p in sorted((tmp_path / f"w{n}" / "items").iterdir())) for n in (1, 2)]
    assert items[0] == items[1]


def test_an_audit_run_again_reads_no_shard_twice_and_answers_the_same(
    madaudit: Command, tars: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    arguments = ("audit", tars, "--reference", "images", "--out", tmp_path / "o", "--json")
    first, second = madaudit(*arguments).json, madaudit(*arguments).json
    assert (first["run"]["reused_shards"], second["run"]["reused_shards"]) == (0, 5)
    assert make.comparable(first) == make.comparable(second)


def test_changed_content_of_a_shard_is_read_again_and_the_rest_reused(
    madaudit: Command, tars: Path, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    arguments = ("audit", tars, "--reference", "images", "--json")
    madaudit(*arguments, "--out", tmp_path / "o")
    make.write_tar(tars / "00002.tar", make.fake_images(16, rng))
    changed = madaudit(*arguments, "--out", tmp_path / "o").json
    assert changed["run"]["reused_shards"] == 4
    assert make.comparable(changed) == make.comparable(madaudit(*arguments, "--out", tmp_path / "fresh").json)


def test_a_shard_that_is_gone_leaves_no_items_behind(madaudit: Command, tars: Path, tmp_path: Path) -> None:
    arguments = ("audit", tars, "--reference", "images", "--out", tmp_path / "o", "--json")
    madaudit(*arguments)
    (tars / "00001.tar").unlink()
    result = madaudit(*arguments).json
    rows = sql(f"SELECT count(*), count(DISTINCT shard) FROM '{tmp_path}/o/items/*.parquet'")[0]
    assert (result["n_items"], rows) == (64, (64, 4))


@pytest.mark.parametrize("difference", ["reference", "batch size", "source"])
def test_a_folder_is_not_reused_for_another_audit(
    madaudit: Command, tars: Path, tmp_path: Path, world: World, difference: str
) -> None:
    out = ("--out", tmp_path / "o", "--json")
    before = madaudit("audit", tars, "--reference", "images", *out).json
    if difference == "reference":
        madaudit("reference build", "other", "--real", world.data / "real", "--encoder", "pixels:8", "--overwrite")
        arguments: tuple[object, ...] = ("audit", tars, "--reference", "other", *out)
    elif difference == "source":
        arguments = ("audit", world.data / "real", "--reference", "images", *out)
    else:
        arguments = ("audit", tars, "--reference", "images", "--batch-size", 8, *out)
    refused = madaudit(*arguments)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert json.loads((tmp_path / "o" / "result.json").read_bytes()) == before
    assert madaudit(*arguments, "--overwrite").json["run"]["reused_shards"] == 0


def test_a_folder_with_files_of_someone_else_is_left_alone(madaudit: Command, tars: Path, tmp_path: Path) -> None:
    kept = tmp_path / "o" / "items" / "precious.parquet"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"not ours")
    refused = madaudit("audit", tars, "--reference", "images", "--out", tmp_path / "o")
    assert (refused.code, kept.read_bytes()) == (2, b"not ours")
    assert madaudit("audit", tars, "--reference", "images", "--out", tmp_path / "o", "--overwrite").code in (0, 1)
    assert kept.read_bytes() == b"not ours"


def test_an_audit_inside_its_own_source_is_refused(madaudit: Command, world: World) -> None:
    out = world.data / "real" / "audit"
    refused = madaudit("audit", world.data / "real", "--reference", "images", "--out", out)
    assert (refused.code, out.exists()) == (2, False)


def test_a_damaged_shard_of_the_state_is_computed_again(
    madaudit: Command, tars: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    arguments = ("audit", tars, "--reference", "images", "--out", tmp_path / "o", "--json")
    first = madaudit(*arguments).json
    state = next((tmp_path / "o" / "state").glob("*/state.npz"))
    state.write_bytes(state.read_bytes()[:100])
    again = madaudit(*arguments).json
    assert again["run"]["reused_shards"] == 4
    assert make.comparable(again) == make.comparable(first)


def test_a_run_that_breaks_leaves_no_older_result_in_place(
    madaudit: Command, tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("audit", tars, "--reference", "images", "--out", tmp_path / "o")
    madaudit(*arguments)
    (tars / "00004.tar").unlink()

    def broken(*arguments: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("auditor.passes.items._item_table", broken)
    assert madaudit(*arguments).code == 3
    assert not (tmp_path / "o" / "result.json").exists()


# merging


def _halves(tars: Path, tmp_path: Path) -> list[Path]:
    """The shards in two folders, by links."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    for i, path in enumerate(sorted(tars.iterdir())):
        os.link(path, tmp_path / ("first" if i < 2 else "second") / path.name)
    return [tmp_path / "first", tmp_path / "second"]


def _differences(first: Any, second: Any, path: str = "") -> list[str]:
    """Where two documents differ: floats by more than 1e-10, all else at all."""
    if isinstance(first, dict) and isinstance(second, dict):
        return [
            d for k in first.keys() | second.keys() for d in _differences(first.get(k), second.get(k), f"{path}.{k}")
        ]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [
            d for i, (a, b) in enumerate(zip(first, second, strict=True)) for d in _differences(a, b, f"{path}.{i}")
        ]
    if isinstance(first, float) and isinstance(second, float):
        return [] if abs(first - second) <= 1e-10 * max(1, abs(first)) else [f"{path}: {first} {second}"]
    return [] if first == second else [f"{path}: {first!r} {second!r}"]


def test_two_halves_merged_agree_with_the_whole(madaudit: Command, tars: Path, tmp_path: Path) -> None:
    whole = madaudit("audit", tars, "--reference", "images", "--out", tmp_path / "whole", "--json").json
    for half in _halves(tars, tmp_path):
        madaudit("audit", half, "--reference", "images", "--out", tmp_path / f"audit-{half.name}")
    merged = madaudit("merge", tmp_path / "audit-first", tmp_path / "audit-second", "--out", tmp_path / "m", "--json")
    assert merged.code == 1
    differing = _differences(whole, merged.json)
    assert [d for d in differing if not d.startswith((".run", ".timing", ".source", ".created"))] == []
    columns = "id, shard, score, generator, nearest_real, nearest_synthetic, novelty, duplicate_of, keep"
    rows = [sql(f"SELECT {columns} FROM '{tmp_path}/{name}/items/*.parquet' ORDER BY id") for name in ("whole", "m")]
    assert rows[0] == rows[1]


def test_merging_in_the_other_order_changes_no_count_and_no_float_beyond_rounding(
    madaudit: Command, tars: Path, tmp_path: Path
) -> None:
    for half in _halves(tars, tmp_path):
        madaudit("audit", half, "--reference", "images", "--out", tmp_path / f"audit-{half.name}")
    one, other = tmp_path / "audit-first", tmp_path / "audit-second"
    there = madaudit("merge", one, other, "--out", tmp_path / "m1", "--json").json
    back = madaudit("merge", other, one, "--out", tmp_path / "m2", "--json").json
    differing = _differences(there, back)
    assert [d for d in differing if not d.startswith((".run", ".timing", ".source", ".created"))] == []


def test_parts_of_another_build_of_the_reference_are_not_merged(
    madaudit: Command, tars: Path, world: World, tmp_path: Path
) -> None:
    build = ("reference build", "rebuilt", "--real", world.data / "real", "--encoder", "pixels:8", "--overwrite")
    madaudit(*build)
    madaudit("audit", tars, "--reference", "rebuilt", "--out", tmp_path / "o")
    madaudit(*build, "--seed", 5)
    refused = madaudit("merge", tmp_path / "o", "--out", tmp_path / "m")
    assert refused.code == 2
    assert "another build" in refused.err


def test_a_shard_that_stands_in_both_parts_is_refused(madaudit: Command, tars: Path, tmp_path: Path) -> None:
    madaudit("audit", tars, "--reference", "images", "--out", tmp_path / "a")
    madaudit("audit", tars, "--reference", "images", "--out", tmp_path / "b")
    refused = madaudit("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "m")
    assert refused.code == 2
    assert "00000.tar" in refused.err


def test_audits_against_different_references_are_not_merged(
    madaudit: Command, tars: Path, world: World, tmp_path: Path
) -> None:
    madaudit("audit", tars, "--reference", "images", "--out", tmp_path / "a")
    madaudit("audit", world.data / "real.npy", "--reference", "vectors", "--out", tmp_path / "b")
    refused = madaudit("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "m")
    assert refused.code == 2
    assert "images, vectors" in refused.err


# bad files


_BAD = 8  # of each of five kinds: forty in all


def _png_bomb() -> bytes:
    """A PNG whose header promises 100,000 × 100,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def mess(tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> Path:
    """100 good images among forty bad files, a broken tar and a folder that links to itself."""
    folder = make.write_images(tmp_path / "mess", make.real_images(100, rng))
    for i in range(_BAD):
        whole = _jpeg(make.real_images(1, rng)[0])
        (folder / f"truncated{i}.jpg").write_bytes(whole[: len(whole) // 2])
        (folder / f"empty{i}.png").write_bytes(b"")
        (folder / f"text{i}.jpg").write_text("this is no image")
        (folder / f"bomb{i}.png").write_bytes(_png_bomb())
        with tarfile.open(folder / f"broken{i}.tar", "w") as archive:
            info = tarfile.TarInfo(f"in-tar-{i}.png")
            data = make.png(make.real_images(1, rng)[0])
            info.size = len(data) + 50_000
            archive.addfile(info, io.BytesIO(data + bytes(50_000)))
        stored = (folder / f"broken{i}.tar").read_bytes()
        (folder / f"broken{i}.tar").write_bytes(stored[:5_000])
    (folder / "deep").mkdir()
    (folder / "deep" / "loop").symlink_to(folder, target_is_directory=True)
    return folder


def test_forty_bad_files_are_counted_and_listed_by_reason_and_nothing_is_lost(
    madaudit: Command, mess: Path, tmp_path: Path
) -> None:
    result = madaudit("audit", mess, "--reference", "images", "--out", tmp_path / "o", "--json").json
    assert result["n_items"] == 100
    assert result["skipped"] == {
        "archive ends early, more may be missing": _BAD,
        "empty file": _BAD,
        "image too large (over 89 megapixels)": _BAD,
        "not an image": _BAD,
        "symbolic link": 1,
        "truncated or damaged image": _BAD,
    }
    listed = sql(f"SELECT path, reason FROM '{tmp_path}/o/skipped.parquet'")
    by_file = {path.split("/")[-1].rstrip("01234567.jpngta"): reason for path, reason in listed}
    assert len(listed) == len({path for path, _ in listed}) == 5 * _BAD + 1
    assert by_file["empty"] == "empty file"
    assert by_file["bomb"] == "image too large (over 89 megapixels)"


def test_the_report_names_every_reason(madaudit: Command, mess: Path, tmp_path: Path) -> None:
    result = madaudit("audit", mess, "--reference", "images", "--out", tmp_path / "o", "--json").json
    page = (tmp_path / "o" / "report.html").read_text()
    assert all(reason in page for reason in result["skipped"])


def test_a_source_of_bad_files_alone_is_an_input_error_that_counts_them(madaudit: Command, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    for i in range(3):
        (tmp_path / "bad" / f"{i}.png").write_bytes(b"")
    outcome = madaudit("audit", tmp_path / "bad", "--reference", "images", "--out", tmp_path / "o")
    assert outcome.code == 2
    assert "3 × empty file" in outcome.err
    assert not (tmp_path / "o" / "result.json").exists()


def test_file_names_that_are_no_unicode_become_ids_with_escapes(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    folder = make.write_images(tmp_path / "im", make.real_images(20, rng))
    (folder / "0000.png").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    (folder / "0001.png").write_bytes(b"")
    (folder / "0001.png").rename(os.fsdecode(os.fsencode(folder) + b"/bad\xff.png"))
    result = madaudit("audit", folder, "--reference", "images", "--out", tmp_path / "o", "--json").json
    assert (result["n_items"], result["skipped"]) == (19, {"empty file": 1})
    ids = sql(f"SELECT id FROM '{tmp_path}/o/items/*.parquet'")
    assert (r"caf\udce9.png",) in ids
    assert sql(f"SELECT path FROM '{tmp_path}/o/skipped.parquet'") == [(r"bad\udcff.png",)]


def test_a_source_whose_own_name_is_no_unicode_is_audited(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    folder = make.write_images(tmp_path / "im", make.real_images(20, rng))
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.rename(odd)
    result = madaudit("audit", odd, "--reference", "images", "--out", tmp_path / "o", "--json").json
    assert result["source"].endswith(r"caf\udce9")
    assert (tmp_path / "o" / "report.html").is_file()
    refused = madaudit("audit", odd, "--reference", "images", "--out", odd.with_name(odd.name + "out"))
    assert refused.code == 2


# items


def test_items_are_readable_by_duckdb_with_the_columns_of_the_contract(
    madaudit: Command, tars: Path, tmp_path: Path
) -> None:
    result = madaudit("audit", tars, "--reference", "images", "--out", tmp_path / "o", "--json").json
    described = sql(f"DESCRIBE SELECT * FROM '{tmp_path}/o/items/*.parquet'")
    assert [(name, kind) for name, kind, *_ in described] == [
        ("id", "VARCHAR"),
        ("shard", "VARCHAR"),
        ("score", "DOUBLE"),
        ("generator", "VARCHAR"),
        ("nearest_real", "FLOAT"),
        ("nearest_synthetic", "FLOAT"),
        ("novelty", "DOUBLE"),
        ("duplicate_of", "VARCHAR"),
        ("keep", "BOOLEAN"),
        ("source", "VARCHAR"),
        ("region", "INTEGER"),
    ]
    rows = sql(f"SELECT count(*), count(DISTINCT id) FROM '{tmp_path}/o/items/*.parquet'")[0]
    assert rows == (result["n_items"], result["n_items"]) == (80, 80)


def test_as_many_items_are_advised_against_as_are_estimated_synthetic(
    madaudit: Command, tars: Path, tmp_path: Path
) -> None:
    result = madaudit("audit", tars, "--reference", "images", "--out", tmp_path / "o", "--json").json
    query = f"SELECT count(*), max(score) FROM '{tmp_path}/o/items/*.parquet' GROUP BY keep ORDER BY keep"
    (dropped, _), (_, highest_kept) = sql(query)
    lowest_dropped = sql(f"SELECT min(score) FROM '{tmp_path}/o/items/*.parquet' WHERE NOT keep")[0]
    assert dropped == round(result["synthetic_fraction"]["if_both"]["estimate"] * 80)
    assert lowest_dropped[0] >= highest_kept


def test_duplicates_are_found_within_the_set_and_in_the_reference(
    madaudit: Command, world: World, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    folder = make.write_images(tmp_path / "im", make.real_images(30, rng))
    (folder / "copy.png").write_bytes((folder / "0003.png").read_bytes())
    image = Image.open(folder / "0004.png")
    image.save(folder / "other-bytes.bmp")  # equal pixels in another container
    (folder / "known.png").write_bytes((world.data / "real" / "0007.png").read_bytes())
    result = madaudit("audit", folder, "--reference", "images", "--out", tmp_path / "o", "--json").json
    query = f"SELECT id, duplicate_of FROM '{tmp_path}/o/items/*.parquet' WHERE duplicate_of IS NOT NULL ORDER BY id"
    assert sql(query) == [
        ("copy.png", "0003.png"),
        ("known.png", "reference:0007.png"),
        ("other-bytes.bmp", "0004.png"),
    ]
    measures = result["diversity"]["measures"]
    assert measures["duplicates"]["estimate"] == pytest.approx(2 / 33)
    assert measures["duplicates_of_reference"]["estimate"] == pytest.approx(1 / 33)


# references of other shapes


def test_several_generators_have_a_share_each(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    for name, rows in {
        "real": make.real_vectors(200, rng),
        "left": make.fake_vectors(200, rng, shift=-4),
        "right": make.fake_vectors(200, rng, shift=4),
        "mixed": np.concatenate(
            [make.real_vectors(200, rng), make.fake_vectors(60, rng, shift=-4), make.fake_vectors(140, rng, shift=4)]
        ),
    }.items():
        np.save(tmp_path / f"{name}.npy", rows)
    madaudit(
        "reference build", "two", "--real", tmp_path / "real.npy", "--synthetic", f"left={tmp_path / 'left.npy'}",
        "--synthetic", f"right={tmp_path / 'right.npy'}", "--encoder", "embeddings", "--overwrite",
    )  # fmt: skip
    fraction = madaudit("audit", tmp_path / "mixed.npy", "--reference", "two", "--out", tmp_path / "o", "--json").json[
        "synthetic_fraction"
    ]
    shares = fraction["by_generator"]
    assert list(shares) == ["left", "right"]
    assert shares["left"]["estimate"] == pytest.approx(0.15, abs=0.05)  # three standard errors at 400 items
    assert shares["right"]["estimate"] == pytest.approx(0.35, abs=0.07)
    assert shares["left"]["estimate"] + shares["right"]["estimate"] == pytest.approx(fraction["if_both"]["estimate"])
    found = sql(f"SELECT generator, count(*) FROM '{tmp_path}/o/items/*.parquet' GROUP BY 1")
    assert {name for name, _ in found} == {None, "left", "right"}


def test_an_encoder_of_traces_alone_leaves_diversity_open_and_says_why(
    madaudit: Command, world: World, tmp_path: Path
) -> None:
    fake = f"gen={world.data / 'fake'}"
    madaudit("reference build", "traces", "--real", world.data / "real", "--synthetic", fake, "--encoder", "forensic")
    result = madaudit("audit", world.data / "real", "--reference", "traces", "--out", tmp_path / "o", "--json").json
    loss = result["diversity"]["loss"]
    assert (loss["estimate"], loss["low"], loss["high"]) == (None, None, None)
    assert "--semantic-encoder" in loss["reason"]
    for group in ("fidelity", "diversity"):
        measures = {k: m for k, m in result[group]["measures"].items() if not k.startswith("duplicates")}
        assert all(m["estimate"] is None and m["reason"] == loss["reason"] for m in measures.values())
    assert result["verdict"] != "pass"


def test_traces_with_a_semantic_encoder_have_both_answers(madaudit: Command, world: World, tmp_path: Path) -> None:
    fake = f"gen={world.data / 'fake'}"
    madaudit(
        "reference build", "both", "--real", world.data / "real", "--synthetic", fake, "--encoder", "forensic",
        "--semantic-encoder", "pixels:8",
    )  # fmt: skip
    result = madaudit("audit", world.data / "fake", "--reference", "both", "--out", tmp_path / "o", "--json").json
    assert result["encoder"]["evidence"]["spec"] == "forensic"
    assert result["encoder"]["semantic"]["spec"] == "pixels:8"
    assert result["synthetic_fraction"]["if_reference_matches"]["low"] > 0.8
    assert result["diversity"]["measures"]["coverage"]["estimate"] == 0
    assert "lies outside the reference" in result["diversity"]["loss"]["reason"]


def test_texts_are_audited(madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> None:
    mixed = make.write_jsonl(tmp_path / "m.jsonl", make.texts("real", 60, rng) + make.texts("fake", 40, rng))
    fraction = madaudit("audit", mixed, "--reference", "texts", "--out", tmp_path / "o", "--json").json[
        "synthetic_fraction"
    ]
    assert fraction["low"] <= 0.4 <= fraction["high"]


# building


def test_nothing_is_left_of_a_reference_that_fails(world: World, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "home")
    np.save(tmp_path / "few.npy", np.eye(6, dtype=np.float32))
    real = [parse_labelled(str(tmp_path / "few.npy"), default="real")]
    with pytest.raises(InputError, match="at least"):
        make_reference("r", real, [], encoder="embeddings", semantic_encoder=None, settings=settings)
    assert not settings.references.exists() or list(settings.references.iterdir()) == []


def test_a_reference_that_cannot_be_recorded_is_taken_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*arguments: object) -> None:
        raise OSError("locked")

    monkeypatch.setattr(Ledger, "record_reference", locked)
    settings = Settings(tmp_path / "home")
    real = [parse_labelled(str(world.data / "real.npy"), default="real")]
    with pytest.raises(OSError, match="locked"):
        make_reference("r", real, [], encoder="embeddings", semantic_encoder=None, settings=settings)
    assert list(settings.references.iterdir()) == []


def test_a_label_is_split_off_unless_the_whole_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_labelled("sd-1.4=data/x", default="synthetic").label == "sd-1.4"
    assert parse_labelled("sd-1.4=data/x", default="synthetic").spec == "data/x"
    assert parse_labelled("s3://b/k?a=b", default="synthetic").spec == "s3://b/k?a=b"
    (tmp_path / "a=b").mkdir()
    assert parse_labelled("a=b", default="synthetic").label == "synthetic"


@pytest.fixture(scope="module")
def two_sources(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """A reference that knows two real sources of vectors, and the folder of a set that holds both."""
    folder, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(4)
    near, far, fake = (rng.normal(size=(n, 8)) for n in (300, 300, 150))
    far[:, 7] += 5
    fake[:, 0] += 4
    for name, rows in (("near", near[:150]), ("far", far[:150]), ("fake", fake[:110])):
        np.save(folder / f"{name}.npy", rows.astype(np.float32))
    incoming = np.concatenate([near[150:190], far[150:270], fake[110:]])
    np.save(folder / "set.npy", incoming.astype(np.float32))
    settings = Settings(folder / "home")
    real = [parse_labelled(f"{name}={folder / name}.npy", default="real") for name in ("near", "far")]
    fakes = [parse_labelled(f"gen={folder / 'fake.npy'}", default="synthetic")]
    make_reference("two", real, fakes, encoder="embeddings", semantic_encoder=None, settings=settings)
    return settings, folder


def test_the_result_says_which_real_sources_a_set_resembles(two_sources: tuple[Settings, Path]) -> None:
    settings, folder = two_sources
    result = run_audit(
        str(folder / "set.npy"),
        "two",
        folder / "out",
        settings=settings,
        request=AuditRequest(),
        options=AuditOptions(),
    )
    answer = result.synthetic_fraction
    assert answer.low <= 0.2 <= answer.high
    assert answer.if_both.low <= 0.2 <= answer.if_both.high
    assert answer.by_source["far"].low <= 0.75 <= answer.by_source["far"].high
    items = pq.read_table(folder / "out" / "items")
    source = items["source"].to_pylist()
    assert np.mean([s == "far" for s in source[40:160]]) > 0.9
    assert np.mean([s is None for s in source[160:]]) > 0.9
    assert "real source" in (folder / "out" / "report.html").read_text()
    assert result.reference.real_sources == ("near", "far")


def test_a_label_of_real_data_is_none_of_a_generator(two_sources: tuple[Settings, Path]) -> None:
    settings, folder = two_sources
    both = [parse_labelled(f"far={folder / 'far.npy'}", default="real")]
    with pytest.raises(InputError, match="far labels real and synthetic data"):
        make_reference("no", both, both, encoder="embeddings", semantic_encoder=None, settings=settings)


def smooth_images(n: int, rng: np.random.Generator) -> list[Image.Image]:
    coarse = rng.integers(0, 256, (n, 16, 16, 3)).astype(np.uint8)
    return [Image.fromarray(rows).resize((64, 64), Image.Resampling.BICUBIC) for rows in coarse]


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Images of one origin, called real where they are JPEG and synthetic where they are PNG, and a set of JPEGs."""
    folder, rng = tmp_path_factory.mktemp("leak"), np.random.default_rng(2)
    for name, form, count in (("real", "jpg", 60), ("fake", "png", 60), ("set", "jpg", 60)):
        (folder / name).mkdir()
        for i, image in enumerate(smooth_images(count, rng)):
            image.save(folder / name / f"{i}.{form}", **({"quality": 75} if form == "jpg" else {}))
    return Settings(folder / "home"), folder


@pytest.mark.parametrize("match_storage", [False, True])
def test_a_format_that_alone_separates_the_parts_is_named_and_not_taken_for_evidence(
    leaking: tuple[Settings, Path], match_storage: bool
) -> None:
    settings, folder = leaking
    sides = [[parse_labelled(str(folder / side), default=side)] for side in ("real", "fake")]
    name = f"r-{match_storage}"
    make_reference(
        name, *sides, encoder="forensic", semantic_encoder=None, settings=settings, match_storage=match_storage
    )
    result = run_audit(
        str(folder / "set"), name, folder / name, settings=settings, request=AuditRequest(), options=AuditOptions()
    )
    answer = result.synthetic_fraction
    assert (answer.status, answer.low, answer.high) == ("undetermined", 0, 1)  # nothing tells them apart
    assert ("reference-leak" in [c.name for c in result.confounds]) != match_storage
    assert ("compression and format alone" in str(answer.reason)) != match_storage
    assert ("hardly separate" in str(answer.reason)) == match_storage


def test_storage_can_be_matched_to_jpegs_only(leaking: tuple[Settings, Path]) -> None:
    settings, folder = leaking
    fake = [parse_labelled(str(folder / "fake"), default="real")]
    with pytest.raises(InputError, match="no JPEG among the real images"):
        make_reference(
            "x", fake, [], encoder="forensic", semantic_encoder=None, settings=settings, match_storage=True
        )  # fmt: skip


def test_an_unknown_reference_is_answered_with_the_known_ones(world: World) -> None:
    with pytest.raises(InputError, match=r"images, .*texts, .*vectors"):
        find_reference("nowhere", Settings(world.home))
