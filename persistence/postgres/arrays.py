"""PostgreSQL's binary arrays of one dimension, as parameters.

The format is that of `array_recv` in PostgreSQL's source: dimensions, whether there are NULLs, the
type of an element, the length, the first index; then each element behind its own length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from psycopg import BaseConnection, pq
from psycopg.adapt import Dumper

from persistence.errors import RowRefused

_BYTEA, _INT8, _TEXT = 17, 20, 25  # types of elements, as `pg_type.oid` numbers them
_BYTEA_ARRAY, _INT8_ARRAY, _TEXT_ARRAY = 1001, 1016, 1009

_head = struct.Struct("!iiIii").pack
_length = struct.Struct("!i").pack


def columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return rows as columns, a list for each. Calls for many rows take them as columns."""
    return [list(column) for column in zip(*rows, strict=True)]


def check_text(*texts: str) -> None:
    """Raise `RowRefused` if PostgreSQL cannot hold one of the texts: it would refuse all rows."""
    joined = "".join(texts)
    if "\0" in joined:
        raise RowRefused("a NUL character cannot be stored")
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        raise RowRefused(str(error)) from None


def of_bytea(values: Sequence[bytes]) -> bytes:
    """Encode an array of BYTEA."""
    return _of_bytes(_BYTEA, values)


def of_text(values: Sequence[str]) -> bytes:
    """Encode an array of TEXT. Raises UnicodeEncodeError for half a surrogate pair."""
    return _of_bytes(_TEXT, [value.encode() for value in values])


def of_int8(values: Sequence[int]) -> bytes:
    """Encode an array of INT8. Raises struct.error for an integer beyond 64 bits."""
    count = len(values)
    flat = [8] * (2 * count)
    flat[1::2] = values
    return _head(1, 0, _INT8, count, 1) + struct.pack("!" + "iq" * count, *flat)


class TextArray(NamedTuple):
    """A parameter of psycopg (`%b` or `%s`) that is an array of TEXT.

    For a plain list psycopg takes three times as long, because it looks at each value first. The
    next two classes are there for the same reason.
    """

    values: Sequence[str]


class Int8Array(NamedTuple):
    """A parameter that is an array of INT8."""

    values: Sequence[int]


class ByteaArray(NamedTuple):
    """A parameter that is an array of BYTEA."""

    values: Sequence[bytes]


class _TextArrayDumper(Dumper):
    oid = _TEXT_ARRAY
    format = pq.Format.BINARY

    def dump(self, obj: TextArray) -> bytes:
        return of_text(obj.values)


class _Int8ArrayDumper(Dumper):
    oid = _INT8_ARRAY
    format = pq.Format.BINARY

    def dump(self, obj: Int8Array) -> bytes:
        return of_int8(obj.values)


class _ByteaArrayDumper(Dumper):
    oid = _BYTEA_ARRAY
    format = pq.Format.BINARY

    def dump(self, obj: ByteaArray) -> bytes:
        return of_bytea(obj.values)


def register(connection: BaseConnection[Any]) -> None:
    """Let a connection's statements take these arrays as parameters."""
    connection.adapters.register_dumper(TextArray, _TextArrayDumper)
    connection.adapters.register_dumper(Int8Array, _Int8ArrayDumper)
    connection.adapters.register_dumper(ByteaArray, _ByteaArrayDumper)


def _of_bytes(element: int, values: Sequence[bytes]) -> bytes:
    parts = [_head(1, 0, element, len(values), 1)]
    for value in values:
        parts.append(_length(len(value)))
        parts.append(value)
    return b"".join(parts)
