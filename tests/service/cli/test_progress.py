import io
import sys

import pytest

from service.cli.progress import ShardProgress


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ShardProgress("auditing", quiet=True) as progress:
        progress(1, 1, 10)
        progress.count("real", 5)
    assert capsys.readouterr() == ("", "")


def test_elsewhere_than_on_a_terminal_it_is_plain_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with ShardProgress("auditing", quiet=False) as progress:
        progress(0, 2, 0)
        progress(2, 2, 30)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "auditing: 2/2 shards, 30 items"


def test_many_shards_in_a_short_time_are_few_lines_and_the_last_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with ShardProgress("auditing", quiet=False) as progress:
        for done in range(1, 1001):
            progress(done, 1000, 3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "auditing: 1000/1000 shards, 3000 items"
    assert len(lines) <= 3


def test_items_of_a_label_add_up(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.cli.progress._EVERY_S", -1.0)
    with ShardProgress("encoding", quiet=False) as progress:
        progress.count("real", 5)
        progress.count("real", 7)
    assert capsys.readouterr().err.splitlines() == ["encoding: 5 items (real)", "encoding: 12 items (real)"]


def test_on_a_terminal_it_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with ShardProgress("auditing", quiet=False) as progress:
        progress(1, 2, 10)
        progress(2, 2, 10)
    assert "auditing: 20 items" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
