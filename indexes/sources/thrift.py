"""Read structs of Thrift's compact protocol, the format of Parquet footers and page headers, as dictionaries."""

from typing import Any

__all__ = ["read_struct"]

_MAX_DEPTH = 32
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = 1, 2, 3, 7, 8, 9, 10, 11, 12, 13
_FIXED = {_DOUBLE: 8, _UUID: 16}  # bytes
_INTEGERS = (4, 5, 6)


def read_struct(data: bytes) -> tuple[dict[int, Any], int]:
    """The struct at the start of `data` as values by field number, and its length; doubles and UUIDs stay bytes.

    Raises `ValueError` or `IndexError` on damaged bytes.
    """
    return _struct(data, 0, 0)


def _struct(data: bytes, position: int, depth: int) -> tuple[dict[int, Any], int]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    values: dict[int, Any] = {}
    field = 0
    while head := data[position]:
        position += 1
        if head >> 4:
            field += head >> 4
        else:
            field, position = _integer(data, position)
        kind = head & 15
        if kind in (_TRUE, _FALSE):  # a field of this type has no further bytes
            values[field] = kind == _TRUE
        elif kind in _INTEGERS and (byte := data[position]) < 128:  # true for nearly all integers; saves function calls
            values[field], position = (byte >> 1) ^ -(byte & 1), position + 1
        else:
            values[field], position = _value(data, position, kind, depth)
    return values, position + 1


def _value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _integer(data, position)
    if kind == _BINARY:
        length, position = _varint(data, position)
        return _bytes(data, position, length)
    if kind == _STRUCT:
        return _struct(data, position, depth + 1)
    if kind in (_LIST, _SET):
        return _list(data, position, depth + 1)
    if kind == _MAP:
        return _map(data, position, depth + 1)
    if kind in (_BYTE, _TRUE, _FALSE):
        return data[position], position + 1
    if kind in _FIXED:
        return _bytes(data, position, _FIXED[kind])
    raise ValueError(f"no type {kind}")


def _bytes(data: bytes, position: int, length: int) -> tuple[bytes, int]:
    if position + length > len(data):
        raise IndexError("ends inside a value")
    return data[position : position + length], position + length


def _list(data: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    head = data[position]
    size, position = head >> 4, position + 1
    if size == 15:
        size, position = _varint(data, position)
    values = []
    for _ in range(size):  # each value takes at least one byte, so the data bounds the loop
        value, position = _value(data, position, head & 15, depth)
        values.append(value)
    return values, position


def _map(data: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    size, position = _varint(data, position)
    if size == 0:
        return [], position
    kinds = data[position]
    position += 1
    pairs = []
    for _ in range(size):
        key, position = _value(data, position, kinds >> 4, depth)
        value, position = _value(data, position, kinds & 15, depth)
        pairs.append((key, value))
    return pairs, position


def _integer(data: bytes, position: int) -> tuple[int, int]:
    """A zigzag varint."""
    value, position = _varint(data, position)
    return (value >> 1) ^ -(value & 1), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[position]) & 128:
        value |= (byte & 127) << shift
        shift += 7
        position += 1
        if shift > 63:
            raise ValueError("the number has more than 64 bits")
    return value | byte << shift, position + 1
