"""What sessions say to matches and their directory, what these two say to one another, and a match
to itself.

A match's messages to itself bear its epoch. A message that crashes an actor twice is quarantined,
and a game that cannot tick must not end as a match that silently stands still.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.edge.identity import Identity
from actors.edge.topic_messages import Join, TopicMessage
from actors.matches.rules.record import Place
from actors.runtime.future import Future

DIRECTORY = ("directory", "matches")
"""(kind, key) of the directory of matches."""


class Input(TopicMessage, frozen=True, gc=False):
    """To a match: a player's input, stamped by its client. Answered with `InputTaken`."""

    seq: int
    input: Any


class Repeat(TopicMessage, frozen=True, gc=False):
    """To a match that the session is not in (any more): an input, for the case that it was taken
    once and only its answer is wanted. It never acts. Answered with `InputTaken`.
    """

    seq: int
    input: Any


class Create(msgspec.Struct, frozen=True, gc=False):
    """To the directory: start a match for this user. Answered with `MatchCreated`."""

    who: Identity
    game: str
    params: dict[str, Any]
    key: str | None = None


class List(msgspec.Struct, frozen=True, gc=False):
    """To the directory: running matches. Answered with `Matches`."""

    game: str | None
    limit: int


def match_topic(match: str) -> str:
    """The topic of a match, as positions name it on the wire."""
    return f"match:{match}"


class StartMatch(msgspec.Struct, frozen=True, gc=False):
    """From the directory to a match: come into being, if your game accepts these params, and say
    how you stand. Answered with `MatchReport` once that is durable, also by a match that was there.
    """

    game: str
    params: dict[str, Any]
    seed: int
    at: int
    """When it was created, in milliseconds since 1970, UTC."""


class RollCall(msgspec.Struct, frozen=True, gc=False):
    """The directory to a match that it lists: be there, and say how you stand. Not answered; the
    match tells a `MatchReport`.
    """


class Disown(msgspec.Struct, frozen=True, gc=False):
    """The directory to a match: if you are there, end; nobody was told your name."""


class MatchReport(msgspec.Struct, frozen=True, gc=False):
    """A match to the directory: how it stands. `ended`: why it is over, or None."""

    match: str
    players: int
    ended: str | None = None


class Arrived(msgspec.Struct, frozen=True):
    """A match to itself: the commit that a join waited for is done. `place`: the one that it took,
    for the player may have left it meanwhile, and have taken another. `answer`: the join's.
    """

    join: Join
    place: Place
    answer: Future[Any]


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Timer: a tick may be due."""

    epoch: int


class AwayTooLong(msgspec.Struct, frozen=True, gc=False):
    """Timer: the player's session ended a while ago; the place is given up."""

    epoch: int
    player: str


class Abandoned(msgspec.Struct, frozen=True, gc=False):
    """Timer: nobody has been connected for too long."""

    epoch: int


class Settle(msgspec.Struct, frozen=True, gc=False):
    """Timer: the store was full; try again to log what the game said, and the end."""

    epoch: int


class Unsound(msgspec.Struct, frozen=True, gc=False):
    """The game could not be put into a snapshot."""

    epoch: int
    error: str


class Over(msgspec.Struct, frozen=True, gc=False):
    """The end is durable."""


class Rest(msgspec.Struct, frozen=True, gc=False):
    """Timer: nobody has asked an ended match for a while."""
