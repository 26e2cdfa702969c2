import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.folder import AuditFolder
from auditor.results import AuditResult, read_result
from indexes.errors import ArtifactError
from service.reports.report import render

Command = Any
World = Any


class _Links(HTMLParser):
    """Everything a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
                self.fetched.append(value or "")
            assert not name.startswith("on"), (tag, name)


HOSTILE = "<script>alert(1)<_script>.png"


@pytest.fixture
def audited(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> tuple[Path, AuditResult]:
    """A small audit with a hostile file name among the most suspicious, and a bad file."""
    folder = make.write_images(tmp_path / "im", make.real_images(20, rng))
    (folder / HOSTILE).write_bytes(make.png(make.fake_images(1, rng)[0]))
    (folder / "<b>bad.png").write_bytes(b"")
    madaudit("audit", folder, "--reference", "images", "--out", tmp_path / "o")
    return tmp_path / "o", read_result(AuditFolder(tmp_path / "o"))


def test_the_page_fetches_nothing_and_runs_nothing(audited: tuple[Path, AuditResult]) -> None:
    page = (audited[0] / "report.html").read_text()
    links = _Links()
    links.feed(page)
    assert [f for f in links.fetched if not f.startswith(("data:", "#"))] == []
    assert not {"script", "link", "iframe", "object", "embed"} & set(links.tags)
    assert "@import" not in page
    assert not re.search(r"url\(\s*['\"]?(?!#)", page)


def test_hostile_names_are_shown_as_text(audited: tuple[Path, AuditResult]) -> None:
    page = (audited[0] / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;_script&gt;.png" in page


def test_a_hostile_source_is_shown_as_text(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    folder = make.write_images(tmp_path / "<img src=x onerror=alert(1)>", make.real_images(10, rng))
    madaudit("audit", folder, "--reference", "images", "--out", tmp_path / "o")
    links = _Links()
    links.feed((tmp_path / "o" / "report.html").read_text())
    assert [f for f in links.fetched if not f.startswith(("data:", "#"))] == []


def test_hostile_texts_are_shown_as_text(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    lines = [*make.texts("real", 20, rng), "<script>alert(1)</script> {{ 7 * 7 }}"]
    madaudit("audit", make.write_jsonl(tmp_path / "t.jsonl", lines), "--reference", "texts", "--out", tmp_path / "o")
    page = (tmp_path / "o" / "report.html").read_text()
    assert "<script" not in page
    assert "{{ 7 * 7 }}" in page


def test_the_page_shows_the_verdict_the_answers_and_the_gallery(audited: tuple[Path, AuditResult]) -> None:
    folder, result = audited
    page = (folder / "report.html").read_text()
    assert result.verdict.upper() in page
    assert f"{100 * result.synthetic_fraction.high:.1f} %" in page
    assert page.count("data:image/jpeg;base64,") == 16  # of 21, those a shard keeps
    captions = re.findall(r"<figcaption>([^<]*)<br>", page)
    assert captions[0] == HOSTILE.replace("<", "&lt;").replace(">", "&gt;")  # the only synthetic one


@pytest.mark.parametrize("form", ["html", "md"])
def test_the_page_shows_the_conditions_and_what_the_reference_can_promise(
    audited: tuple[Path, AuditResult], form: str
) -> None:
    out, result = audited
    page = " ".join(render(AuditFolder(out), result, form).split())
    both, at = result.synthetic_fraction.if_both, result.reference.promise.at
    assert f"{100 * both.low:.1f} % – {100 * both.high:.1f} %" in page
    assert "the reference knows every generator" in page
    assert all(f"{100 * found.smallest_noticed:.1f} %" in page for found in at.values())
    assert "2 more generators with at least 300 items each" in page


def test_rendering_twice_gives_the_same_bytes(audited: tuple[Path, AuditResult]) -> None:
    folder, result = audited
    assert (
        render(AuditFolder(folder), result, "html")
        == render(AuditFolder(folder), result, "html")
        == (folder / "report.html").read_text()
    )


def test_the_markdown_has_every_check_and_measure(audited: tuple[Path, AuditResult]) -> None:
    folder, result = audited
    text = render(AuditFolder(folder), result, "md")
    for check in result.checks:
        assert f"| {check.name} | {check.status} |" in text
    for name in {**result.diversity.measures, **result.fidelity.measures}:
        assert f"| {name} |" in text
    assert "- empty file: 1" in text


def test_the_markdown_has_no_ragged_table_and_no_unclosed_template(audited: tuple[Path, AuditResult]) -> None:
    text = render(AuditFolder(audited[0]), audited[1], "md")
    assert "{{" not in text
    assert "None" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_report_without_a_gallery_is_still_a_report(audited: tuple[Path, AuditResult]) -> None:
    folder, result = audited
    (folder / "state" / "gallery.json").unlink()
    assert "Most suspicious" not in render(AuditFolder(folder), result, "html")


@pytest.mark.parametrize(
    "content", [None, "", "[1]", "{}", '{"schema": "madaudit/result/1"}', '{"schema": "madaudit/result/2"}']
)
def test_what_is_no_result_is_an_artifact_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"result\.json"):
        read_result(AuditFolder(tmp_path))


def test_a_result_reads_back_as_it_was_written(audited: tuple[Path, AuditResult]) -> None:
    folder, result = audited
    assert result.to_dict() == json.loads((folder / "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", ["html", "md"])
def test_a_report_holds_no_character_that_would_steer_a_terminal(
    madaudit: Command, make: SimpleNamespace, rng: np.random.Generator, tmp_path: Path, form: str
) -> None:
    folder = make.write_images(tmp_path / "\x1b[31mset\u202e", make.fake_images(20, rng), prefix="\x1b[2J\x9b\u202e")
    audited = madaudit("audit", folder, "--reference", "images", "--out", tmp_path / "o")
    printed = madaudit("report", tmp_path / "o", "--format", form, "--out", tmp_path / "page")
    shown = (tmp_path / "page").read_text() + audited.out + audited.err + printed.out + printed.err
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert "\\x1b[31mset\\u202e" in shown
