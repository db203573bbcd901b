"""Messages to a user's inbox, in addition to those that every topic takes."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.edge.topic_messages import TopicMessage

KIND: Final = "user"
"""The actor `user/<id>` owns the topic `user:<id>`."""


class ReadHistory(TopicMessage, frozen=True, gc=False):
    """Asks for the `limit` entries before the offset `before`. Answered with `InboxPage`."""

    before: int
    limit: int


class MarkRead(TopicMessage, frozen=True, gc=False):
    """Marks entries up to this offset as read. Answered with `InboxMark` once that is durable."""

    offset: int


class Look(msgspec.Struct, frozen=True, gc=False):
    """A hint that the inbox has entries up to this offset; 0: the offset is not known."""

    offset: int


class Forget(msgspec.Struct, frozen=True, gc=False):
    """Tells an inbox that entries were deleted, so that it does not show them from memory."""


def user_topic(user: str) -> str:
    """Return the topic of a user's inbox, as positions on the wire name it."""
    return f"{KIND}:{user}"
