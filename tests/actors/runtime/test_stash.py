"""Messages that an actor puts aside: they come back in order, and none is lost."""

from __future__ import annotations

from typing import Any

import msgspec
import pykka
import pytest
from trio.testing import MockClock

import actors
from actors.runtime.testing import Probe, advance, open_system, settle

from .sample import Crash, Crashed


class Item(msgspec.Struct, frozen=True):
    number: int


class Open(msgspec.Struct, frozen=True):
    """Tells the gate to take items; with a number, only this one of those put aside."""

    number: int | None = None


class Gate(actors.Actor):
    """Puts items aside until it is opened, and notes those that it takes."""

    mailbox = actors.MailboxSpec(capacity=3)

    def __init__(self, taken: list[int]) -> None:
        super().__init__()
        self.taken = taken
        self.open = False

    @actors.handles(Item)
    def take(self, message: Item) -> int:
        if not self.open:
            self.stash()
        self.taken.append(message.number)
        return message.number

    @actors.handles(Open)
    async def opened(self, message: Open) -> None:
        self.open = True
        if message.number is None:
            self.unstash()
        else:
            self.unstash(lambda item: item.number == message.number)

    @actors.handles(Crash)
    def crash(self, _: Crash) -> None:
        raise Crashed

    @actors.handles(actors.Terminated)
    def ended(self, _: actors.Terminated) -> None:
        if not self.open:
            self.stash()
        self.taken.append(-1)

    @actors.handles(str)
    def follow(self, kind: str) -> None:
        self.watch(self.system.ref(kind, "absent"))


async def test_messages_that_were_put_aside_come_before_later_ones(
    autojump_clock: MockClock,
) -> None:
    taken: list[int] = []
    async with open_system():
        gate = Gate.start(taken)
        first = gate.ask(Item(1))
        gate.tell(Item(2))
        await settle()
        third = gate.ask(Item(3))
        gate.tell(Open())
        gate.tell(Item(4))
        assert (await first, await third) == (1, 3)
        assert taken == [1, 2, 3, 4]


async def test_some_of_them_can_be_brought_back_alone(autojump_clock: MockClock) -> None:
    taken: list[int] = []
    async with open_system():
        gate = Gate.start(taken)
        asked = [gate.ask(Item(number)) for number in range(3)]
        await settle()
        await gate.ask(Open(1))
        assert await asked[1] == 1
        await settle()
        assert [future.done for future in asked] == [False, True, False]
        await gate.ask(Open())
        assert (await asked[0], await asked[2]) == (0, 2)
        assert taken == [1, 0, 2]


async def test_what_is_put_aside_takes_no_room_in_the_mailbox(autojump_clock: MockClock) -> None:
    taken: list[int] = []
    async with open_system():
        gate = Gate.start(taken)
        for number in range(10):
            gate.tell(Item(number))
            await settle()
        await gate.ask(Open())
        await settle()
        assert taken == list(range(10))


async def test_a_message_of_the_runtime_can_be_put_aside_too(autojump_clock: MockClock) -> None:
    taken: list[int] = []
    async with open_system():
        gate = Gate.start(taken)
        gate.tell("nobody")
        await settle()
        assert gate.is_alive()
        await gate.ask(Open())
        await settle()
        assert taken == [-1]
        gate.tell(Item(1))
        await settle()
        assert taken == [-1, 1]


async def test_a_new_instance_gets_them_first(autojump_clock: MockClock) -> None:
    taken: list[int] = []
    async with open_system():
        gate = Gate.start(taken)
        asked = gate.ask(Item(1), timeout=60)
        await settle()
        gate.tell(Crash("here"))
        gate.tell(Item(2))
        await advance(5)
        await gate.ask(Open())
        assert await asked == 1
        await settle()
        assert taken == [1, 2]


async def test_an_actor_that_has_put_something_aside_stays(autojump_clock: MockClock) -> None:
    taken: list[int] = []
    async with open_system() as system:
        system.register(actors.Kind("gate", lambda _: Gate(taken), idle_after_s=1))
        gate = system.ref("gate", "1")
        asked = gate.ask(Item(1), timeout=60)
        await advance(20)
        assert not asked.done
        await gate.ask(Open())
        assert await asked == 1
        probe = Probe(system)
        probe.watch(gate)
        await advance(20)
        await probe.expect(actors.Terminated(gate, "passivated"))


async def test_who_asked_is_told_when_the_actor_ends(autojump_clock: MockClock) -> None:
    async with open_system() as system:
        gate = Gate.start([])
        asked: Any = gate.ask(Item(1))
        gate.tell(Item(2))
        await settle()
        await gate.stop()
        with pytest.raises(pykka.ActorDeadError):
            await asked
        assert system.dead_letters.last[-1].message == Item(2)
