"""Messages of sessions to rooms, beside those that every topic takes."""

from __future__ import annotations

from actors.edge.topic_messages import TopicMessage


class Post(TopicMessage, frozen=True, gc=False):
    """To a room: add a message to the log. Answered with `Sent` once it is durable.

    `key`: the client's idempotency key.
    """

    body: str
    key: str | None = None


class ReadRoomHistory(TopicMessage, frozen=True, gc=False):
    """To a room: the `limit` messages before offset `before`. Answered with `History`."""

    before: int
    limit: int


class ListMembers(TopicMessage, frozen=True, gc=False):
    """To a room: list the members. Answered with `Members`."""


def room_topic(name: str) -> str:
    """Return the topic of a room, as positions on the wire name it."""
    return f"room:{name}"
