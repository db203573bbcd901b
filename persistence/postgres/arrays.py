"""PostgreSQL's binary arrays of one dimension, as parameters.

The format is that of `array_recv` in PostgreSQL's source: dimensions, whether there are NULLs, the
type of an element, the length, the first index; then each element behind its own length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

_BYTEA, _INT8, _TEXT = 17, 20, 25  # types of elements, as `pg_type.oid` numbers them

_head = struct.Struct("!iiIii").pack
_length = struct.Struct("!i").pack


def columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows turned about: a list for each column, as a call takes that does all of them at once."""
    return [list(column) for column in zip(*rows, strict=True)]


def of_bytea(values: Sequence[bytes]) -> bytes:
    """An array of BYTEA."""
    return _of_bytes(_BYTEA, values)


def of_text(values: Sequence[str]) -> bytes:
    """An array of TEXT. Raises UnicodeEncodeError for half a surrogate pair."""
    return _of_bytes(_TEXT, [value.encode() for value in values])


def of_int8(values: Sequence[int]) -> bytes:
    """An array of INT8. Raises struct.error for an integer beyond 64 bits."""
    count = len(values)
    flat = [8] * (2 * count)
    flat[1::2] = values
    return _head(1, 0, _INT8, count, 1) + struct.pack("!" + "iq" * count, *flat)


def _of_bytes(element: int, values: Sequence[bytes]) -> bytes:
    parts = [_head(1, 0, element, len(values), 1)]
    for value in values:
        parts.append(_length(len(value)))
        parts.append(value)
    return b"".join(parts)
