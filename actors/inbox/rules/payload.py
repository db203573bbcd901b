"""What the payload of an entry may be: a value that every client can be told."""

from __future__ import annotations

from typing import Any

import msgspec


class NoPayload(ValueError):  # noqa: N818 - said of a value
    """A value cannot be the payload of an entry. One line, for whoever wrote the service."""


def encoded(value: Any, most_bytes: int) -> bytes:
    """A payload as it is stored: msgpack.

    Raises NoPayload: it is longer than `most_bytes`, or has no encoding in msgpack or JSON.
    """
    try:
        payload = msgspec.msgpack.encode(value)
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise NoPayload(f"it has no encoding: {error}") from None
    if len(payload) > most_bytes:
        raise NoPayload(f"{len(payload)} bytes; at most {most_bytes}")
    return payload


def decoded(payload: bytes) -> Any:
    """And back. None for what no client could be told, whoever has written it: one entry must not
    keep a user from all others.
    """
    try:
        value = msgspec.msgpack.decode(payload)
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return value
