"""Where a list goes on: opaque to clients, and good for the list that it is of alone.

A cursor is no secret, and nothing depends on it but where the next page begins: what may be read
is asked of each object. Its check is there for mistakes, so that one of another list is an error
rather than a page of something else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Final, NamedTuple

import msgspec

_CHECK_BYTES: Final = 6


class Bookmark(NamedTuple):
    """The last object of a page."""

    key: str
    user: str


START: Final = Bookmark("", "")
"""Before all objects."""


class NoCursor(ValueError):  # noqa: N818 - what it says
    """It is none of this list."""


def cursor(list_: tuple[str, ...], bookmark: Bookmark) -> str:
    """The cursor of a list, which is named by what it was asked with."""
    text = json.dumps(bookmark, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_check(list_, text) + text).decode().rstrip("=")


def bookmark(list_: tuple[str, ...], cursor: str) -> Bookmark:
    """And back. Raises NoCursor."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, text = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
        found = Bookmark(*msgspec.json.decode(text, type=tuple[str, str]))
    except ValueError:
        raise NoCursor from None
    if check != _check(list_, text) or "\0" in found.key + found.user:
        raise NoCursor
    return found


def _check(list_: tuple[str, ...], text: bytes) -> bytes:
    name = json.dumps(list_).encode()
    return hashlib.blake2b(name + b"\0" + text, digest_size=_CHECK_BYTES).digest()
