"""Messages to a user's inbox, beside those that every topic takes."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.edge.topic_messages import TopicMessage

KIND: Final = "user"
"""The actor `user/<id>` owns the topic `user:<id>`."""


class ReadHistory(TopicMessage, frozen=True, gc=False):
    """The `limit` entries before offset `before`. Answered with `InboxPage`."""

    before: int
    limit: int


class MarkRead(TopicMessage, frozen=True, gc=False):
    """The user has read up to this offset. Answered with `InboxMark` once it is durable."""

    offset: int


class Look(msgspec.Struct, frozen=True, gc=False):
    """A hint: the inbox has entries up to this offset; 0: how many is not known."""

    offset: int


class Forget(msgspec.Struct, frozen=True, gc=False):
    """Entries were deleted, and must not be shown from memory."""


def user_topic(user: str) -> str:
    """Return the topic of a user's inbox, as positions on the wire name it."""
    return f"{KIND}:{user}"
