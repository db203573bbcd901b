"""A cold start: the bytes that recoveries read at once are bounded, and all recoveries complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import actors
from actors.runtime.memory import MemoryEventStore
from actors.runtime.read_budget import ReadBudget, RecoverySettings
from actors.runtime.stores import EventRow

from .persistent import Add, Added, Get, Ledger, Stores

EVENT_BYTES = 10_000
EVENTS = 40
ACTORS = 100
PAGE = 50_000
HELD = 200_000


class Watched(MemoryEventStore):
    """A store that notes how many reads ran at once, and the largest page."""

    def __init__(self) -> None:
        super().__init__()
        self.delay_s = 0.01
        self.at_once = self.most_at_once = self.largest = 0

    async def read(self, *args: Any, **kwargs: Any) -> Sequence[EventRow]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            rows = await super().read(*args, **kwargs)
        finally:
            self.at_once -= 1
        self.largest = max(self.largest, sum(len(row[5]) for row in rows))
        return rows


class Padded(msgspec.Struct, frozen=True):
    """An event that is long."""

    padding: bytes


class Long(actors.PersistentActor):
    """Counts its events."""

    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (Padded,)

    def __init__(self, key: str) -> None:
        super().__init__()
        self.count = 0

    def apply(self, event: Padded) -> None:
        self.count += 1

    @actors.handles(str)
    def ask(self, _question: str) -> int:
        return self.count


class LongTail(Long):
    """Replays only its last 30 events, which are more than a page."""

    replay_last: ClassVar[int | None] = 30


def _write(store: MemoryEventStore) -> None:
    payload = msgspec.msgpack.encode(Padded(bytes(EVENT_BYTES)))
    for kind in ("long", "tail"):
        for key in range(ACTORS):
            store.epochs[kind, str(key)] = 1
            for seq in range(1, EVENTS + 1):
                store.put((kind, str(key), seq, 1, "Padded", payload, 0))


async def test_a_cold_start_reads_no_more_at_once_than_it_may_hold(
    autojump_clock: MockClock,
) -> None:
    store = Watched()
    _write(store)
    settings = RecoverySettings(page_bytes=PAGE, held_bytes=HELD)
    async with actors.ActorSystem(seed=1) as system:
        system.use_stores(store, None, actors.DurabilitySettings(recovery=settings))
        system.register(actors.Kind(name="long", factory=Long))
        system.register(actors.Kind(name="tail", factory=LongTail))
        asked = [
            system.ref(kind, str(key)).ask("how many?", timeout=600)
            for kind in ("long", "tail")
            for key in range(ACTORS)
        ]
        assert [await one for one in asked] == [EVENTS] * ACTORS + [30] * ACTORS
        assert system.durability is not None
        budget = system.durability.read_budget
        assert (budget.used, budget.waiting) == (0, 0)
        assert budget.peak == HELD
    assert store.most_at_once == HELD // PAGE
    assert store.largest < PAGE + EVENT_BYTES + 100


async def test_a_snapshot_counts_and_one_that_is_larger_than_all_is_read_alone(
    autojump_clock: MockClock,
) -> None:
    stores = Stores()
    note = "x" * 500_000
    for key in range(20):
        name = ("ledger", str(key))
        payload = msgspec.msgpack.encode({"history": [], "note": note})
        stores.events.epochs[name] = 1
        stores.snapshots.rows[name] = (*name, 0, 1, 1, payload)
    stores.events.delay_s = stores.snapshots.delay_s = 0.01
    settings = RecoverySettings(page_bytes=PAGE, held_bytes=HELD)
    async with stores.system(settings=actors.DurabilitySettings(recovery=settings)) as system:
        asked = [system.ref("ledger", str(key)).ask(Get(), timeout=600) for key in range(20)]
        assert [(await one).note for one in asked] == [note] * 20
        assert system.durability is not None
        budget = system.durability.read_budget
        assert budget.used == 0
        assert budget.peak <= HELD + HELD // PAGE * 510_000


async def test_a_snapshot_store_that_is_away_keeps_no_place_from_those_who_need_none(
    autojump_clock: MockClock,
) -> None:
    class Needy(Ledger):
        needs_snapshot = True

    stores = Stores()
    settings = RecoverySettings(page_bytes=PAGE, held_bytes=PAGE)
    for key in range(10):
        stores.events.epochs["needy", str(key)] = stores.events.epochs["ledger", str(key)] = 1
    stores.snapshots.away = True
    async with stores.system(settings=actors.DurabilitySettings(recovery=settings)) as system:
        system.register(actors.Kind(name="needy", factory=Needy))
        waiting = [system.ref("needy", str(key)).ask(Get(), timeout=600) for key in range(10)]
        await trio.sleep(30)
        others = [system.ref("ledger", str(key)).ask(Add(1)) for key in range(10)]
        assert [await one for one in others] == [1] * 10
        stores.snapshots.away = False
        assert [(await one).total for one in waiting] == [0] * 10
        assert Added.__name__ in stores.events.rows("ledger", "0")[0]


async def test_who_stops_waiting_in_line_takes_nothing(autojump_clock: MockClock) -> None:
    budget = ReadBudget(RecoverySettings(page_bytes=10, held_bytes=20))
    async with trio.open_nursery() as nursery:
        pages = [await budget.take_page(), await budget.take_page()]
        for _ in range(3):
            nursery.start_soon(budget.take_page)
        await wait_all_tasks_blocked()
        assert budget.waiting == 3
        nursery.cancel_scope.cancel()
    assert budget.waiting == 0
    for page in pages:
        budget.give_back(page)
    assert budget.used == 0
    assert await budget.take_page() == 10
