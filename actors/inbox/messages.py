"""What is said to a user's inbox beside what is said to any topic."""

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
    """Something was put into the inbox: there are entries up to this offset."""

    offset: int


class Forget(msgspec.Struct, frozen=True, gc=False):
    """Entries were deleted that are not to be shown any more."""


def user_topic(user: str) -> str:
    """The topic of a user's inbox, as positions name it on the wire."""
    return f"{KIND}:{user}"
