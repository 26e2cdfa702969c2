"""A review from the command line: what the labeller is given, what labels change, and what is refused."""

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

import service.review as review_module
from auditor.review.label_fraction import estimate_with_labels
from indexes.images import decode

Command = Any
World = Any


@pytest.fixture
def audited(madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> Path:
    """An audit of 90 real and 60 synthetic images."""
    folder = make.write_images(tmp_path / "im", make.real_images(90, rng), "a")
    make.write_images(folder, make.fake_images(60, rng), "b")
    assert madaudit("audit", folder, "--reference", "images", "--out", tmp_path / "o").code in (0, 1)
    return tmp_path / "o"


@pytest.fixture
def essays(madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> Path:
    """An audit of 40 real and 20 synthetic texts."""
    lines = [*make.texts("real", 40, rng), *make.texts("fake", 20, rng)]
    madaudit("audit", make.write_jsonl(tmp_path / "t.jsonl", lines), "--reference", "texts", "--out", tmp_path / "t")
    return tmp_path / "t"


@pytest.fixture
def known(tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> tuple[object, ...]:
    """Sources of known answers."""
    real = make.write_images(tmp_path / "known real", make.real_images(25, rng))
    fake = make.write_images(tmp_path / "known fake", make.fake_images(25, rng))
    return ("--known-real", real, "--known-synthetic", fake)


def key_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "state" / "review.json").read_bytes())


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "review" / "items.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def filled(folder: Path, path: Path, answer: Any) -> Path:
    """The table with `answer(entry of the key)` as each label."""
    rows, entries = rows_of(folder), {str(e["number"]): e for e in key_of(folder)["items"]}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "label": answer(entries[row["number"]])} for row in rows)
    return path


def truth(entry: dict[str, Any]) -> str:
    """The label of a perfect labeller: synthetic images are called b…."""
    return entry["known"] or ("synthetic" if entry["id"].startswith("b") else "real")


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k not in ("run", "timing", "created")}


# what the labeller is given


def test_a_review_writes_a_table_a_page_and_the_images(madaudit: Command, audited: Path, known: Any) -> None:
    printed = madaudit("review", audited, *known, "--json").json
    rows = rows_of(audited)
    assert printed["items"] == len(rows) == 70  # 50 of the set, 10 known of either kind
    assert [row["label"] for row in rows] == [""] * 70
    assert {decode((audited / "review" / row["item"]).read_bytes()).format for row in rows} == {"jpeg"}
    assert (audited / "review" / "index.html").read_text().count("data:image/jpeg;base64,") == 70


def test_nothing_the_labeller_sees_tells_where_an_item_comes_from(
    madaudit: Command, audited: Path, known: Any, tmp_path: Path
) -> None:
    printed = madaudit("review", audited, *known)
    seen = (audited / "review" / "items.csv").read_text() + (audited / "review" / "index.html").read_text()
    for entry in key_of(audited)["items"]:
        assert entry["id"].split("\n")[-1] not in seen + printed.out
    assert {row["item"] for row in rows_of(audited)} == {f"images/{i:03d}.jpg" for i in range(1, 71)}


def test_known_answers_stand_among_the_others(madaudit: Command, audited: Path, known: Any) -> None:
    madaudit("review", audited, *known)
    origin = [entry["known"] for entry in key_of(audited)["items"]]
    assert (origin.count("real"), origin.count("synthetic"), origin.count(None)) == (10, 10, 50)
    places = [i for i, o in enumerate(origin) if o]
    assert places[0] < 20  # of 70; the chance of none among the first 20 is 0.001
    assert places[-1] > 50


def test_the_page_fetches_nothing(madaudit: Command, essays: Path) -> None:
    madaudit("review", essays)
    page = (essays / "review" / "index.html").read_text()
    assert "http:" not in page
    assert "https:" not in page
    assert "src=" not in page
    assert "default-src 'none'" in page


def test_hostile_texts_are_shown_as_text(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    lines = [*make.texts("real", 20, rng), "</pre><script>alert(1)</script> {{ 7 * 7 }}", "=HYPERLINK(1)"]
    madaudit("audit", make.write_jsonl(tmp_path / "t.jsonl", lines), "--reference", "texts", "--out", tmp_path / "o")
    madaudit("review", tmp_path / "o")
    page = (tmp_path / "o" / "review" / "index.html").read_text()
    assert page.count("<script>") == 1
    assert "{{ 7 * 7 }}" in page
    assert "'=HYPERLINK(1)" in [row["excerpt"] for row in rows_of(tmp_path / "o")]


def test_texts_are_written_whole(madaudit: Command, essays: Path) -> None:
    madaudit("review", essays)
    lines = {json.loads(line)["text"] for line in (essays.parent / "t.jsonl").read_text().splitlines()}
    assert {(essays / "review" / row["item"]).read_text() for row in rows_of(essays)} <= lines


def test_the_same_command_draws_the_same_items_and_keeps_the_labels(madaudit: Command, audited: Path) -> None:
    madaudit("review", audited)
    before = key_of(audited)
    filled(audited, audited / "review" / "items.csv", truth)
    again = madaudit("review", audited)
    assert again.code == 0
    assert key_of(audited) == before
    assert rows_of(audited)[0]["label"] in ("real", "synthetic")


def test_another_draw_is_refused_unless_it_may_overwrite(madaudit: Command, audited: Path) -> None:
    madaudit("review", audited)
    refused = madaudit("review", audited, "--n", 30)
    assert refused.code == 2
    assert "already holds the review" in refused.err
    assert madaudit("review", audited, "--n", 30, "--overwrite").code == 0
    assert len(rows_of(audited)) == 30


@pytest.mark.parametrize("were_given", [True, False])
def test_a_larger_review_keeps_the_labels_of_the_items_that_it_draws_again(
    were_given: bool, madaudit: Command, audited: Path, tmp_path: Path
) -> None:
    madaudit("review", audited, "--n", 20)
    former = {(e["shard"], e["id"]): truth(e) for e in key_of(audited)["items"]}
    if were_given:
        madaudit("review", audited, "--labels", filled(audited, tmp_path / "l.csv", truth))
    else:
        filled(audited, audited / "review" / "items.csv", truth)
    printed = madaudit("review", audited, "--n", 40, "--overwrite")
    assert printed.code == 0
    again = {e["number"] for e in key_of(audited)["items"] if (e["shard"], e["id"]) in former}
    labels = {int(row["number"]): row["label"] for row in rows_of(audited)}
    assert {number for number, label in labels.items() if label} == again
    assert len(again) >= 15
    assert f"{len(again)} of them labelled before" in printed.out
    assert all(labels[e["number"]] == truth(e) for e in key_of(audited)["items"] if e["number"] in again)
    assert (audited / "review" / "index.html").read_text().count(" checked>") == len(again)


def test_vectors_are_reviewed_by_id(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    np.save(tmp_path / "v.npy", make.real_vectors(60, rng))
    madaudit("audit", tmp_path / "v.npy", "--reference", "vectors", "--out", tmp_path / "o")
    refused = madaudit("review", tmp_path / "o", "--known-real", tmp_path / "v.npy")
    assert (refused.code, "leave out --known" in refused.err) == (2, True)
    assert madaudit("review", tmp_path / "o").code == 0
    assert {row["item"] for row in rows_of(tmp_path / "o")} <= {f"v.npy#{i}" for i in range(60)}


def test_a_source_that_has_changed_is_refused(madaudit: Command, audited: Path) -> None:
    for path in (audited.parent / "im").glob("a*.png"):
        path.unlink()
    refused = madaudit("review", audited)
    assert refused.code == 2
    assert "no longer holds" in refused.err


# what labels change


def test_labels_of_a_perfect_labeller_find_the_truth_and_its_errors(
    madaudit: Command, audited: Path, known: Any, tmp_path: Path
) -> None:
    before = json.loads((audited / "result.json").read_bytes())
    madaudit("review", audited, *known)
    labels = filled(audited, tmp_path / "labels.csv", truth)
    outcome = madaudit("review", audited, "--labels", labels, "--json")
    result, fraction = outcome.json, outcome.json["synthetic_fraction"]
    assert (fraction["status"], fraction["method"], fraction["reason"]) == ("determined", "review", None)
    assert fraction["low"] <= 0.4 <= fraction["high"]
    assert fraction["high"] - fraction["low"] < 0.25
    assert fraction["before_review"]["estimate"] == before["synthetic_fraction"]["estimate"]
    assert fraction["before_review"]["if_reference_matches"] == before["synthetic_fraction"]["if_reference_matches"]
    for condition in ("if_reference_matches", "if_generators_known", "if_both"):
        assert fraction[condition]["low"] == fraction["low"]
        assert fraction[condition]["high"] == fraction["high"]
    assert result["review"]["error_on_real"]["estimate"] == result["review"]["error_on_synthetic"]["estimate"] == 0
    assert (result["review"]["labelled"], result["review"]["known"]["real"]["labelled"]) == (50, 10)
    assert outcome.code == 1  # 40 % are synthetic
    assert result == json.loads((audited / "result.json").read_bytes())
    assert (audited / "review" / "labels.csv").read_bytes() == labels.read_bytes()


def test_the_same_labels_twice_give_the_same_result_and_report(
    madaudit: Command, audited: Path, tmp_path: Path
) -> None:
    madaudit("review", audited)
    labels = filled(audited, tmp_path / "labels.csv", truth)
    first = madaudit("review", audited, "--labels", labels, "--json").json
    page = (audited / "report.html").read_text()
    second = madaudit("review", audited, "--labels", audited / "review" / "labels.csv", "--json").json
    assert first == second
    assert page == (audited / "report.html").read_text()
    assert "<h2>Review</h2>" in page


def test_without_known_answers_the_result_says_what_it_assumes(
    madaudit: Command, audited: Path, tmp_path: Path
) -> None:
    madaudit("review", audited)
    result = madaudit("review", audited, "--labels", filled(audited, tmp_path / "l.csv", truth), "--json").json
    assert (
        "no real item was labelled synthetic and no synthetic item was labelled real"
        in (result["synthetic_fraction"]["reason"])
    )
    assert result["review"]["error_on_real"]["estimate"] is None
    assert result["review"]["error_on_real"]["reason"] == "no item of known origin was labelled"


def test_real_known_answers_alone_leave_the_error_on_synthetic_items_open(
    madaudit: Command, audited: Path, known: Any, tmp_path: Path
) -> None:
    madaudit("review", audited, *known[:2])
    result = madaudit("review", audited, "--labels", filled(audited, tmp_path / "l.csv", truth), "--json").json
    assert result["review"]["error_on_real"]["n"] == 10
    answer = result["synthetic_fraction"]
    assert (answer["status"], answer["estimate"], answer["high"]) == ("bounds", None, 1)
    assert 0 < answer["low"] < 0.5
    assert answer["reason"].startswith("items of known synthetic origin were not labelled")


def test_an_audit_run_again_keeps_its_labels(
    madaudit: Command, audited: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    madaudit("review", audited)
    first = madaudit("review", audited, "--labels", filled(audited, tmp_path / "l.csv", truth), "--json").json
    again = madaudit("audit", tmp_path / "im", "--reference", "images", "--out", audited, "--json").json
    assert again["synthetic_fraction"]["method"] == "review"
    assert make.comparable(again) == make.comparable(first)


def test_too_few_stored_labels_are_named_when_an_audit_runs_again(
    madaudit: Command, audited: Path, tmp_path: Path
) -> None:
    madaudit("review", audited)
    few = iter(range(100))
    labels = filled(audited, audited / "review" / "labels.csv", lambda entry: "real" if next(few) < 5 else "")
    outcome = madaudit("audit", tmp_path / "im", "--reference", "images", "--out", audited, "--json")
    assert labels.exists()
    assert "do not match this audit and were ignored" in outcome.err
    assert outcome.json["synthetic_fraction"]["method"] != "review"


def test_the_checks_and_the_verdict_follow_the_labels(madaudit: Command, audited: Path, tmp_path: Path) -> None:
    madaudit("review", audited)
    labels = filled(audited, tmp_path / "l.csv", lambda entry: "real")
    outcome = madaudit("review", audited, "--labels", labels, "--json")
    check = next(c for c in outcome.json["checks"] if c["name"] == "synthetic_fraction")
    assert outcome.json["synthetic_fraction"]["low"] == 0
    assert check["value"] == outcome.json["synthetic_fraction"]["high"]
    assert check["status"] == "warn"  # 50 labels cannot exclude 5 %
    others = [c for c in outcome.json["checks"] if c["name"] != "synthetic_fraction"]
    assert [c["name"] for c in others] == ["diversity_loss", "mad_risk", "unread", "duplicates"]


def test_unsure_and_missing_labels_are_counted_and_left_out(madaudit: Command, audited: Path, tmp_path: Path) -> None:
    madaudit("review", audited)

    def answer(entry: dict[str, Any]) -> str:
        return {0: "unsure", 1: "", 2: "1" if truth(entry) == "synthetic" else "0"}.get(
            entry["number"] % 4, truth(entry)
        )

    review = madaudit("review", audited, "--labels", filled(audited, tmp_path / "l.csv", answer), "--json").json[
        "review"
    ]
    assert (review["unsure"], review["unlabelled"], review["labelled"]) == (12, 13, 25)


def test_too_few_labels_are_refused_in_one_line_and_change_nothing(
    madaudit: Command, audited: Path, tmp_path: Path
) -> None:
    madaudit("review", audited)
    before = (audited / "result.json").read_bytes()
    labels = filled(audited, tmp_path / "l.csv", lambda entry: "real" if entry["number"] < 6 else "unsure")
    refused = madaudit("review", audited, "--labels", labels)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "expected at least 10" in refused.err
    assert (audited / "result.json").read_bytes() == before
    assert not (audited / "review" / "labels.csv").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("number,label\n1,real\n", "but not review"),
        ("", "columns none"),
        ("review,number,label\nother,1,real\n", "labels belong to review 'other', expected"),
        ("review,number,label\nNAME,99,real\n", "no item has the number '99', expected 1 to 50"),
        ("review,number,label\nNAME,1,maybe\n", "the label is 'maybe', expected real, synthetic, unsure"),
        ("review,number,label\nNAME,1,real\nNAME,1,real\n", "occurs twice"),
        (None, "cannot read the labels"),
    ],
)
def test_wrong_labels_are_one_line_and_exit_2(
    madaudit: Command, audited: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    madaudit("review", audited)
    if content is not None:
        (tmp_path / "l.csv").write_text(content.replace("NAME", key_of(audited)["review"]))
    refused = madaudit("review", audited, "--labels", tmp_path / "l.csv")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert said in refused.err


def test_a_table_from_a_spreadsheet_is_read(madaudit: Command, audited: Path, tmp_path: Path) -> None:
    """Byte order mark, semicolons, capitals."""
    madaudit("review", audited)
    name = key_of(audited)["review"]
    lines = [f"{name};{row['number']};Real" for row in rows_of(audited)]
    (tmp_path / "l.csv").write_text("\ufeffReview;Number;Label\r\n" + "\r\n".join(lines), encoding="utf-8")
    result = madaudit("review", audited, "--labels", tmp_path / "l.csv", "--json").json
    assert result["review"]["labelled"] == 50


def test_labels_before_a_draw_are_refused(madaudit: Command, audited: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("review,number,label\n")
    refused = madaudit("review", audited, "--labels", tmp_path / "l.csv")
    assert refused.code == 2
    assert "draw the items first" in refused.err


def test_a_folder_that_holds_no_audit_is_refused(madaudit: Command, tmp_path: Path) -> None:
    refused = madaudit("review", tmp_path)
    assert refused.code == 2
    assert "result.json is missing" in refused.err


def test_an_audit_without_generators_can_be_reviewed(
    madaudit: Command, world: World, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    built = madaudit("reference build", "only-real", "--real", world.data / "real", "--encoder", "pixels:8")
    assert built.code == 0, built.err
    folder = make.write_images(tmp_path / "im", make.real_images(40, rng), "a")
    madaudit("audit", folder, "--reference", "only-real", "--out", tmp_path / "o")
    madaudit("review", tmp_path / "o", "--n", 20)
    labels = filled(tmp_path / "o", tmp_path / "l.csv", truth)
    result = madaudit("review", tmp_path / "o", "--labels", labels, "--json").json
    assert result["synthetic_fraction"]["status"] == "determined"
    assert result["synthetic_fraction"]["low"] == 0


def test_a_merged_audit_is_reviewed_from_all_its_sources(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    for i in range(2):
        source = make.write_tar(tmp_path / f"{i}.tar", make.real_images(30, rng), "a")
        madaudit("audit", source, "--reference", "images", "--out", tmp_path / f"o{i}")
    madaudit("merge", tmp_path / "o0", tmp_path / "o1", "--out", tmp_path / "m")
    assert madaudit("review", tmp_path / "m").code == 0
    assert len(rows_of(tmp_path / "m")) == 50


# on a terminal


def test_texts_can_be_labelled_on_a_terminal(madaudit: Command, essays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    answers = iter(["x", *["r"] * 12, "s", "u", "q"])
    monkeypatch.setattr(typer, "prompt", lambda text: next(answers))
    outcome = madaudit("review", essays)
    review = json.loads((essays / "result.json").read_bytes())["review"]
    assert (review["labelled"], review["unsure"], review["unlabelled"]) == (13, 1, 36)
    assert "--- 15 of 50 ---" in outcome.out


def test_labelling_on_a_terminal_goes_on_where_it_stopped(
    madaudit: Command, essays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    answers = iter(["r", "r", "q", *["s"] * 10, "q"])
    monkeypatch.setattr(typer, "prompt", lambda text: next(answers))
    stopped = madaudit("review", essays)
    assert (stopped.code, "2 items of the set are labelled" in stopped.err) == (2, True)
    outcome = madaudit("review", essays)
    assert "--- 2 of 50 ---" not in outcome.out
    assert json.loads((essays / "result.json").read_bytes())["review"]["labelled"] == 12


def test_a_limited_audit_is_reviewed_as_a_sample(
    madaudit: Command, audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def estimate(*arguments: Any, is_sample: bool, **options: Any) -> Any:
        told.append(is_sample)
        return estimate_with_labels(*arguments, is_sample=is_sample, **options)

    monkeypatch.setattr(review_module, "estimate_with_labels", estimate)
    madaudit("audit", tmp_path / "im", "--reference", "images", "--out", tmp_path / "cut", "--limit", 100)
    for folder in (audited, tmp_path / "cut"):
        madaudit("review", folder)
        madaudit("review", folder, "--labels", filled(folder, tmp_path / f"{folder.name}.csv", truth))
    assert told == [False, True]
    assert sum(key_of(tmp_path / "cut")["strata"]) == 100
