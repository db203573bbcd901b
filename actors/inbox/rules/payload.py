"""Encodes and decodes the payloads of entries, so that every client can read them."""

from __future__ import annotations

from typing import Any

import msgspec


class NoPayload(ValueError):  # noqa: N818 - said of a value
    """A value cannot be the payload of an entry. The text is one line, for the service's author."""


def encoded(value: Any, most_bytes: int) -> bytes:
    """Return a payload in msgpack, as it is stored.

    Raises NoPayload if it is longer than `most_bytes`, or cannot be encoded in msgpack and JSON.
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
    """Return the value of a stored payload, or None if it could not be sent to every client.

    Such a payload can only come from other writers. It must not keep the user from all other
    entries.
    """
    try:
        value = msgspec.msgpack.decode(payload)
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return value
