import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexes.errors import InputError
from service.cli.demo import FRACTIONS, run_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> tuple[Path, Any]:
    """The demo as a user runs it."""
    out = tmp_path_factory.mktemp("demo") / "madaudit-demo"
    outcome = make.run("demo", "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    return out, outcome


def test_every_true_fraction_lies_in_its_interval_or_a_hundredth_beside(demo: tuple[Path, Any]) -> None:
    rows = demo[1].json["audits"]
    assert [row["true"] for row in rows] == list(FRACTIONS)
    for row in rows:
        assert row["low"] - 0.01 <= row["true"] <= row["high"] + 0.01
        assert abs(row["estimate"] - row["true"]) < 0.06


def test_the_verdicts_follow_the_truth(demo: tuple[Path, Any]) -> None:
    assert [row["verdict"] for row in demo[1].json["audits"]] == ["pass", "warn", "fail", "fail", "fail"]


def test_every_audit_has_a_report(demo: tuple[Path, Any]) -> None:
    assert all(Path(row["report"]).stat().st_size > 10_000 for row in demo[1].json["audits"])


def test_the_mixtures_hold_the_images_promised_and_share_none_with_the_reference(demo: tuple[Path, Any]) -> None:
    data = demo[0] / "data"

    def contents(name: str) -> set[bytes]:
        return {np.asarray(Image.open(p)).tobytes() for p in (data / name).iterdir()}

    trusted = contents("reference-real") | contents("reference-synthetic")
    for fraction in FRACTIONS:
        assert len(list((data / f"mixture-{fraction:.1f}").iterdir())) == 500
        assert len(contents(f"mixture-{fraction:.1f}") & trusted) <= 1  # two of the 1,797 digits are alike


def test_the_folder_of_an_audit_can_be_reported_again(demo: tuple[Path, Any], make: SimpleNamespace) -> None:
    folder = demo[0] / "audit-0.3"
    printed = make.run("report", folder, "--format", "json").json
    assert printed == json.loads((folder / "result.json").read_bytes())


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data" / "reference-real").mkdir(parents=True)
    (tmp_path / "data" / "reference-real" / "holiday.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"holiday\.png"):
        run_demo(tmp_path, seed=0)
