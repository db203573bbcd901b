"""Actors of kinds that are placed in a cluster, and what they are told."""

from __future__ import annotations

import enum
import math
from typing import Any, ClassVar, NamedTuple

import msgspec
import trio

import actors
from actors import Future, MailboxSpec, Terminated
from actors.runtime.deadline import Deadline


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Add(msgspec.Struct, frozen=True):
    amount: int


class Get(msgspec.Struct, frozen=True):
    pass


class Log(msgspec.Struct, frozen=True):
    """A question, answered with all that was added, in order."""


class Everything(msgspec.Struct, frozen=True):
    """A message with every type that can cross. The answer is the same message."""

    colour: Colour
    roles: frozenset[str]
    forever: float
    raw: bytes
    ref: actors.ActorRef
    plain: Any
    pair: Pair
    until: Deadline = math.inf


class Pair(NamedTuple):
    one: int
    two: str | None


class Remaining(msgspec.Struct, frozen=True):
    """Answered with how many seconds are left."""

    until: Deadline


class Nap(msgspec.Struct, frozen=True):
    seconds: float


class Later(msgspec.Struct, frozen=True):
    """A question, answered by a future that another message sets."""


class SetLater(msgspec.Struct, frozen=True):
    """Set the future of a `Later`."""


class Crash(msgspec.Struct, frozen=True):
    why: str = "crash"


class Refuse(msgspec.Struct, frozen=True):
    pass


class Leave(msgspec.Struct, frozen=True):
    """Stop by itself."""


class Big(msgspec.Struct, frozen=True):
    """A question, answered with so many bytes."""

    size: int
    padding: bytes = b""


class WatchIt(msgspec.Struct, frozen=True):
    ref: actors.ActorRef
    stop: bool = False


class Tick(msgspec.Struct, frozen=True):
    done: Future[int]


class Crashed(Exception):  # noqa: N818 -- what happened
    """What a Crash raises."""


class No(actors.Refusal):
    """The refusal that answers a Refuse."""


class Tally(actors.Actor):
    """Adds up, and keeps what it was told."""

    mailbox = MailboxSpec(capacity=100_000)

    def __init__(self, key: str = "") -> None:
        super().__init__()
        self.key = key
        self.taken: list[int] = []
        self.later: list[Future[int]] = []

    @actors.handles(Add)
    def add(self, message: Add) -> int:
        self.taken.append(message.amount)
        return sum(self.taken)

    @actors.handles(Get)
    def get(self, message: Get) -> int:
        return sum(self.taken)

    @actors.handles(Log)
    def get_log(self, message: Log) -> list[int]:
        return self.taken

    @actors.handles(Everything)
    def everything(self, message: Everything) -> Everything:
        return message

    @actors.handles(Remaining)
    def remaining(self, message: Remaining) -> float:
        return message.until - self.system.now()

    @actors.handles(Nap)
    async def nap(self, message: Nap) -> str:
        await trio.sleep(message.seconds)
        return "awake"

    @actors.handles(Later)
    def answer_later(self, message: Later) -> Future[int]:
        future: Future[int] = Future()
        self.later.append(future)
        return future

    @actors.handles(SetLater)
    def set_later(self, message: SetLater) -> None:
        self.later.pop().set(7)

    @actors.handles(Crash)
    def crash(self, message: Crash) -> None:
        raise Crashed(message.why)

    @actors.handles(Refuse)
    def refuse(self, message: Refuse) -> None:
        raise No("not today")

    @actors.handles(Leave)
    def leave(self, message: Leave) -> None:
        self.stop()

    @actors.handles(Big)
    def big(self, message: Big) -> bytes:
        return bytes(message.size)

    @actors.handles(WatchIt)
    def watch_it(self, message: WatchIt) -> None:
        (self.unwatch if message.stop else self.watch)(message.ref)

    @actors.handles(Terminated, local=True)
    def terminated(self, message: Terminated) -> None:
        self.taken.append(-1)

    @actors.handles(Tick, local=True)
    def tick(self, message: Tick) -> None: ...


class Narrow(Tally):
    """Takes in two messages, and lets `send` wait."""

    mailbox = MailboxSpec(capacity=2, on_full="wait")


class Tight(Tally):
    """Takes in two messages, and refuses more."""

    mailbox = MailboxSpec(capacity=2)


class Enter(msgspec.Struct, frozen=True):
    """Answered with the sum of all entries, once this one is durable."""

    amount: int


class Entered(msgspec.Struct, frozen=True):
    amount: int


class Ledger(actors.PersistentActor):
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (Entered,)

    def __init__(self, _key: str) -> None:
        super().__init__()
        self.total = 0

    def apply(self, event: Entered) -> None:
        self.total += event.amount

    def snapshot(self) -> int:
        return self.total

    def restore(self, state: Any, schema: int) -> None:
        self.total = state

    @actors.handles(Enter)
    def enter(self, message: Enter) -> Future[int]:
        return self.persist(Entered(message.amount), self.total + message.amount)
