"""Messages to matches: from sessions, from their directory, and from a match to itself.

The messages that a match sends itself carry its epoch, so that those of two incarnations are not
equal. Equal messages that crash an actor twice are quarantined. If a tick crashed a game twice, all
further ticks would be held and the match would stand still without an error.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from actors.edge.topic_messages import Join, TopicMessage
from actors.matches.rules.record import PlayerPlace
from actors.runtime.future import Future


class Input(TopicMessage, frozen=True, gc=False):
    """A player's input, for a match. Answered with `InputTaken`."""

    seq: int
    """The client's number of the input, which rises with each."""
    input: Any


class Repeat(TopicMessage, frozen=True, gc=False):
    """An input that may have been taken before, for a match that the session is not in any more.

    It never acts; only the first answer is wanted. Answered with `InputTaken`.
    """

    loads: ClassVar[bool] = True

    seq: int
    input: Any


def match_topic(match: str) -> str:
    """Return the name of a match's topic, as positions have it on the wire."""
    return f"match:{match}"


class StartMatch(msgspec.Struct, frozen=True, gc=False):
    """Asks a match that was entered into the directory to create itself, if its game accepts the
    params.

    Answered with `MatchReport` once the match is durable. A match that exists already answers as
    well.
    """

    game: str
    params: dict[str, Any]
    seed: int
    at: int
    """When it was created, in milliseconds since 1970, UTC."""


class RollCall(msgspec.Struct, frozen=True, gc=False):
    """Asks a match that the directory lists to come to life and report."""


class MatchReport(msgspec.Struct, frozen=True, gc=False):
    """The state of a match. `ended` says why the match is over; None: it is not."""

    match: str
    players: int
    ended: str | None = None


class Arrived(msgspec.Struct, frozen=True):
    """A match tells itself that the commit which a join waited for is done."""

    join: Join
    place: PlayerPlace
    """The place that the join took. The player may have left it and taken another meanwhile."""
    answer: Future[Any]
    """The answer to the join."""


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Timer: a tick may be due."""

    epoch: int


class AwayTooLong(msgspec.Struct, frozen=True, gc=False):
    """Timer: the player's last session ended too long ago, so the place is given up."""

    epoch: int
    player: str


class Abandoned(msgspec.Struct, frozen=True, gc=False):
    """Timer: nobody has been connected for too long."""

    epoch: int


class Settle(msgspec.Struct, frozen=True, gc=False):
    """Timer: try again to log what the store had no room for."""

    epoch: int


class Unsound(msgspec.Struct, frozen=True, gc=False):
    """Timer: the game's state could not be put into a snapshot."""

    epoch: int
    error: str


class Over(msgspec.Struct, frozen=True, gc=False):
    """The end of the match is durable."""


class Rest(msgspec.Struct, frozen=True, gc=False):
    """Timer: leave memory, since the match has ended a while ago or was never created."""
