"""Each actor has context variables of its own, and a decimal context."""

from __future__ import annotations

import contextvars
import decimal
from typing import Any

import msgspec
import pytest
import trio

import actors
from actors.runtime.testing import open_system, settle

from .sample import Crash, Crashed

VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default="default")


class Set(msgspec.Struct, frozen=True):
    value: Any
    wait_s: float | None = None


class Look(msgspec.Struct, frozen=True):
    wait_s: float | None = None


class Setter(actors.Actor):
    """Sets a context variable and the precision of decimals, at once or after a while."""

    @actors.handles(Set)
    def set(self, message: Set) -> Any:
        if message.wait_s is not None:
            return self.set_later(message)
        VARIABLE.set(message.value)
        decimal.getcontext().prec = 5
        return None

    async def set_later(self, message: Set) -> None:
        await trio.sleep(message.wait_s or 0.0)
        self.set(Set(message.value))

    @actors.handles(Look)
    def look(self, message: Look) -> Any:
        if message.wait_s is not None:
            return self.look_later(message.wait_s)
        return VARIABLE.get(), decimal.getcontext().prec

    async def look_later(self, wait_s: float) -> Any:
        await trio.sleep(wait_s)
        return self.look(Look())

    @actors.handles(Crash)
    def crash(self, message: Crash) -> None:
        VARIABLE.set("crash")
        raise Crashed(message.why)


UNTOUCHED = ("default", decimal.DefaultContext.prec)


@pytest.mark.parametrize("wait_s", [None, 0.1])
@pytest.mark.parametrize("told", [False, True])
async def test_what_a_handler_sets_is_seen_by_its_actor_alone(
    autojump_clock: object, wait_s: float | None, told: bool
) -> None:
    async with open_system() as system:
        one, other = system.start(Setter), system.start(Setter)
        decimal.getcontext()  # the asker has one, which must be neither changed nor handed down
        if told:
            one.tell(Set(1, wait_s))
            await trio.sleep(0.5)
        else:
            await one.ask(Set(1, wait_s))
        assert (VARIABLE.get(), decimal.getcontext().prec) == UNTOUCHED
        for look in (Look(), Look(0.1)):
            assert await one.ask(look) == (1, 5)
            assert await other.ask(look) == UNTOUCHED
            other.tell(Set(2, wait_s))
            await trio.sleep(0.5)
            assert await one.ask(look) == (1, 5)
            assert await other.ask(look) == (2, 5)
            other.tell(Crash())
            await settle()


async def test_an_actor_that_was_restarted_begins_anew(autojump_clock: object) -> None:
    async with open_system() as system:
        one = system.start(Setter)
        await one.ask(Set(1))
        one.tell(Crash())
        await settle()
        assert await one.ask(Look()) == UNTOUCHED
        fresh = system.start(Setter)
        fresh.tell(Crash())  # the first thing it sets, and its last
        await settle()
        assert await fresh.ask(Look()) == UNTOUCHED


async def test_what_was_set_when_the_system_was_opened_is_seen_by_all(
    autojump_clock: object,
) -> None:
    VARIABLE.set("opener's")
    async with open_system() as system:
        one = system.start(Setter)
        VARIABLE.set("starter's")
        for look in (Look(), Look(0.1)):
            assert (await one.ask(look))[0] == "opener's"
            assert (await system.start(Setter).ask(look))[0] == "opener's"


class Born(Setter):
    def __init__(self) -> None:
        VARIABLE.set("constructor's")


class Started(Setter):
    async def on_start(self) -> None:
        VARIABLE.set("a hook's")
        await trio.sleep(0.1)


@pytest.mark.parametrize(
    ("cls", "value"), [(Born, "constructor's"), (Started, "a hook's")], ids=str
)
async def test_constructors_and_hooks_set_variables_for_the_handlers(
    autojump_clock: object, cls: type[Setter], value: str
) -> None:
    async with open_system() as system:
        one = system.start(cls)
        assert (await one.ask(Look()))[0] == value
        assert (await one.ask(Look(0.1)))[0] == value
        assert VARIABLE.get() == "default"
        assert await system.start(Setter).ask(Look()) == UNTOUCHED


async def test_values_that_will_not_be_compared_are_kept_apart(autojump_clock: object) -> None:
    class Array:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = object.__hash__

    VARIABLE.set(Array())
    async with open_system() as system:
        one, other = system.start(Setter), system.start(Setter)
        mine = Array()
        await one.ask(Set(mine))
        one.tell(Look())
        await settle()
        assert (await one.ask(Look()))[0] is mine
        assert (await other.ask(Look()))[0] is VARIABLE.get()


async def test_a_task_that_is_used_again_keeps_nothing_of_the_actor_before(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        for number in range(3):
            await system.start(Setter).ask(Set(number, 0.1))
            assert await system.start(Setter).ask(Look(0.1)) == UNTOUCHED


class LeaveACallback(msgspec.Struct, frozen=True):
    """Have code called later, by whatever is set to set it off."""

    how: str
    value: int
    wait_s: float | None = None


class Caller(Setter):
    """Sets variables in what it leaves to be called, and answers with what they were there."""

    @actors.handles(LeaveACallback)
    def leave(self, message: LeaveACallback) -> Any:
        if message.wait_s is not None:
            return self.leave_later(message)
        answer: actors.Future[Any] = actors.Future()
        trigger: actors.Future[None] = actors.Future()

        def called(_: object = None) -> Any:
            before = (VARIABLE.get(), decimal.getcontext().prec)
            VARIABLE.set(message.value)
            decimal.getcontext().prec = 5
            answer.set(before)
            return before

        if message.how == "after":
            self.system.after(0.1, called)
        else:
            if message.how == "map":
                trigger.map(called)
            else:
                trigger.on_done(called)
            self.system.ref("trigger", "1").tell(trigger)
        return answer

    async def leave_later(self, message: LeaveACallback) -> Any:
        answer = self.leave(LeaveACallback(message.how, message.value))
        await trio.sleep(message.wait_s or 0.0)
        return await answer


class Trigger(actors.Actor):
    """Sets futures, with variables of its own."""

    @actors.handles(actors.Future)
    def trigger(self, future: actors.Future[None]) -> None:
        VARIABLE.set("trigger's")
        decimal.getcontext().prec = 3
        future.set()
        assert VARIABLE.get() == "trigger's"
        assert decimal.getcontext().prec == 3


@pytest.mark.parametrize("how", ["after", "on_done", "map"])
@pytest.mark.parametrize("wait_s", [None, 0.5])
async def test_a_callback_sees_and_sets_the_variables_of_its_actor(
    autojump_clock: object, how: str, wait_s: float | None
) -> None:
    async with open_system() as system:
        system.start(Trigger, kind="trigger", key="1")
        one, other = system.start(Caller), system.start(Caller)
        assert await one.ask(LeaveACallback(how, 1, wait_s)) == UNTOUCHED
        assert await one.ask(Look()) == (1, 5)
        assert await other.ask(Look()) == UNTOUCHED
        assert await other.ask(LeaveACallback(how, 2, wait_s)) == UNTOUCHED
        assert await one.ask(LeaveACallback(how, 3, wait_s)) == (1, 5)
        assert await other.ask(LeaveACallback(how, 4, wait_s)) == (2, 5)
        assert await one.ask(Look(0.1)) == (3, 5)
        assert await system.start(Caller).ask(Look()) == UNTOUCHED
        assert (VARIABLE.get(), decimal.getcontext().prec) == UNTOUCHED


async def test_a_callback_of_nobody_sees_a_copy_of_what_was_there_when_it_was_left(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        seen: list[Any] = []

        def called(_: object = None) -> None:
            seen.append(VARIABLE.get())
            VARIABLE.set("callback's")

        token = VARIABLE.set("body's")
        trigger: actors.Future[None] = actors.Future()
        trigger.on_done(called)
        trigger.map(called)
        system.after(0.1, called)
        system.dead_letters.subscribe(called)
        VARIABLE.reset(token)
        one = system.start(Trigger)
        one.tell(trigger)
        await trio.sleep(0.2)
        one.tell("nobody handles this")
        await settle()
        assert seen == ["body's"] * 4
        assert VARIABLE.get() == "default"
        assert await system.start(Setter).ask(Look()) == UNTOUCHED


async def test_a_callback_of_an_instance_that_is_gone_leaves_the_next_one_alone(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        one = system.start(Caller)
        answer = one.ask(LeaveACallback("after", 1))
        one.tell(Crash())
        assert await answer == UNTOUCHED
        assert await one.ask(Look()) == UNTOUCHED
