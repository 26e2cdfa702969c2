"""The text of errors: one line, safe to show."""

import pytest

from indexes.errors import ArtifactError, InputError, one_line, without_controls


@pytest.mark.parametrize("error", [InputError, ArtifactError])
def test_an_error_that_quotes_a_hostile_name_is_one_line_without_controls(error: type[Exception]) -> None:
    said = str(error("\x1b[31ma\nb\r\n\x07c\x9bd\u202ee\ud800: choose another"))
    assert said == "\\x1b[31ma b \\x07c\\x9bd\\u202ee\\ud800: choose another"


@pytest.mark.parametrize("text", ["naïve 日本 – “é” 🙂", "👩\u200d👧", "العربية", ""])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert one_line(text) == without_controls(text) == text


def test_a_very_long_line_keeps_its_beginning_and_its_end() -> None:
    said = str(InputError("found " + "x" * 100_000 + "; choose another"))
    assert len(said) < 2100
    assert said.startswith("found xxx")
    assert said.endswith("xxx; choose another")


def test_line_ends_and_tabs_of_a_page_stay() -> None:
    assert without_controls("a\n\tb\x1b") == "a\n\tb\\x1b"
