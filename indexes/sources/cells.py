"""One cell of a table as an item: which column is meant, and what its values are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip, Unusable
from indexes.sources.files import DAMAGE, MAX_ITEM_BYTES, File, Refused, damage_reason, digest, record_parts

__all__ = ["NAMES", "Column", "TableShard", "choose_column", "value_record"]

Form = Literal["bytes", "struct", "path", "text", "vector"]  # struct: {bytes, path}, as Hugging Face stores images

_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes")
NAMES: dict[Form, tuple[str, ...]] = {  # what people call the column or key that is meant
    "bytes": _IMAGE_NAMES,
    "struct": _IMAGE_NAMES,
    "path": ("path", "image_path", "file_name", "file", *_IMAGE_NAMES),
    "text": ("text", "caption"),
    "vector": ("embedding", "emb", "vector", "features"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """The column that is read and how its cells become items."""

    name: str
    form: Form


@dataclass(frozen=True, slots=True)
class TableShard:
    """Consecutive row groups of a Parquet file, or a whole Arrow file."""

    file: File
    name: str
    column: Column
    batches: Callable[[File, str, tuple[int, ...]], Iterator[Any]]  # a module's function, so that it can be pickled
    groups: tuple[int, ...] = ()
    first_row: int = 0

    def identity(self) -> str:
        """Digest of the cells and of the files they name."""
        return digest(["table", self.column.name, self.column.form], record_parts(self.read(), self.file))

    def read(self) -> Iterator[Item | Skip]:
        """One record a row, by its row number in the file."""
        row = self.first_row
        try:
            for batch in self.batches(self.file, self.column.name, self.groups):
                for cell in batch.column(self.column.name):
                    yield _cell_record(f"{self.file.name}#{row}", cell, self.column.form, self.file)
                    row += 1
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error))


def choose_column(schema: Any, kind: Kind, asked: str | None, where: str) -> Column:
    """The column asked for, or the only one that its name and type suggest.

    Raises `Refused` when no column holds the kind and `InputError` when several could be meant.
    """
    fitting = {field.name: form for field in schema if (form := _form(field.type, kind))}
    found = "found " + ", ".join(f"{field.name} ({_short(field.type)})" for field in schema)
    if asked is not None:
        if asked not in fitting:
            message = f"{where}: no column {asked!r} that can hold {kind}s; {found}; name another with --column"
            raise Refused(message, f"no {kind} column")
        return Column(asked, fitting[asked])
    for names in _preferences(fitting, kind):
        if len(names) > 1:
            raise InputError(f"{where}: {' and '.join(names)} can all hold {kind}s; choose one with --column")
        if names:
            return Column(names[0], fitting[names[0]])
    message = f"{where}: no column is known to hold {kind}s; {found}; name it with --column"
    raise Refused(message, f"no {kind} column")


def _preferences(fitting: dict[str, Form], kind: Kind) -> Iterator[list[str]]:
    """Groups of names, the likeliest first: well-known names, then for bytes and vectors the type alone, then paths."""
    if kind == "text":
        yield from ([name for name in fitting if name.lower() == known] for known in NAMES["text"])
        return
    by_type = [name for name, form in fitting.items() if form != "path"]
    yield [name for name in by_type if name.lower() in NAMES[fitting[name]]]
    yield by_type
    yield [name for name, form in fitting.items() if form == "path" and name.lower() in NAMES["path"]]


def _form(kind_of_cell: Any, kind: Kind) -> Form | None:
    is_a = pa.types
    cell = kind_of_cell.value_type if is_a.is_dictionary(kind_of_cell) else kind_of_cell
    is_string = is_a.is_string(cell) or is_a.is_large_string(cell) or is_a.is_string_view(cell)
    if kind == "text":
        return "text" if is_string else None
    if kind == "vector":
        is_list = is_a.is_list(cell) or is_a.is_large_list(cell) or is_a.is_fixed_size_list(cell)
        return "vector" if is_list and is_a.is_floating(cell.value_type) else None
    if is_a.is_struct(cell):
        return "struct" if cell.get_field_index("bytes") >= 0 else None
    if is_a.is_binary(cell) or is_a.is_large_binary(cell) or is_a.is_binary_view(cell):
        return "bytes"
    return "path" if is_string else None


def _short(kind_of_cell: Any) -> str:
    text = str(kind_of_cell)
    return text if len(text) <= 40 else text[:37] + "..."


def _cell_record(id: str, cell: Any, form: Form, file: File) -> Item | Skip:
    if not cell.is_valid:
        return Skip(id, "missing value")
    try:
        value = cell.values.to_numpy(zero_copy_only=False) if form == "vector" else cell.as_py()
    except UnicodeDecodeError:
        return Skip(id, "not UTF-8 text")
    return value_record(id, value, form, file)


def value_record(id: str, value: Any, form: Form, file: File) -> Item | Skip:
    """A plain Python or numpy value as an item; paths are followed inside the folder of `file` only."""
    try:
        return Item(id, _READERS[form](value, file))
    except Unusable as error:
        return Skip(id, str(error))


def _image(value: Any, file: File) -> bytes:
    if not isinstance(value, bytes):
        raise Unusable("missing value")
    if not value:
        raise Unusable("empty file")
    if len(value) > MAX_ITEM_BYTES:
        raise Unusable("too large")
    return value


def _image_or_path(value: Any, file: File) -> bytes:
    return _path(value.get("path"), file) if value["bytes"] is None else _image(value["bytes"], file)


def _path(value: Any, file: File) -> bytes:
    if not isinstance(value, str) or not value:
        raise Unusable("missing value")
    return _image(file.beside(value).read(), file)


def _text(value: Any, file: File) -> str:
    if not isinstance(value, str):
        raise Unusable("missing value")
    if not value.strip():
        raise Unusable("empty text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unusable("not UTF-8 text") from None
    return value


def _vector(value: Any, file: File) -> np.ndarray:
    if value is None:
        raise Unusable("missing value")
    is_numbers = isinstance(value, list) and all(type(number) in (int, float) for number in value)
    if not (is_numbers or isinstance(value, np.ndarray)) or len(value) == 0:
        raise Unusable("not a vector of numbers")
    try:
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # what float32 cannot hold becomes infinite, and is skipped as such
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
    "text": _text,
    "vector": _vector,
}
