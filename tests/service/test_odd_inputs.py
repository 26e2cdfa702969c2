"""Hostile and odd inputs through the command line, the Python call and an upload: one answer, one line, nothing lost.

`pytest -m slow tests/service/test_odd_inputs.py -s` prints the table.
"""

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from auditor.policy import load_policy
from auditor.reference.reference import Reference
from auditor.run import AuditOptions, audit
from indexes.errors import InputError, one_line
from service.http.app import create_app
from service.http.context import make_context
from service.settings import ServiceSettings, Settings

pytestmark = pytest.mark.slow

LONGEST_S = 10.0  # of processor time beyond that of a plain audit
LATEST_S = 120  # of the clock, after which an input hangs
MOST_BYTES = 2**30
SEEN_ALIKE = ("n_items", "skipped", "unread", "verdict")


def _package(folder: Path) -> ModuleType:
    """The inputs, which lie beside this file and in no package that is installed."""
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[folder.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


odd_inputs = _package(Path(__file__).with_name("odd_inputs"))
INPUTS = odd_inputs.inputs()
NAMES = [each.name for each in INPUTS]


@dataclass
class Answer:
    """What one road made of an input: a result, or the one line of a refusal."""

    result: dict[str, Any] | None
    said: str | None


@dataclass
class Service:
    """A running service with the same references."""

    client: TestClient

    def upload(self, reference: str, data: bytes, **query: str) -> Any:
        """The answer to an upload."""
        return self.client.post("/v1/audits/upload", params={"reference": reference, **query}, content=data)

    def finished(self, place: str) -> dict[str, Any]:
        """The job at a place, once it is finished."""
        for _ in self.client.get(f"{place}/events").text.splitlines():
            pass
        found: dict[str, Any] = self.client.get(place).json()
        return found


@pytest.fixture(scope="module")
def running(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the references `images`, `texts` and `vectors`; a job that takes over 2 GB fails."""
    home = tmp_path_factory.mktemp("odd")
    shutil.copytree(world.home / "references", home / "references")
    settings = ServiceSettings(max_upload_mb=64, max_unpacked_mb=4096, memory_mb=2048)
    context = make_context(Settings(home), settings)
    token = context.keys.create("tester", ["write"])[1]
    with TestClient(create_app(context), headers={"Authorization": f"Bearer {token}"}) as client:
        yield Service(client)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines that are printed at the end."""
    lines: list[str] = []
    yield lines
    print("\n" + "\n".join(lines))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for an input, which is removed behind it: pytest cannot remove folders thousands deep."""
    folder = tmp_path / "in"
    folder.mkdir()
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture(scope="module")
def usual(world: Any, references: dict[str, Reference]) -> dict[str, float]:
    """Processor time of a plain audit, which the number of items hardly changes."""
    plain = {"images": world.data / "real", "texts": world.data / "real.jsonl", "vectors": world.data / "real.npy"}
    seconds = {}
    for name, source in plain.items():
        started = time.process_time()
        audit(source, references[name])
        seconds[name] = time.process_time() - started
    return seconds


class Late(BaseException):
    """Too much time went by; not an Exception, so that nobody takes it for damage."""


@contextmanager
def watched(usage: dict[str, float]) -> Iterator[None]:
    """Measure time and memory, and end what hangs."""

    def end(*_: object) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LATEST_S)
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back
    held, started = _memory("VmRSS"), time.process_time()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        usage["seconds"] = max(usage.get("seconds", 0.0), time.process_time() - started)
        usage["bytes"] = max(usage.get("bytes", 0.0), _memory("VmHWM") - held)


def _memory(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


@contextmanager
def beside(during: Callable[[Path], None] | None, out: Path) -> Iterator[None]:
    """Run something in a thread while the audit goes on."""
    thread = threading.Thread(target=during or (lambda _: None), args=(out,), daemon=True)
    thread.start()
    yield
    thread.join(20)


def asked_of(made: Any) -> Any:
    return made if isinstance(made, odd_inputs.Asked) else odd_inputs.Asked(made)


def by_command(madaudit: Any, each: Any, asked: Any, out: Path) -> tuple[int, Answer, str, str]:
    given: list[object] = ["audit", asked.source, "--reference", each.reference, "--out", out, "--json"]
    for option in ("column", "limit", "policy"):
        if getattr(asked, option) is not None:
            given += [f"--{option}", getattr(asked, option)]
    with beside(asked.during, out):
        outcome = madaudit(*given)
    said = outcome.err.removeprefix("madaudit: ").removesuffix("\n") if outcome.code in (2, 3) else None
    return outcome.code, Answer(outcome.json if outcome.out else None, said), outcome.out, outcome.err


def by_call(reference: Reference, asked: Any, out: Path) -> Answer:
    options = AuditOptions(column=asked.column, limit=asked.limit)
    try:
        policy = load_policy(asked.policy)
        with beside(asked.during, out):
            return Answer(audit(asked.source, reference, out=out, policy=policy, options=options).to_dict(), None)
    except InputError as error:
        return Answer(None, str(error))


def by_upload(service: Service, each: Any, asked: Any, data: bytes) -> tuple[int, Answer]:
    query = {} if asked.column is None else {"column": asked.column}
    answer = service.upload(each.reference, data, **query)
    if answer.status_code != 202:
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert answer.json()["detail"], answer.text
        assert len(answer.json()["detail"].splitlines()) == 1
        return answer.status_code, Answer(None, answer.json()["detail"])
    job = service.finished(f"/v1/audits/{answer.json()['id']}")
    assert job["state"] in ("succeeded", "failed"), job
    return 202, Answer(job["result"], job["error"])


def is_shown_safely(text: str) -> bool:
    """Whether a terminal or a page shows the text as it is: no controls but line ends and tabs, one direction."""
    return not any((unicodedata.category(c) == "Cc" and c not in "\n\t") or c in HIDDEN for c in text)


HIDDEN = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def covers(result: dict[str, Any], offered: int) -> bool:
    """Whether all that was put in is used, counted as unread, or stated as a file or bytes that nobody counted."""
    unread = result["unread"]
    return bool(result["n_items"] + unread["items"] >= offered or unread["files"])


CODES = {"pass": 0, "warn": 0, "fail": 1, "undetermined": 4}


def is_gate_right(result: dict[str, Any], code: int, offered: int) -> bool:
    """Whether the exit code is the verdict's, and no set passes of which a tenth was not used."""
    status = next(check["status"] for check in result["checks"] if check["name"] == "unread")
    lacks = 1 - result["n_items"] / max(offered, 1)
    is_told = status in ("fail", "undetermined") if lacks >= 0.1 else True
    is_whole = result["unread"]["items"] == result["unread"]["files"] == 0
    return code == CODES[result["verdict"]] and is_told and (status == "pass" or not is_whole)


def without_names(said: str | None, source: object) -> str:
    """A message without where its source lies, one space between words."""
    said = one_line(said or "")
    for name in filter(None, (one_line(str(source)), one_line(Path(str(source)).name).strip())):
        said = said.replace(name, "SOURCE")
    return re.sub(r"upload\.[a-z0-9.]*[a-z0-9]|upload(?=: | could)", "SOURCE", said)


@pytest.mark.parametrize("name", NAMES)
def test_each_road_gives_the_one_right_answer(
    name: str,
    madaudit: Any,
    references: dict[str, Reference],
    running: Service,
    usual: dict[str, float],
    table: list[str],
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    each = INPUTS[NAMES.index(name)]
    folder = place
    asked = asked_of(each.make(folder))
    monkeypatch.chdir(asked.working_folder or tmp_path)
    usage: dict[str, float] = {}
    out = tmp_path / "out" if asked.out is None else asked.out
    with watched(usage):
        code, told, printed, err = by_command(madaudit, each, asked, out)
    found = told.result or {"n_items": None, "unread": {"items": None, "files": None, "bytes": None}}
    row = (
        each.group,
        name[:58],
        each.offered,
        code,
        found["n_items"],
        *(found["unread"][k] for k in ("items", "files", "bytes")),
    )
    line = "{:8}{:59}{!s:>8} exit {} read {!s:>6} unread {!s:>8} files {!s:>4} bytes {!s:>11}".format(*row)
    table.append(line)
    if asked.during is not None:  # made again for each road, as the first has spoilt it
        shutil.rmtree(folder)
        folder.mkdir()
        asked = replace(asked_of(each.make(folder)), out=asked.out)
    with watched(usage):
        called = by_call(references[each.reference], asked, tmp_path / "called" if asked.out is None else asked.out)
    table[-1] += f" {usage['seconds']:5.1f} s {usage['bytes'] / 2**20:5.0f} MB"
    status = None
    if each.upload is not None:
        status, sent = by_upload(running, each, asked, Path(str(asked.source)).read_bytes())
        table[-1] += f" upload {status}"
    table[-1] += f"  {told.said or found.get('skipped')}"[:400]
    print("\n" + table[-1])

    assert code in (0, 1, 2, 4), err
    assert code == 2 if each.read is None and asked.during is None else code in (each.codes or (0, 1, 4))
    if code == 2:
        assert printed == ""
        assert err.startswith("madaudit: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert each.said in err
        assert len(err) < 4000
        assert called.result is None
        assert without_names(called.said, asked.source) == without_names(told.said, asked.source)
    else:
        assert err == ""
        assert printed.isascii()
        assert told.result is not None
        assert called.result is not None, called.said
        assert told.result["n_items"] == each.read or asked.during is not None
        assert covers(told.result, each.offered)
        assert is_gate_right(told.result, code, each.offered)
        assert told.result["n_items"] <= each.offered or asked.during is not None
        if asked.during is None:
            assert {k: called.result[k] for k in SEEN_ALIKE} == {k: told.result[k] for k in SEEN_ALIKE}
        for form in ("html", "md"):
            shown = madaudit("report", out, "--format", form, "--out", tmp_path / f"shown.{form}")
            assert shown.code == 0
            page = (tmp_path / f"shown.{form}").read_text()
            assert is_shown_safely(page)
            assert "<script" not in page
    assert is_shown_safely(err)
    if each.upload is not None:
        assert status == each.upload, sent.said
        if status == 202 and code == 2:
            assert sent.result is None
            assert without_names(sent.said, asked.source) == without_names(told.said, asked.source)
        elif status == 202:
            assert sent.result is not None, sent.said
            assert {k: sent.result[k] for k in SEEN_ALIKE} == {k: told.result[k] for k in SEEN_ALIKE}
    assert usage["seconds"] < LONGEST_S + usual[each.reference]
    assert usage["bytes"] < MOST_BYTES


def test_there_are_forty_hostile_and_sixty_odd_inputs() -> None:
    assert sum(each.group == "hostile" for each in INPUTS) >= 40
    assert sum(each.group == "odd" for each in INPUTS) >= 60
