"""Choose the column of a table that holds the items, by its name and type."""

from typing import Any, NamedTuple

import pyarrow as pa

from indexes.errors import InputError
from indexes.records import Kind
from indexes.sources.cells import IMAGE_NAMES, Column, Form, form_of_texts, likeliest
from indexes.sources.files import Refused, some

__all__ = ["choose_column"]


class _Fitting(NamedTuple):
    """A column that can hold items of the wanted kind."""

    name: str
    form: Form
    is_plain: bool  # the type alone shows it: bytes for images, lists of floats for vectors


def choose_column(schema: Any, kind: Kind, asked: str | None, where: str, rows: int | None) -> Column:
    """The column named by the user, or the only column whose name and type fit.

    Raises `Refused`, with `rows` as its item count, if no column fits, and `InputError` if several columns fit.
    """
    fitting = [column for field in schema if (column := _fitting(field, kind, asked))]
    if asked is None:
        chosen = _suggested(fitting, kind, where)
        wanted, advice = "no column is known to hold", "name it with --column"
    else:
        chosen = next((column for column in fitting if column.name == asked), None)
        wanted, advice = f"no column {asked!r} that can hold", "name another with --column"
    if chosen is None:
        found = some(f"{field.name} ({_short(field.type)})" for field in schema) or "no columns"
        message = f"{where}: {wanted} {kind}s{_EXPECTED[kind]}; found {found}; {advice}"
        raise Refused(message, f"no {kind} column", items=rows)
    if (count := schema.names.count(chosen.name)) > 1:
        raise InputError(f"{where}: {count} columns are named {chosen.name!r}, expected one; rename the others")
    return Column(chosen.name, chosen.form)


_EXPECTED: dict[Kind, str] = {"image": "", "text": "", "vector": " (a vector is one list of numbers)"}


def _suggested(fitting: list[_Fitting], kind: Kind, where: str) -> _Fitting | None:
    for group in _preferences(fitting, kind):
        names = list(dict.fromkeys(column.name for column in group))
        if len(names) > 1:
            found = f"{', '.join(names[:-1])} and {names[-1]}"
            raise InputError(f"{where}: {found} can all hold {kind}s; choose one with --column")
        if group:
            return group[0]
    return None


def _preferences(fitting: list[_Fitting], kind: Kind) -> list[list[_Fitting]]:
    """Groups of columns that may hold the items, likeliest first; if a group has several columns, the user must choose.

    Columns with well-known names come first, then columns that fit by type alone (bytes, lists of floats), then columns
    of file names.
    """
    plain = [column for column in fitting if column.is_plain]
    known = [column for column in fitting if column.name in likeliest([column.name], column.form)]
    if kind == "text":
        names = likeliest([column.name for column in known], "text")
        return [[column for column in known if column.name in names]]
    if kind == "vector":
        return [known, plain]
    images = [column for column in known if not column.is_plain and column.name.lower() in IMAGE_NAMES]
    return [[column for column in known if column.is_plain], [*plain, *images] if plain else [], known]


def _fitting(field: Any, kind: Kind, asked: str | None) -> _Fitting | None:
    cell = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if isinstance(cell, pa.BaseExtensionType):
        cell = cell.storage_type if len(getattr(cell, "shape", ())) <= 1 else pa.null()
    is_bytes = pa.types.is_binary(cell) or pa.types.is_large_binary(cell) or pa.types.is_binary_view(cell)
    is_text = pa.types.is_string(cell) or pa.types.is_large_string(cell) or pa.types.is_string_view(cell)
    if kind == "text":
        is_wanted = is_text or (is_bytes and field.name == asked)
        return _Fitting(field.name, "text", False) if is_wanted else None
    if kind == "vector":
        return _vector(field.name, cell)
    if is_text:
        return _Fitting(field.name, form_of_texts(field.name, ()), False)
    if is_bytes or pa.types.is_fixed_size_binary(cell):
        return _Fitting(field.name, "bytes", is_bytes)
    is_struct = pa.types.is_struct(cell) and cell.get_field_index("bytes") >= 0
    return _Fitting(field.name, "struct", True) if is_struct else None


def _vector(name: str, cell: Any) -> _Fitting | None:
    """A vector column of number lists; lists of integers, often tokens, need a known name or the user's choice."""
    is_a = pa.types
    is_list = is_a.is_list(cell) or is_a.is_large_list(cell) or is_a.is_fixed_size_list(cell)
    if not (is_list or is_a.is_list_view(cell) or is_a.is_large_list_view(cell)):
        return None
    number = cell.value_type
    is_number = is_a.is_floating(number) or is_a.is_integer(number) or is_a.is_decimal(number)
    return _Fitting(name, "vector", is_a.is_floating(number)) if is_number else None


def _short(kind_of_cell: Any) -> str:
    text = str(kind_of_cell)
    return text if len(text) <= 40 else text[:37] + "..."
