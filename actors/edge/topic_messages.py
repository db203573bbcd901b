"""The messages between a session and the owner of a topic, whatever service owns the topic.

They can be encoded, since an owner may be on another node. Replies are the `data` of the
wire (protocol/messages), so that a session passes them on unchanged. A refusal is a `Refused`
(actors/edge/failures.py), which carries its row of the table of errors.
"""

from __future__ import annotations

import enum
import math
from typing import ClassVar

import msgspec

from actors.edge.identity import Identity
from actors.runtime.deadline import Deadline


class TopicMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of a session to a topic's actor, the room or the match that owns the topic."""

    loads: ClassVar[bool] = False
    """Whether a session may send it to an actor that it has nothing to do with yet. If the actor
    has to be loaded for it, the session is charged (`Activations`)."""

    who: Identity
    """The session that asks. The owner watches its actor, and removes the member when it ends."""


class Join(TopicMessage, frozen=True, gc=False):
    """Become a member and be subscribed. Answered with `RoomState` or `MatchState`.

    `connection` is the session's connection at the time it asked. If another connection has taken
    over since, the owner must not subscribe it, because its client knows nothing of this join.
    """

    loads: ClassVar[bool] = True

    connection: int
    until: Deadline = math.inf
    """When the client is told that the join failed, in seconds on the system's clock. From then on
    the owner must not act: the client would get pushes on a topic that it believes it is not in.
    """
    room_bytes: int = 0
    """For how many bytes of the answer the connection has room, as far as the session knows. An
    owner on the session's node looks for itself.
    """


class Leave(TopicMessage, frozen=True, gc=False):
    """The user leaves: a match with all sessions of the user, a room with this session alone.

    Answered with None, also when the session was no member. A match answers once the leave is
    durable.
    """


class Part(TopicMessage, frozen=True, gc=False):
    """This session is out, whether it was a member or was joining. Answered like a leave.

    A session sends it by itself, and repeats it until it is answered. Other sessions of the user
    stay, because a late `Part` must not remove a session that joined in the meantime.

    `keep_place`: a match keeps the user's place for a while, as after the end of a session. False:
    the user loses the place with the last session in the match.
    """

    keep_place: bool


class Resume(TopicMessage, frozen=True, gc=False):
    """Become a member and be told what was missed since (`epoch`, `offset`).

    The owner subscribes the session and pushes `room.recovered` or `match.recovered` in one step,
    so that the order on the topic is right. Answered with `Resumed`.
    """

    loads: ClassVar[bool] = True

    connection: int
    epoch: int
    offset: int
    until: Deadline = math.inf
    """As for a join."""
    attempt: int = 0
    """Which attempt of the session this is (`Topics.begin_resume`). An owner on another node gives
    it back with its pushes.
    """


class Resumed(enum.Enum):
    """The answer to a resume that was not refused."""

    MEMBER = "member"
    """The session is a member, and what it missed was pushed."""
    LATER = "later"
    """The session is a member. What it missed has no room in its outbox now, so it gets nothing of
    the topic until it sends the resume again.
    """
    OVER = "over"
    """The match has ended. The end was pushed, and the session is not a member."""


class PutOff(msgspec.Struct, frozen=True, gc=False):
    """Of the hub to a session: what the owner pushed after a resume had no room in the outbox.

    As for `Resumed.LATER`, the session is a member and gets nothing of the topic until it resumes
    from that position again. `connection`: the one that had no room.
    """

    topic: str
    connection: int
    epoch: int
    offset: int


class ComeBack(msgspec.Struct, frozen=True, gc=False):
    """To an actor that another incarnation, on another node, has taken the log from: start again.

    The actor is the owner of a topic that has members on this node. Its handler does nothing, since
    any message starts an actor that is not in memory.
    """


class RemovedFromTopic(msgspec.Struct, frozen=True, gc=False):
    """To a session: the owner has ended its membership in this topic.

    The client has been told on the topic, by `match.ended` or `topic.lost`.
    """

    topic: str
