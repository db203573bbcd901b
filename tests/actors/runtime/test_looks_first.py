"""Actors that take no epoch before they have an event to persist."""

from __future__ import annotations

from typing import ClassVar

import pytest
import trio

import actors

from .persistent import Add, Ledger, Stores, add, instance, value

Clock = trio.testing.MockClock


class Shy(Ledger):
    """An actor that takes its log over with the first event."""

    looks_first: ClassVar[bool] = True

    @actors.handles(Add)
    async def add_first(self, message: Add) -> actors.Future[int]:
        await self.activate()
        return self.add(message)


class Hasty(Ledger):
    """An actor that forgets to take its log over."""

    looks_first: ClassVar[bool] = True


async def test_who_is_only_looked_at_leaves_nothing_in_the_stores(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system(Shy) as system:
        assert (await value(system)).epoch == 0
        ledger = instance(system)
        assert ledger.started_at == 0
    assert not stores.events.epochs
    assert not stores.snapshots.rows


async def test_the_first_event_takes_an_epoch_and_later_incarnations_take_one_at_their_start(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system(Shy) as system:
        assert await add(system, 1, 2) == [1, 3]
        assert (await value(system)).epoch == 1
    async with stores.system(Shy) as system:
        found = await value(system)
        assert (found.epoch, found.seq, found.history) == (2, 2, [1, 2])
        assert await add(system, 3) == [6]
    assert [row[3] for row in stores.events.rows("ledger", "a")] == [1, 1, 2]


async def test_who_comes_second_is_fenced_and_finds_what_the_first_wrote(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system(Shy) as one, stores.system(Shy) as two:
        assert (await value(one)).epoch == (await value(two)).epoch == 0
        assert await add(two, 5) == [5]
        with pytest.raises(actors.Fenced):
            await add(one, 1)
        assert await add(one, 1) == [6]
        assert (await value(one)).history == [5, 1]
    assert stores.seqs() == [1, 2]


async def test_two_that_are_first_at_once_never_share_an_epoch(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system(Shy) as one, stores.system(Shy) as two:
        await value(one)
        await value(two)
        stores.events.delay_s = 1.0
        outcomes: list[str] = []

        async def try_to_add(system: actors.ActorSystem, amount: int) -> None:
            try:
                await system.ref("ledger", "a").ask(Add(amount), timeout=60)
                outcomes.append("added")
            except actors.Fenced:
                outcomes.append("fenced")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_to_add, one, 1)
            nursery.start_soon(try_to_add, two, 2)
        # Both may have lost, the first by the activation of the second, but never both have won.
        assert outcomes.count("added") <= 1
    assert len(stores.seqs()) == outcomes.count("added")


async def test_an_event_before_the_activation_is_a_mistake(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system(Hasty) as system:
        with pytest.raises(RuntimeError, match=r"is to activate\(\) first"):
            await add(system, 1)
    assert not stores.events.rows("ledger", "a")
