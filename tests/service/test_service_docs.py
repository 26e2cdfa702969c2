"""What docs/service.md says: its queries run, its snippets are Python, its settings are those there are."""

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from service.settings import ServiceSettings

TEXT = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("query", blocks("sql"))
def test_a_documented_query_runs_on_a_services_database(
    service: Any, query: str, monkeypatch: Any, tmp_path: Path
) -> None:
    started = service.admin.post(
        "/v1/audits", json={"source": f"{service.data}/incoming.npy", "reference": "vectors", "seed": 7}
    )
    service.finished(f"/v1/audits/{started.json()['id']}")
    monkeypatch.chdir(service.context.home.home)
    with service.context.database.transaction() as connection:
        found = connection.execute(query.replace("score > 0.9", "score >= 0"))
        assert found.fetchall() or "c.status = 'fail'" in query


@pytest.mark.parametrize("snippet", blocks("python"))
def test_a_documented_snippet_is_python(snippet: str) -> None:
    ast.parse(snippet)


def test_every_setting_stands_in_the_table_and_no_other() -> None:
    named = set(re.findall(r"`MADAUDIT_(\w+)`", re.sub(r"(?s).*## Settings(.*?)## Jobs.*", r"\1", TEXT)))
    assert named == {field.name.upper() for field in fields(ServiceSettings)} | {"HOME"}
