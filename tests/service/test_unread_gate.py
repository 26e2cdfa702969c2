"""Nothing unread passes the gate: sets of which a part was not read, through the command line."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

Audit = Callable[..., Any]
GOOD = 60  # items that can be read


@pytest.fixture
def photos(tmp_path: Path, make: SimpleNamespace) -> Path:
    return make.write_images(tmp_path / "set", make.real_images(GOOD, np.random.default_rng(5)))


@pytest.fixture
def audit(madaudit: Any, tmp_path: Path) -> Audit:
    def run(source: Path, *options: object, reference: str = "images") -> Any:
        name = f"out{len(list(tmp_path.glob('out*')))}"
        return madaudit(
            "audit", source, "--reference", reference, "--out", tmp_path / name, "--json", *options,
            "--declare", "generators-complete",
        )  # fmt: skip

    return run


def checks_of(result: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in result["checks"]}


def tar_of(names: list[str], data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def damage_many(folder: Path) -> None:
    for i in range(600):
        (folder / f"bad{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"damaged")


def hide_in_an_archive(folder: Path) -> None:
    (folder / "rest.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + os.urandom(100_000))


def break_a_shard(folder: Path) -> None:
    pixels = next(folder.glob("*.png")).read_bytes()
    whole = tar_of([f"{i}.png" for i in range(300)], pixels)
    (folder / "rest.tar").write_bytes(b"\x01" * 700 + whole)


def link_away(folder: Path) -> None:
    other = folder.parent / "elsewhere"
    other.mkdir()
    for i in range(40):
        (other / f"{i}.png").write_bytes(b"x")
    (folder / "more").symlink_to(other)


def another_kind(folder: Path) -> None:
    for i in range(30):
        (folder / f"{i}.bin").write_bytes(os.urandom(300))


UNREAD = [damage_many, hide_in_an_archive, break_a_shard, link_away, another_kind]


@pytest.mark.parametrize("spoil", UNREAD)
def test_a_set_whose_larger_part_was_not_read_fails(photos: Path, audit: Audit, spoil: Callable[[Path], None]) -> None:
    spoil(photos)
    outcome = audit(photos)
    result = outcome.json
    assert result["n_items"] == GOOD
    assert (result["verdict"], outcome.code, checks_of(result)["unread"]) == ("fail", 1, "fail")
    assert result["unread"]["share"]["estimate"] > 0.1
    whole, fraction = result["synthetic_fraction"]["of_the_whole_set"], result["synthetic_fraction"]
    assert whole["high"] > fraction["high"]
    assert whole["low"] <= fraction["low"]
    assert whole["estimate"] is None


def test_six_hundred_unread_beside_sixty_are_counted_to_the_item(photos: Path, audit: Audit) -> None:
    damage_many(photos)
    unread = audit(photos).json["unread"]
    assert (unread["items"], unread["files"], unread["counted"]) == (600, 0, 660)
    assert unread["share"]["low"] == unread["share"]["estimate"] == unread["share"]["high"] == pytest.approx(600 / 660)


def test_a_few_unread_items_warn_and_a_complete_set_passes(photos: Path, audit: Audit) -> None:
    complete = audit(photos, "--policy", lenient(photos.parent))
    assert (complete.json["verdict"], complete.code) == ("pass", 0)
    fraction = complete.json["synthetic_fraction"]
    assert fraction["of_the_whole_set"]["high"] == fraction["high"]
    (photos / "bad.png").write_bytes(b"bad")
    spoilt = audit(photos, "--policy", lenient(photos.parent))
    assert (spoilt.json["verdict"], spoilt.code) == ("warn", 0)
    assert audit(photos, "--policy", lenient(photos.parent), "--fail-on", "warn").code == 1


def lenient(folder: Path, **unread: float) -> Path:
    """A policy that the good items alone satisfy, whatever the interval of sixty items."""
    path = folder / "policy.json"
    policy: dict[str, Any] = {
        "synthetic_fraction": {"warn": 0.4, "fail": 0.5},
        "diversity_loss": {"warn": 1, "fail": 1},
    }
    path.write_text(json.dumps(policy | {"unread": unread} if unread else policy))
    return path


def test_an_unread_part_that_could_change_the_verdict_is_undetermined_even_where_its_share_may_be_large(
    photos: Path, audit: Audit
) -> None:
    for i in range(GOOD):
        (photos / f"bad{i}.png").write_bytes(b"bad")
    outcome = audit(photos, "--policy", lenient(photos.parent, warn=0.9, fail=0.95))
    checks = checks_of(outcome.json)
    assert (checks["unread"], checks["synthetic_fraction"]) == ("pass", "undetermined")
    assert (outcome.json["verdict"], outcome.code) == ("undetermined", 4)


def test_a_limit_counts_what_the_whole_set_lacks(photos: Path, audit: Audit) -> None:
    damage_many(photos)
    result = audit(photos, "--limit", 30).json
    assert result["unread"]["share"]["low"] < 600 / 660 < result["unread"]["share"]["high"]
    assert result["verdict"] == "fail"


def test_lines_of_another_key_are_unread_items(tmp_path: Path, audit: Audit, make: SimpleNamespace) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    texts = make.texts("real", GOOD, np.random.default_rng(5))
    make.write_jsonl(folder / "a.jsonl", texts)
    (folder / "b.jsonl").write_text("".join(json.dumps({"wording": text}) + "\n" for text in texts * 5))
    result = audit(folder, reference="texts").json
    assert (result["n_items"], result["unread"]["items"], checks_of(result)["unread"]) == (GOOD, 5 * GOOD, "fail")


def test_every_skip_states_its_items_and_bytes(photos: Path, audit: Audit, tmp_path: Path) -> None:
    hide_in_an_archive(photos)
    (photos / "bad.png").write_bytes(b"bad")
    (photos / "._0000.png").write_bytes(b"\x00\x05\x16\x07")
    result = audit(photos).json
    rows = pq.read_table(Path(result["run"]["out"]) / "skipped.parquet").to_pylist()
    assert {row["path"]: (row["items"], row["bytes"]) for row in rows} == {
        "rest.7z": (None, 100_006), "bad.png": (1, 3), "._0000.png": (0, 4)
    }  # fmt: skip
    assert result["unread"]["ignored"] == 1


def test_the_command_s_summary_and_report_say_how_much_was_not_read(
    photos: Path, madaudit: Any, tmp_path: Path
) -> None:
    damage_many(photos)
    outcome = madaudit("audit", photos, "--reference", "images", "--out", tmp_path / "o")
    assert outcome.out.startswith("FAIL: 60 items used, 600 unread (91 % of what was offered)")
    assert "fail: unread" in outcome.out
    assert "600 unread" in (tmp_path / "o" / "report.html").read_text()


# references


def build(madaudit: Any, real: Path, world: Any, *options: object) -> Any:
    return madaudit(
        "reference build", "spoilt", "--real", real, "--synthetic", f"gen={world.data}/fake", "--encoder", "pixels:8",
        "--overwrite", *options,
    )  # fmt: skip


@pytest.mark.parametrize("spoil", [damage_many, hide_in_an_archive, link_away])
def test_a_reference_that_lacks_too_much_is_refused(
    madaudit: Any, world: Any, photos: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(photos)
    outcome = build(madaudit, photos, world)
    assert outcome.code == 2
    assert "the part 'real'" in outcome.err
    assert "unread" in outcome.err
    assert not (world.home / "references" / "spoilt").exists()


def test_a_reference_says_how_many_of_how_many_items_it_used(madaudit: Any, world: Any, photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"bad")
    (photos / "copy.png").write_bytes((photos / "0000.png").read_bytes())
    outcome = build(madaudit, photos, world)
    assert outcome.code == 0
    assert "real: 61 of 62 items used; 59 effective" in outcome.out
    assert "left out: real: 1 unread (1.6 % of what was offered)" in outcome.out
    described = madaudit("reference show", "spoilt", "--json").json
    assert (described["items"]["real"], described["unread"]["real"]["items"]) == (61, 1)
    madaudit("reference delete", "spoilt")


def test_a_policy_may_let_a_reference_lack_more(madaudit: Any, world: Any, photos: Path, tmp_path: Path) -> None:
    for i in range(20):
        (photos / f"bad{i}.png").write_bytes(b"bad")
    (tmp_path / "policy.yaml").write_text("unread: {warn: 0.3, fail: 0.5}")
    assert build(madaudit, photos, world).code == 2
    assert build(madaudit, photos, world, "--policy", tmp_path / "policy.yaml").code == 0
    madaudit("reference delete", "spoilt")
