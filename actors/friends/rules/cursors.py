"""Cursors: opaque texts that tell after which user the next page of a list begins.

A cursor is no secret, and one that a client has made up does no harm. It names its list, so that a
cursor of another list is an error instead of a wrong page.
"""

from __future__ import annotations

import base64

import msgspec


class NotOfThisList(ValueError):  # noqa: N818 - what it says
    """A text is no cursor of this list."""


def cursor_after(list_: str, last: str) -> str:
    """Return the cursor of a list for the page after the user `last`."""
    return base64.urlsafe_b64encode(msgspec.json.encode((list_, last))).decode().rstrip("=")


def last_of(list_: str, cursor: str | None) -> str:
    """Return the user after whom the page begins; "": it is the first page.

    Raises NotOfThisList if it is none of this list.
    """
    if cursor is None:
        return ""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        of, last = msgspec.json.decode(data, type=tuple[str, str])
    except ValueError:
        raise NotOfThisList from None
    if of != list_ or "\0" in last:
        raise NotOfThisList
    return last
