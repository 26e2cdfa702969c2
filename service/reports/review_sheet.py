"""The files for labelling (items, a CSV table and an HTML page), and the reading of labels from a table."""

import base64
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from auditor.folder import AuditFolder
from indexes.errors import InputError
from indexes.images import decode, shrink
from indexes.records import Kind
from indexes.sources.files import printable
from indexes.store import write_atomic

__all__ = ["ANSWERS", "Shown", "read_labels", "shown", "write_labels", "write_sheet"]

COLUMNS = ("review", "number", "item", "excerpt", "label")
ANSWERS = {
    "real": "real", "0": "real", "synthetic": "synthetic", "1": "synthetic", "unsure": "unsure", "": "",
}  # fmt: skip
_SIDE, _QUALITY = 1024, 92  # of images, which all get the same JPEG settings, so that the format reveals nothing
_EXCERPT = 160  # characters


@dataclass(frozen=True, slots=True)
class Shown:
    """One item as the labeller sees it, under a neutral name."""

    number: int
    item: str  # "images/007.jpg", "texts/007.txt"; of vectors the id
    content: bytes  # JPEG or UTF-8; of vectors empty
    excerpt: str


def shown(number: int, identifier: str, data: Any, kind: Kind) -> Shown:
    """Prepare an item for labelling under a neutral number; raises Unusable if an image cannot be decoded."""
    if kind == "image":
        return Shown(number, f"images/{number:03d}.jpg", _jpeg(data), "")
    if kind == "text":
        text = printable(data)
        return Shown(number, f"texts/{number:03d}.txt", text.encode(), " ".join(text.split())[:_EXCERPT])
    return Shown(number, printable(identifier), b"", "")


def _jpeg(data: bytes) -> bytes:
    pixels: np.ndarray = shrink(decode(data).pixels, _SIDE)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def write_sheet(folder: AuditFolder, review: str, items: Sequence[Shown], labels: Mapping[int, str]) -> None:
    """Write the item files, items.csv and index.html, with the known `labels` filled in.

    The files do not reveal which items have a known origin.
    """
    folder.review.mkdir(parents=True, exist_ok=True)
    for item in items:
        if item.content:
            (folder.review / item.item).parent.mkdir(exist_ok=True)
            write_atomic(folder.review / item.item, item.content)
    write_labels(folder.label_table, review, items, labels)
    write_atomic(folder.label_page, _page(review, items, labels).encode())


def write_labels(path: Path, review: str, items: Sequence[Shown], labels: Mapping[int, str]) -> None:
    """Write the CSV table of items with the labels given so far."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item in items:
        fields = (_inert(item.item), _inert(item.excerpt), labels.get(item.number, ""))
        writer.writerow((review, item.number, *fields))
    write_atomic(path, buffer.getvalue().encode())


def _inert(cell: str) -> str:
    """Escape a table cell, so that a spreadsheet does not run it as a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _page(review: str, items: Sequence[Shown], labels: Mapping[int, str]) -> str:
    environment = Environment(
        loader=PackageLoader("service.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = [
        {
            "number": item.number,
            "item": item.item,
            "label": labels.get(item.number, ""),
            "jpeg": base64.b64encode(item.content).decode() if item.item.startswith("images/") else "",
            "text": "" if item.item.startswith("images/") else item.content.decode() or item.item,
        }
        for item in items
    ]
    return environment.get_template("review.html").render(review=review, items=rows)


def read_labels(path: Path, review: str, numbers: Sequence[int]) -> dict[int, str]:
    """Labels by item number (real, synthetic, unsure or empty); raises InputError if the file is invalid."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the labels {path} ({error}): expected a CSV file in UTF-8") from None
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in header else ",")
    names = [name.strip().lower() for name in rows.fieldnames or ()]
    if missing := [name for name in ("review", "number", "label") if name not in names]:
        raise InputError(
            f"{path} has the columns {', '.join(names) or 'none'} but not {', '.join(missing)}: fill in the column "
            "label of review/items.csv"
        )
    rows.fieldnames = names
    known, labels = set(numbers), dict.fromkeys(numbers, "")
    seen: set[int] = set()
    for line, row in enumerate(_rows(path, rows), start=2):
        number = _number(path, line, row, review, known)
        if number in seen:
            raise InputError(
                f"{path}, line {line}: the number {number} occurs twice, expected once: keep one of the rows"
            )
        seen.add(number)
        labels[number] = _label(path, line, row)
    return labels


def _rows(path: Path, rows: Iterable[dict[str, str | None]]) -> Iterator[dict[str, str | None]]:
    try:
        yield from rows
    except csv.Error as error:
        raise InputError(f"cannot read the labels {path} ({error}): expected the table review/items.csv") from None


def _number(path: Path, line: int, row: Mapping[str, str | None], review: str, known: set[int]) -> int:
    if (found := (row["review"] or "").strip()) != review:
        raise InputError(
            f"{path}, line {line}: the labels belong to review {found or 'without a name'!r}, expected {review}: name "
            "the file made for this audit"
        )
    text = (row["number"] or "").strip()
    if not text.isdecimal() or len(text) > 9 or int(text) not in known:
        raise InputError(f"{path}, line {line}: no item has the number {text!r}, expected 1 to {max(known)}")
    return int(text)


def _label(path: Path, line: int, row: Mapping[str, str | None]) -> str:
    text = (row["label"] or "").strip().lower()
    if text not in ANSWERS:
        raise InputError(
            f"{path}, line {line}: the label is {text!r}, expected real, synthetic, unsure, 0, 1 or nothing"
        )
    return ANSWERS[text]
