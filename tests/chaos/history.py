"""What the clients of a chaos run record: every call, every answer, every push.

The checker sees these records and, afterwards, the event log, but nothing of the server's inside.
Times are seconds on one monotonic clock, that of the process that runs the clients.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["ok", "error", "none"]
"""`none`: no answer came, because the connection or the server died first."""


class Send(msgspec.Struct, frozen=True):
    """One attempt at a chat send. All attempts of one command, and no others, have its `body`."""

    client: str
    user: str
    room: str
    body: str
    key: str | None
    called_at: float
    answered_at: float
    outcome: Outcome
    offset: int = 0
    """Where the answer said the message stands; 0 without an `ok`."""
    code: str = ""
    retry: bool = False


class Saw(msgspec.Struct, frozen=True, tag="saw"):
    """A client was pushed a room's message. A `room` that is `user:<id>` is the user's inbox."""

    client: str
    room: str
    offset: int
    body: str


class Placed(msgspec.Struct, frozen=True, tag="placed"):
    """A client was told the position of a room: by a join, a recovery, or a restart of the room.

    A join and a recovery with `recovered` false start the client's stream anew, with `messages`
    as the state to start from. With `recovered` true `messages` are what it had missed. A restart
    has none, and may set the stream back to an `offset` before some that the client saw. A topic
    that is lost ends the stream: what the client saw of it, it can no longer rely on.
    """

    client: str
    room: str
    how: Literal["joined", "recovered", "reset", "restarted", "lost"]
    epoch: int
    offset: int
    messages: tuple[tuple[int, str], ...] = ()
    """(offset, body), oldest first."""


class State(msgspec.Struct, frozen=True):
    """A match's state as one client was pushed it: `tick` counts those that made this state, and
    `digest` stands for the rest of it.
    """

    client: str
    match: str
    tick: int
    digest: str
    at: float
    after_restart: bool = False
    """Whether it is the first state after a restart of the match, or after the client resumed."""


class Input(msgspec.Struct, frozen=True):
    """A durable input to a match, sent for the first time or again, and what was answered."""

    client: str
    user: str
    match: str
    seq: int
    outcome: Outcome
    tick: int = 0
    """The tick at which the answer said it acts; 0 without an `ok`."""
    code: str = ""


class Made(msgspec.Struct, frozen=True):
    """A match that was created with a key, for the first time or again, and was answered `ok`."""

    client: str
    user: str
    key: str
    match: str


class Write(msgspec.Struct, frozen=True):
    """A write of a client's own object, based on the version that the last answer gave."""

    client: str
    user: str
    step: int
    """The value of the object: the number of steps, with this one."""
    key: str
    called_at: float
    answered_at: float
    outcome: Outcome
    version: int = 0
    """The version that the answer gave; 0 without an `ok`."""
    code: str = ""


class Kept(msgspec.Struct, frozen=True):
    """A client's object, read from PostgreSQL when all is over."""

    user: str
    step: int
    version: int


class Mingled(msgspec.Struct, frozen=True):
    """What a user did with another one, and whether it was done or refused."""

    client: str
    user: str
    other: str
    op: str
    called_at: float
    answered_at: float
    outcome: Outcome


class TieRow(msgspec.Struct, frozen=True):
    """How a user stands to another one, read from PostgreSQL when all is over.

    `state`: friend, requested, asked or blocked.
    """

    user: str
    other: str
    state: str


class Told(msgspec.Struct, frozen=True):
    """A note was to be put into the inbox of `user`, and what was answered."""

    client: str
    user: str
    note: int
    outcome: Outcome


class Row(msgspec.Struct, frozen=True):
    """One event in the log, or one entry of an inbox, read from PostgreSQL when all is over."""

    kind: str
    key: str
    seq: int
    epoch: int
    user: str = ""
    body: str = ""
    """A message's body, an input's `seq`, or an entry's note, as text."""
    idempotency_key: str | None = None


class History(msgspec.Struct):
    """A whole run: streams are in the order in which each client received them."""

    sends: list[Send] = []
    stream: list[Saw | Placed] = []
    states: list[State] = []
    inputs: list[Input] = []
    made: list[Made] = []
    log: list[Row] = []
    writes: list[Write] = []
    kept: list[Kept] = []
    told: list[Told] = []
    mingled: list[Mingled] = []
    ties: list[TieRow] = []
    undecided: set[tuple[str, str]] = set()
    """Pairs of users of whom the first did something that was never answered."""
    tick_hz: dict[str, float] = {}
    snapshot_interval_s: float = 1.0
    unwritten: list[tuple[float, float]] = []
    """The spans, each with start and end, in which no snapshot of a match could be written: Valkey
    was away, or PostgreSQL, which takes an event before Valkey gets the snapshot with it.
    """
    servers_ended: list[float] = []
    """When a server was ended, or frozen for another to take its place."""
