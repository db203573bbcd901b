"""Cursors: opaque texts that tell where the next page of a list begins.

A cursor is no secret. It only says where the next page begins; whether a client may read an object
is decided for each object. A cursor has a check sum against mistakes, so that a cursor of another
list is an error instead of a wrong page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Final, NamedTuple

import msgspec

_CHECK_BYTES: Final = 6


class Bookmark(NamedTuple):
    """The last object of a page, after which the next page begins."""

    key: str
    user: str


START: Final = Bookmark("", "")
"""The bookmark before all objects."""


class NoCursor(ValueError):  # noqa: N818 - what it says
    """A text is no cursor of this list."""


def cursor(list_: tuple[str, ...], bookmark: Bookmark) -> str:
    """Return the cursor for a bookmark.

    `list_` has the parts of the request that define the list.
    """
    text = json.dumps(bookmark, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(check_of(list_, text) + text).decode().rstrip("=")


def bookmark(list_: tuple[str, ...], cursor: str) -> Bookmark:
    """Return the bookmark of a cursor. Raises NoCursor if it is none of this list."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, text = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
        found = Bookmark(*msgspec.json.decode(text, type=tuple[str, str]))
    except ValueError:
        raise NoCursor from None
    if check != check_of(list_, text) or "\0" in found.key + found.user:
        raise NoCursor
    return found


def check_of(list_: tuple[str, ...], text: bytes) -> bytes:
    """Return the bytes by which a cursor is known to be of this list, and whole. No secret."""
    name = json.dumps(list_).encode()
    return hashlib.blake2b(name + b"\0" + text, digest_size=_CHECK_BYTES).digest()
