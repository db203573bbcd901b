"""A persistent actor that the persistence tests share, and what they start it with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
import trio

import actors
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from actors.runtime.stores import EventRow


class Add(msgspec.Struct, frozen=True):
    amount: int


class Get(msgspec.Struct, frozen=True):
    pass


class Crash(msgspec.Struct, frozen=True):
    pass


class Nap(msgspec.Struct, frozen=True):
    seconds: float


class Scribble(msgspec.Struct, frozen=True):
    """Change state that no event holds."""

    text: str


class Rest(msgspec.Struct, frozen=True):
    pass


class Added(msgspec.Struct, frozen=True):
    amount: int


class Value(msgspec.Struct, frozen=True):
    total: int
    seq: int
    epoch: int
    note: str
    history: list[int]


class Ledger(actors.PersistentActor):
    """Adds up numbers. Its state has all that was applied, in order."""

    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (Added,)

    def __init__(self, key: str = "") -> None:
        super().__init__()
        self.history: list[int] = []
        self.note = ""
        self.restored_from: int | None = None
        self.started_at: int | None = None

    @actors.handles(Add)
    def add(self, message: Add) -> actors.Future[int]:
        return self.persist(Added(message.amount), reply=sum(self.history) + message.amount)

    @actors.handles(Get)
    def get(self, _message: Get) -> Value:
        return Value(sum(self.history), self.seq, self.epoch, self.note, list(self.history))

    @actors.handles(Crash)
    def crash(self, _message: Crash) -> None:
        raise ValueError("crash")

    @actors.handles(Nap)
    async def nap(self, message: Nap) -> None:
        await trio.sleep(message.seconds)

    @actors.handles(Scribble)
    def scribble(self, message: Scribble) -> None:
        self.note = message.text
        self.mark_dirty()

    @actors.handles(Rest)
    def rest(self, _message: Rest) -> None:
        self.passivate()

    def apply(self, event: Added) -> None:
        self.history.append(event.amount)

    def snapshot(self) -> Any:
        return {"history": self.history, "note": self.note}

    def restore(self, state: Any, schema: int) -> None:
        self.history = state["history"]
        self.note = state["note"]
        self.restored_from = self.seq

    def on_start(self) -> None:
        self.started_at = self.seq


class Stores:
    """Both stores, which outlive the systems that use them."""

    def __init__(self) -> None:
        self.events = MemoryEventStore()
        self.snapshots = MemorySnapshotStore()

    def seqs(self, key: str = "a") -> list[int]:
        return [row[2] for row in self.events.rows("ledger", key)]

    @asynccontextmanager
    async def system(
        self,
        ledger: type[Ledger] = Ledger,
        *,
        with_snapshots: bool = True,
        settings: actors.DurabilitySettings | None = None,
        **kind: Any,
    ) -> AsyncIterator[actors.ActorSystem]:
        async with actors.ActorSystem(seed=1) as system:
            system.use_stores(self.events, self.snapshots if with_snapshots else None, settings)
            system.register(actors.Kind(name="ledger", factory=ledger, **kind))
            yield system


def instance(system: actors.ActorSystem, key: str = "a") -> Ledger:
    """Return the actor object itself, which only tests may look into."""
    cell: Any = system.lookup("ledger", key)
    actor: Ledger = cell.actor
    return actor


async def add(system: actors.ActorSystem, *amounts: int, key: str = "a") -> list[int]:
    ref = system.ref("ledger", key)
    return [await future for future in [ref.ask(Add(amount)) for amount in amounts]]


async def value(system: actors.ActorSystem, key: str = "a") -> Value:
    answer: Value = await system.ref("ledger", key).ask(Get())
    return answer


def row(seq: int, amount: int = 1, epoch: int = 0, name: str = "Added") -> EventRow:
    return ("ledger", "a", seq, epoch, name, msgspec.msgpack.encode(Added(amount)), 0)
