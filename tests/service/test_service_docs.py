"""What docs/service.md says: its queries run, its snippets are Python, its settings are those there are."""

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
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
def test_a_documented_snippet_calls_the_client_as_it_is(snippet: str) -> None:
    calls = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call)]
    asked = [c for c in calls if isinstance(c.func, ast.Attribute) and getattr(c.func.value, "id", "") == "client"]
    assert asked
    for call in asked:
        assert isinstance(call.func, ast.Attribute)
        method = inspect.signature(getattr(Client, call.func.attr))
        method.bind("self", *call.args, **{str(keyword.arg): None for keyword in call.keywords})


def test_every_setting_stands_in_the_table_and_no_other() -> None:
    named = set(re.findall(r"`MADAUDIT_(\w+)`", re.sub(r"(?s).*## Settings(.*?)## Jobs.*", r"\1", TEXT)))
    assert named == {field.name.upper() for field in fields(ServiceSettings)} | {"HOME", "WEIGHTS"}
