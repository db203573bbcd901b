"""Matches: create, list, join, leave, input, and the pushes of a match's topic."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from protocol.errors import (
    BAD_INPUT,
    MATCH_ENDED,
    MATCH_FULL,
    NOT_JOINED,
    OUT_OF_RANGE,
    REJECTED,
    SEQ_TOO_OLD,
    TOO_LONG,
    TOO_MANY_MATCHES,
    TOO_MANY_TOPICS,
    UNKNOWN_GAME,
    UNKNOWN_MATCH,
)
from protocol.messages.envelope import MAX_REF, Ident, Key, Push, Request
from protocol.messages.op import Area, Op
from protocol.roles import PLAYER

MAX_SEQ: Final = MAX_REF
"""The highest seq that a player's input can have."""


class MatchCreate(Request, frozen=True, kw_only=True, tag="match.create", gc=False):
    """Create a match of `game`. The game defines its `params`. Answered with `MatchCreated`."""

    game: Ident
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    key: Key | None = None


class MatchList(Request, frozen=True, kw_only=True, tag="match.list", gc=False):
    """List running matches, of one game or of all, the newest first. Answered with `Matches`."""

    game: Ident | None = None
    limit: Annotated[int, Meta(ge=1)] = 50


class MatchJoin(Request, frozen=True, kw_only=True, tag="match.join", gc=False):
    """Take a place in a match, or come back to the user's place. Answered with `MatchState`."""

    match: Ident


class MatchLeave(Request, frozen=True, kw_only=True, tag="match.leave", gc=False):
    """Give up the user's place, with all sessions. It is no error if the user has none."""

    match: Ident


class MatchInput(Request, frozen=True, kw_only=True, tag="match.input", gc=False):
    """A player's input. Answered with `InputTaken`.

    `seq` is the client's number of the input, which only grows. The same input with the same seq
    gets the same answer as the first time and does not act again.
    """

    match: Ident
    seq: Annotated[int, Meta(ge=1, le=MAX_SEQ)]
    input: Any


class MatchSummary(msgspec.Struct, frozen=True, gc=False):
    """A line of the list of matches. `created` is in milliseconds since 1970, UTC."""

    match: str
    game: str
    players: int
    max_players: int
    created: int


class MatchCreated(msgspec.Struct, frozen=True, gc=False):
    """The match was created, and can be joined."""

    match: str


class Matches(msgspec.Struct, frozen=True, gc=False):
    """Running matches, the newest first."""

    matches: list[MatchSummary]


class MatchState(msgspec.Struct, frozen=True, gc=False):
    """The state of a match, as this player sees it."""

    match: str
    game: str
    epoch: int
    offset: int
    tick: int
    tick_hz: float
    """Ticks a second; 0 for a game in turns, whose state is pushed after each input, join and
    leave."""
    players: list[str]
    state: Any
    names: dict[str, str] = msgspec.field(default_factory=dict)
    """The name to show for each player, in the order in which they joined."""
    acks: dict[str, int] = msgspec.field(default_factory=dict)
    """The highest `seq` that each player has used. A player's next input must have a higher one."""


class InputTaken(msgspec.Struct, frozen=True, gc=False):
    """The input was taken, and acts at `tick`.

    `durable` true: no crash can take it back. False: it is in the running state, which a crash may
    set back to the last snapshot.
    """

    tick: int
    durable: bool


class MatchStatePush(Push, frozen=True, kw_only=True, tag="match.state", gc=False):
    """The state after `tick`.

    It is volatile and conflated: a slow client gets the newest state only.

    `acks` has the highest `seq` of each player that was answered. The state contains what was
    taken.
    """

    match: str
    offset: int
    tick: int
    state: Any
    acks: dict[str, int]


class MatchEvent(Push, frozen=True, kw_only=True, tag="match.event", gc=False):
    """Something happened in the match.

    `kind` is `joined` or `left`, with the `player`, or a word of the game's own, with `data` of its
    own.
    """

    match: str
    offset: int
    kind: str
    player: str | None = None
    data: Any = None


class MatchEnded(Push, frozen=True, kw_only=True, tag="match.ended", gc=False):
    """The match is over. `result` is the game's. `failed` says that the match could not go on."""

    match: str
    offset: int
    result: Any
    failed: bool = False


class MatchRecovered(Push, frozen=True, kw_only=True, tag="match.recovered", gc=False):
    """The state of the match after a resume, as this player sees it.

    If `recovered` is true, `events` has every event that was missed. If it is false, some of them
    are not known any more; the state is true in both cases.
    """

    match: str
    recovered: bool
    epoch: int
    offset: int
    tick: int
    players: list[str]
    state: Any
    events: list[MatchEvent]
    names: dict[str, str] = msgspec.field(default_factory=dict)
    acks: dict[str, int] = msgspec.field(default_factory=dict)


class MatchRestarted(Push, frozen=True, kw_only=True, tag="match.restarted", gc=False):
    """The match crashed and goes on from its last snapshot. Its players keep their places."""

    match: str
    epoch: int
    offset: int
    tick: int
    state: Any


AREA: Final = Area(
    ops=(
        Op(
            request=MatchCreate,
            role=PLAYER,
            answer=MatchCreated,
            errors=(UNKNOWN_GAME, TOO_MANY_MATCHES, TOO_LONG, BAD_INPUT, REJECTED),
            repeat="by key",
            sheddable=True,
            cost=5,
        ),
        Op(
            request=MatchList,
            role=PLAYER,
            answer=Matches,
            errors=(OUT_OF_RANGE,),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
        Op(
            request=MatchJoin,
            role=PLAYER,
            live=True,
            answer=MatchState,
            errors=(UNKNOWN_MATCH, MATCH_FULL, MATCH_ENDED, REJECTED, TOO_MANY_TOPICS, NOT_JOINED),
            repeat="harmless",
            cost=2,
        ),
        Op(request=MatchLeave, role=PLAYER, live=True, repeat="harmless"),
        Op(
            request=MatchInput,
            role=PLAYER,
            live=True,
            answer=InputTaken,
            errors=(NOT_JOINED, BAD_INPUT, REJECTED, SEQ_TOO_OLD, MATCH_ENDED),
            repeat="harmless",  # it is known by its `seq`
            sheddable=True,
        ),
    ),
    pushes=(MatchStatePush, MatchEvent, MatchEnded, MatchRecovered, MatchRestarted),
)
