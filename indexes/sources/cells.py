"""Turn the cells of a table into items, by well-known column names and the form of the values."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from indexes.records import Item, Skip, Unusable
from indexes.sources.encoded import (
    BROKEN_BASE64,
    WEB_ADDRESS,
    decoded_image,
    holds_image,
    is_data_uri,
    is_web_address,
)
from indexes.sources.files import DAMAGE, MAX_ITEM_BYTES, File, damage_reason, digest, record_parts
from indexes.sources.runs import merged
from indexes.sources.signatures import HEAD_BYTES, content_of

__all__ = [
    "NAMES",
    "Column",
    "Form",
    "Lost",
    "TableShard",
    "form_of_texts",
    "likeliest",
    "sound",
    "value_record",
    "with_form_of_values",
]

# struct: {bytes, path} of Hugging Face; path: name of a file beside the table, or base64; base64: never a file name
Form = Literal["bytes", "struct", "path", "base64", "text", "vector"]

IMAGE_NAMES = (
    "image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "img_bytes", "image_data", "picture", "photo",
    "base64", "b64", "image_base64", "img_base64", "image_b64", "img_b64", "base64_image", "b64_image",
)  # fmt: skip
NAMES: dict[Form, tuple[str, ...]] = {  # usual names of the column or key, case-insensitive
    "bytes": IMAGE_NAMES,
    "struct": IMAGE_NAMES,
    "path": ("path", "image_path", "img_path", "file_path", "filepath", "file_name", "filename", "file", *IMAGE_NAMES),
    "base64": IMAGE_NAMES,
    "text": (
        "text", "caption", "content", "body", "document", "sentence", "article", "review",
        "prompt", "response", "completion",
    ),
    "vector": ("embedding", "embeddings", "emb", "vector", "vectors", "features"),
}  # fmt: skip
_MANY = 100  # rows from which a batch is first checked as a whole
_MAX_PATH = 1024  # characters; a longer text is not a file name
_SAMPLE = 64  # values looked at to tell paths from base64
_READ = frozenset(  # skip reasons of items that were read
    {"empty text", "not UTF-8 text", "not finite", "not a vector of numbers", "not an image", BROKEN_BASE64}
)


class Column(NamedTuple):
    """The table column to read, and the form of its cells: text, vector, image bytes, base64 or file path."""

    name: str
    form: Form


class Lost(NamedTuple):
    """A run of table rows that cannot be read, yielded in place of the cells of these rows."""

    rows: int | None  # None: unknown
    bytes: int  # stored bytes of the rows if their number is unknown
    reason: str


@dataclass(frozen=True, slots=True)
class TableShard:
    """A shard of some row groups of a Parquet table, or of an Arrow stream."""

    file: File  # only the bytes of this table if the file holds several
    name: str
    column: Column
    batches: Callable[[File, str, tuple[Any, ...]], Iterator[Any]]  # a module's function, so that it can be pickled
    groups: tuple[Any, ...]  # the parts that `batches` reads
    rows: int | None  # number of rows that the file states
    first_row: int = 0
    skips: tuple[Skip, ...] = ()  # other parts of the file; yielded after the rows

    def identity(self) -> str:
        """Digest of the shard's table cells and of the files that the cells name."""
        return digest(["table", self.column.name, self.column.form], record_parts(self.read(), self.file))

    def read(self) -> Iterator[Item | Skip]:
        """One item or skip per row, named by its row number in the file, and one skip per run of unreadable rows."""
        return merged(self._read())

    def _read(self) -> Iterator[Item | Skip]:
        row = self.first_row
        try:
            for cells in self.batches(self.file, self.column.name, self.groups):
                if isinstance(cells, Lost):
                    yield Skip(self._rows(row, cells.rows), cells.reason, items=cells.rows, bytes=cells.bytes)
                    row += cells.rows or 0
                    continue
                if reason := _emptiness(cells):
                    yield Skip(self._rows(row, len(cells)), reason, items=len(cells))
                    row += len(cells)
                    continue
                for cell in cells:
                    yield _cell_record(f"{self.file.name}#{row}", cell, self.column.form, self.file)
                    row += 1
        except DAMAGE as error:
            left = None if self.rows is None else max(0, self.first_row + self.rows - row)
            yield Skip(self._rows(row, left), damage_reason(error), items=left, bytes=None if left is None else 0)
        yield from self.skips

    def _rows(self, first: int, count: int | None) -> str:
        """The name of a run of unreadable rows in reports."""
        start = f"{self.file.name}#{first}"
        if count is None:
            return f"{start}-"
        return start if count <= 1 else f"{start}-{first + count - 1}"


def likeliest(names: Iterable[str], form: Form) -> list[str]:
    """The column names that usually hold items; a single match is used, and among several matches the user must choose.

    For texts, a column named "text" (case-insensitive) takes precedence over captions and other texts.
    """
    known = [name for name in names if name.lower() in NAMES[form]]
    exact = [name for name in known if name.lower() == "text"]
    return exact if form == "text" and exact else known


def form_of_texts(name: str, values: Iterable[Any]) -> Form:
    """Whether a text column holds base64 images or file paths, judged by the column's name and some of its values."""
    says_so = "base64" in name.lower() or "b64" in name.lower()
    return "base64" if says_so or any(isinstance(value, str) and holds_image(value) for value in values) else "path"


def with_form_of_values(shards: Sequence[TableShard]) -> list[TableShard]:
    """The shards of one table, with the form of a text column (path or base64) decided by the column's first values."""
    if not shards or shards[0].column.form != "path":
        return list(shards)
    column = shards[0].column
    column = column._replace(form=form_of_texts(column.name, islice(_texts(shards[0]), _SAMPLE)))
    return [replace(shard, column=column) for shard in shards]


def _texts(shard: TableShard) -> Iterator[str]:
    try:
        for cells in shard.batches(shard.file, shard.column.name, shard.groups):
            values = () if isinstance(cells, Lost) or _emptiness(cells) else (_value(cell, "path") for cell in cells)
            yield from (value.decode() for value in values if isinstance(value, bytes))
    except DAMAGE:  # counted later, when the rows are read
        return


def sound(cells: Any) -> Any:
    """An Arrow array with strings as bytes, validated so that hostile offsets cannot point outside its memory.

    Raises `pa.ArrowException` if validation fails. A string that is not UTF-8 passes validation and later becomes a
    single skipped item.
    """
    cells = _strings_as_bytes(cells)
    cells.validate(full=True)
    return cells


_AS_BYTES = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}


def _strings_as_bytes(cells: Any) -> Any:
    if isinstance(cells, pa.ExtensionArray):
        cells = cells.storage
    if cells.type in _AS_BYTES:
        return cells.view(_AS_BYTES[cells.type])
    if pa.types.is_dictionary(cells.type):
        return pa.DictionaryArray.from_arrays(cells.indices, _strings_as_bytes(cells.dictionary), safe=False)
    if pa.types.is_struct(cells.type):
        cells.validate()  # checks the lengths of the children before they are used
        kept = [name for name in ("bytes", "path") if cells.type.get_field_index(name) >= 0]
        fields = [_strings_as_bytes(cells.field(name)) for name in kept]
        return pa.StructArray.from_arrays(fields, kept, mask=cells.is_null())
    return cells


def _emptiness(cells: Any) -> str | None:
    """The skip reason for a large batch without content, or None; a few bytes can encode billions of empty rows."""
    if len(cells) < _MANY:
        return None
    if cells.null_count == len(cells):
        return "missing value"
    if pa.types.is_fixed_size_list(cells.type) and cells.type.list_size == 0:
        return "not a vector of numbers"
    return "empty file" if pa.types.is_fixed_size_binary(cells.type) and cells.type.byte_width == 0 else None


def _cell_record(id: str, cell: Any, form: Form, file: File) -> Item | Skip:
    value = _value(cell, form)
    return Skip(id, "missing value") if value is None else value_record(id, value, form, file)


def _value(cell: Any, form: Form) -> Any:
    if isinstance(cell, pa.DictionaryScalar) and cell.is_valid:
        cell = cell.value
    if not cell.is_valid:
        return None
    return cell.values.to_numpy(zero_copy_only=False) if form == "vector" else cell.as_py()


def value_record(id: str, value: Any, form: Form, file: File) -> Item | Skip:
    """A plain Python or numpy value as an item; a file path is read only if it lies inside the folder of `file`."""
    try:
        return Item(id, _READERS[form](value, file))
    except Unusable as error:
        return Skip(id, str(error), was_read=str(error) in _READ)


def _image(value: Any, file: File) -> bytes:
    if not isinstance(value, bytes):
        raise Unusable("missing value")
    if not value:
        raise Unusable("empty file")
    if content_of(value[:HEAD_BYTES]) == "text" and holds_image(value[: 2 * HEAD_BYTES].decode("latin-1")):
        value = decoded_image(value.decode("latin-1"))
    if len(value) > MAX_ITEM_BYTES:
        raise Unusable("too large")
    return value


def _image_or_path(value: Any, file: File) -> bytes:
    data = value.get("bytes")
    if data is None:
        return _path(value.get("path"), file)
    return _image(data.encode("latin-1", "replace") if isinstance(data, str) else data, file)


def _path(value: Any, file: File) -> bytes:
    """The image in the file that a table cell names, else the image that the cell encodes as text."""
    if isinstance(value, dict):
        return _image_or_path(value, file)
    text = _string(value)
    if not text:
        raise Unusable("missing value")
    if is_data_uri(text) or len(text) > _MAX_PATH:
        return _image(decoded_image(text), file)
    if is_web_address(text) and not holds_image(text):  # "//" can start a web address or base64
        raise Unusable(WEB_ADDRESS)
    try:
        return _image(file.beside(text).read(), file)
    except Unusable:
        if not holds_image(text):
            raise
    return _image(decoded_image(text), file)


def _base64(value: Any, file: File) -> bytes:
    """The image of a cell in a base64 column; if the cell names no file either, the error says why decoding failed."""
    try:
        return _path(value, file)
    except Unusable as error:
        if str(error) not in ("missing file", "not a regular file", "path leaves the source"):
            raise
    return _image(decoded_image(_string(value)), file)


def _string(value: Any) -> str:
    """The text of a table cell; raises `Unusable` if the value is not a text or not UTF-8."""
    try:
        text = value.decode() if isinstance(value, bytes) else value
        if not isinstance(text, str):
            raise Unusable("missing value" if text is None else "not a text")
        text.encode()
    except UnicodeError:
        raise Unusable("not UTF-8 text") from None
    return text


def _text(value: Any, file: File) -> str:
    text = _string(value)
    if not text or text.isspace():
        raise Unusable("empty text")
    return text


def _vector(value: Any, file: File) -> np.ndarray:
    if value is None:
        raise Unusable("missing value")
    is_numbers = isinstance(value, list) and all(type(number) in (int, float) for number in value)
    if not (is_numbers or isinstance(value, np.ndarray)) or len(value) == 0:
        raise Unusable("not a vector of numbers")
    try:
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # values beyond float32 become infinite, and the item is then skipped
            vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise Unusable("not a vector of numbers") from None
    if not np.isfinite(vector).all():
        raise Unusable("not finite")
    return vector


_READERS: dict[Form, Callable[[Any, File], bytes | str | np.ndarray]] = {
    "bytes": _image,
    "struct": _image_or_path,
    "path": _path,
    "base64": _base64,
    "text": _text,
    "vector": _vector,
}
