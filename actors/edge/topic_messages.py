"""What every session says to the owner of a topic, whatever service the topic is of.

Serializable values, since an owner may be on another node one day. Replies are the `data` of the
wire (protocol/messages), so that a session passes them on as they are. A refusal is a `Refused`
(actors/edge/failures.py), which bears its row of the table of errors.
"""

from __future__ import annotations

import math

import msgspec

from actors.edge.identity import Identity


class TopicMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of a session to a topic's actor, the room or the match that owns the topic."""

    who: Identity
    """Whose session asks; the owner watches its actor, and removes it when it ends."""


class Join(TopicMessage, frozen=True, gc=False):
    """Become a member and be subscribed. Answered with `RoomState` or `MatchState`.

    `connection` is the session's at the time it asked: if another one has taken over since, that
    one must not be subscribed to what its client knows nothing of.
    """

    connection: int
    until: float = math.inf
    """When whoever asked is told that it failed, by the system's clock. From then on the owner must
    not act: the client would get what is pushed on a topic that it knows itself not to be in.
    """


class Leave(TopicMessage, frozen=True, gc=False):
    """The user leaves: a match is left with all sessions of the user, a room with this one.
    Answered with None, for one that was not a member as well, and for a match once it is durable.
    """


class Part(TopicMessage, frozen=True, gc=False):
    """This session is out, whether it was a member or was about to be; other sessions of its user
    stay. What a session says by itself, and again until it is answered: coming late, it must not
    take along a session that came after. Answered like a leave.

    `keep_place`: a match keeps the user's place for a while, as after the end of a session; else
    the place goes with the last session of the user.
    """

    keep_place: bool


class Resume(TopicMessage, frozen=True, gc=False):
    """Become a member and be told what was missed since (`epoch`, `offset`).

    The owner subscribes the session and pushes `room.recovered` or `match.recovered` in one step,
    so that the order on the topic is right. Answered with whether the session is a member now: of
    a match that has ended it is told how that ended, and is none.
    """

    connection: int
    epoch: int
    offset: int
    until: float = math.inf
    """As of a join."""


class ComeBack(msgspec.Struct, frozen=True, gc=False):
    """To the owner of a topic, or the directory, that lost its log to an incarnation elsewhere: be
    there again, for those that it has here. That it was told is enough.
    """


class TopicGone(msgspec.Struct, frozen=True, gc=False):
    """To a session: it is not in this topic any more, which it has not asked for. Its client has
    been told on the topic, by `match.ended` or `topic.lost`.
    """

    topic: str
