"""What sessions say to rooms, matches and the directory of matches.

Serializable values, since a room may be on another node one day. Replies are the `data` of the
wire (protocol/messages), so that a session passes them on as they are. A refusal is a `Refused`
(actors/failures.py), which bears its row of the table of errors.
"""

from __future__ import annotations

from typing import Any

import msgspec


class TopicMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of a session to a topic's actor, the room or the match that owns the topic."""

    session: str
    """Key of the session actor that asks; the owner watches it, and removes it when it ends."""


class Join(TopicMessage, frozen=True, gc=False):
    """Become a member and be subscribed. Answered with `RoomState` or `MatchState`.

    `connection` is the session's at the time it asked: if another one has taken over since, that
    one must not be subscribed to what its client knows nothing of.
    """

    connection: int
    user: str
    name: str


class Leave(TopicMessage, frozen=True, gc=False):
    """Leave. Answered with None, by one that was not a member as well."""


class Resume(TopicMessage, frozen=True, gc=False):
    """Become a member and be told what was missed since (`epoch`, `offset`).

    The owner subscribes the session and pushes `room.recovered` or `match.recovered` in one step,
    so that the order on the topic is right. Answered with None.
    """

    connection: int
    user: str
    name: str
    epoch: int
    offset: int


class ComeBack(msgspec.Struct, frozen=True, gc=False):
    """To the owner of a topic that lost its log to an incarnation elsewhere: be there again, for
    the members that it has here. That it was told is enough.
    """


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


class Input(TopicMessage, frozen=True, gc=False):
    """To a match: a player's input, stamped by its client. Answered with `InputTaken`."""

    user: str
    seq: int
    input: Any


class Repeat(TopicMessage, frozen=True, gc=False):
    """To a match that the session is not in (any more): an input, for the case that it was taken
    once and only its answer is wanted. It never acts. Answered with `InputTaken`.
    """

    user: str
    seq: int
    input: Any


class Create(msgspec.Struct, frozen=True, gc=False):
    """To the directory: start a match for this user. Answered with `MatchCreated`."""

    user: str
    game: str
    params: dict[str, Any]
    key: str | None = None


class List(msgspec.Struct, frozen=True, gc=False):
    """To the directory: running matches. Answered with `Matches`."""

    game: str | None
    limit: int


class TopicGone(msgspec.Struct, frozen=True, gc=False):
    """To a session: this topic is no more. The session drops it and tells its client.

    `code` is one of the table of errors; None: the client has been told, as by `match.ended`.
    """

    topic: str
    code: str | None


DIRECTORY = ("directory", "matches")
"""(kind, key) of the directory of matches."""


def room_topic(name: str) -> str:
    """The topic of a room, as positions name it on the wire."""
    return f"room:{name}"


def match_topic(match: str) -> str:
    """The topic of a match, as positions name it on the wire."""
    return f"match:{match}"
