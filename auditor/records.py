"""Conversion of frozen dataclasses to JSON documents and back, and JSON Schemas generated from their types."""

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError, WithJsonSchema

from indexes.errors import ArtifactError

__all__ = ["Limit", "Number", "read_record", "record_document", "record_schema"]


_Record = TypeVar("_Record")


def _reader(missing: float) -> Callable[[Any], Any]:
    return lambda value: missing if value is None else value


def _writer(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


_NUMBER_OR_NULL = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})
Number = Annotated[float, BeforeValidator(_reader(math.nan)), PlainSerializer(_writer), _NUMBER_OR_NULL]
"""A number, nan where it could not be measured; JSON writes null for nan."""
Limit = Annotated[float, BeforeValidator(_reader(math.inf)), PlainSerializer(_writer), _NUMBER_OR_NULL]
"""A threshold, infinite where it is switched off; JSON writes null for infinity."""


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}  # by type: making one takes milliseconds


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def record_document(record: Any) -> dict[str, Any]:
    """JSON document of a frozen dataclass with all of its fields; missing numbers become null."""
    return cast(dict[str, Any], _adapter(type(record)).dump_python(record, mode="json"))


def read_record(kind: type[_Record], document: Any, *, where: str) -> _Record:
    """Read a JSON document from `record_document`; raises ArtifactError with `where` and the fault if it is invalid."""
    try:
        return _adapter(kind).validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise ArtifactError(f"{where} does not have the format of this version ({place}: {first['msg']})") from None


def record_schema(kind: type[Any], *, name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a record's documents: all fields are required, and no others are allowed."""
    schema = _adapter(kind).json_schema(mode="serialization")
    for described in (schema, *schema.get("$defs", {}).values()):
        if "properties" in described:
            described["required"] = list(described["properties"])
            described["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, **schema}
