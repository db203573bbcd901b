"""What sessions say to rooms beside what they say to any topic."""

from __future__ import annotations

from actors.edge.topic_messages import TopicMessage


class Post(TopicMessage, frozen=True, gc=False):
    """To a room: say this. Answered with `Sent` once it is durable."""

    body: str
    key: str | None = None


class ReadHistory(TopicMessage, frozen=True, gc=False):
    """To a room: the `limit` messages before offset `before`. Answered with `History`."""

    before: int
    limit: int


class ListMembers(TopicMessage, frozen=True, gc=False):
    """To a room: who is there. Answered with `Members`."""


def room_topic(name: str) -> str:
    """The topic of a room, as positions name it on the wire."""
    return f"room:{name}"
