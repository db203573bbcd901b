from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pykka
import pytest
import trio

import actors
from actors.runtime.testing import Probe, advance, open_system, settle

from .sample import Crash, Crashed, No


class Wait(msgspec.Struct, frozen=True):
    """Asks the actor to wait for this future, under this name."""

    name: str
    future: Any


class Came(msgspec.Struct, frozen=True):
    name: str
    done: actors.Future[Any]


class Strict(msgspec.Struct, frozen=True):
    """Asks the actor to wait for this future, and to fail if it fails."""

    future: Any


class Value(msgspec.Struct, frozen=True):
    value: Any


class Waiter(actors.Actor):
    """Notes what comes, in a list that tests hand in, and whether it came in a turn of its own."""

    mailbox = actors.MailboxSpec(capacity=2)

    def __init__(self, came: list[Any]) -> None:
        super().__init__()
        self.came = came
        self.busy = False

    @actors.handles(Wait)
    def wait(self, message: Wait) -> None:
        self.busy = True
        self.pipe_to_self(message.future, partial(Came, message.name))
        self.busy = False

    @actors.handles(Strict)
    def wait_strictly(self, message: Strict) -> None:
        self.pipe_to_self(message.future, lambda done: Value(done.result()))

    @actors.handles(Came)
    def note(self, message: Came) -> None:
        assert not self.busy
        self.came.append((message.name, message.done.exception() or message.done.result()))
        if message.name == "crash":
            raise Crashed(message.name)

    @actors.handles(Value)
    def note_value(self, message: Value) -> None:
        self.came.append(message.value)

    @actors.handles(Crash)
    def crash(self, message: Crash) -> None:
        raise Crashed(message.why)


async def test_a_result_comes_as_a_message(autojump_clock: object) -> None:
    async with open_system() as system:
        came: list[Any] = []
        waiter = system.start(Waiter, came)
        later: actors.Future[int] = actors.Future()
        there: actors.Future[int] = actors.Future()
        there.set(1)
        waiter.tell(Wait("later", later))
        waiter.tell(Wait("there", there))
        await settle()
        assert came == [("there", 1)]
        later.set(2)
        await settle()
        assert came == [("there", 1), ("later", 2)]


async def test_a_failed_future_and_one_past_its_deadline_come_too(autojump_clock: object) -> None:
    async with open_system() as system:
        came: list[Any] = []
        waiter = system.start(Waiter, came)
        failed: actors.Future[int] = actors.Future()
        failed.set_exception(No("no"))
        waiter.tell(Wait("failed", failed))
        silent = Probe(system, reply=lambda _: actors.Future()).ref
        waiter.tell(Wait("late", silent.ask("answer never", timeout=1.0)))
        await advance(1.0)
        assert [name for name, _ in came] == ["failed", "late"]
        assert [type(error) for _, error in came] == [No, actors.AskTimeout]


async def test_a_result_passes_a_full_mailbox(autojump_clock: object) -> None:
    async with open_system() as system:
        came: list[Any] = []
        waiter = system.start(Waiter, came)
        first: actors.Future[int] = actors.Future()
        waiter.tell(Wait("first", first))
        await settle()
        for _ in range(2):
            waiter.tell(Wait("more", first))
        first.set(1)
        with pytest.raises(actors.MailboxFull):
            waiter.tell(Wait("too much", first))
        await settle()
        assert came == [("first", 1), ("more", 1), ("more", 1)]


async def test_what_a_handler_does_with_a_result_is_supervised(autojump_clock: object) -> None:
    async with open_system() as system:
        came: list[Any] = []
        waiter = system.start(Waiter, came)
        done: actors.Future[int] = actors.Future()
        waiter.tell(Wait("crash", done))
        await settle()
        done.set(1)
        await settle()
        assert came == [("crash", 1)]
        assert system.restarts == 1


@pytest.mark.parametrize("error", [ValueError("broken"), No("no")])
async def test_what_makes_the_message_and_raises_fails_the_actor(
    autojump_clock: object, error: Exception
) -> None:
    async with open_system() as system:
        came: list[Any] = []
        waiter = system.start(Waiter, came)
        failed: actors.Future[int] = actors.Future()
        waiter.tell(Strict(failed))
        await settle()
        failed.set_exception(error)
        await settle()
        assert system.restarts == 1
        fine: actors.Future[int] = actors.Future()
        fine.set(4)
        waiter.tell(Strict(fine))
        await settle()
        assert came == [4]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_restarted_actor_does_not_get_what_its_predecessor_waited_for(
    autojump_clock: object, when: str
) -> None:
    async with open_system() as system:
        came: list[Any] = []
        waiter = system.start(Waiter, came)
        later: actors.Future[int] = actors.Future()
        waiter.tell(Wait("later", later))
        await settle()
        waiter.tell(Crash())
        if when == "before":  # the result is in the mailbox when the actor fails
            later.set(1)
        await settle()
        if when == "after":
            later.set(1)
        await settle()
        assert system.restarts == 1
        assert came == []


async def test_a_result_for_an_actor_that_has_stopped_is_let_go(autojump_clock: object) -> None:
    async with open_system() as system:
        came: list[Any] = []
        waiter = system.start(Waiter, came)
        later: actors.Future[int] = actors.Future()
        waiter.tell(Wait("later", later))
        await waiter.stop()
        later.set(1)
        await settle()
        assert came == []
        assert system.dead_letters.count == 0


async def test_an_actor_that_waits_for_a_result_is_not_idle(autojump_clock: object) -> None:
    async with open_system() as system:
        came: list[Any] = []
        kind = actors.Kind("waiter", lambda _key: Waiter(came), idle_after_s=1.0)
        system.register(kind)
        later: actors.Future[int] = actors.Future()
        waiter = system.ref("waiter", "1")
        waiter.tell(Wait("later", later))
        await advance(5.0)
        assert waiter.is_alive()
        later.set(1)
        await settle()
        assert came == [("later", 1)]
        for _ in range(3):
            await advance(1.0)
        assert not waiter.is_alive()


class Caller(Waiter):
    """Does in callbacks what should be a message, and raises in them."""

    @actors.handles(str)
    def call_back(self, how: str) -> Any:
        later: actors.Future[int] = actors.Future()
        self.came.append(later)
        match how:
            case "on_done":
                later.on_done(lambda _: self.broken())
            case "map":
                return later.map(lambda _: self.broken())
            case "nested":
                later.on_done(lambda _: ready().on_done(lambda _: self.broken()))
            case "after":
                self.system.after(1.0, self.broken)
        return None

    @actors.handles(bytes)
    async def call_back_later(self, how: bytes) -> Any:
        await trio.sleep(0.1)
        return self.call_back(how.decode())

    def broken(self) -> None:
        raise Crashed("in a callback")


def ready() -> actors.Future[int]:
    future: actors.Future[int] = actors.Future()
    future.set(1)
    return future


@pytest.mark.parametrize("how", ["on_done", "map", "nested", "after"])
@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("hook", [False, True])
async def test_a_callback_that_raises_is_the_failure_of_the_actor_that_left_it(
    autojump_clock: object, how: str, awaits: bool, hook: bool
) -> None:
    class Starter(Caller):
        async def on_start(self) -> None:
            if awaits:
                await trio.sleep(0.1)
            if not self.came:
                self.call_back(how)

    async with open_system() as system:
        came: list[Any] = []
        bystander = Probe(system)
        caller = system.start(Starter if hook else Caller, came)
        reply: actors.Future[Any] | None = None
        if not hook:
            reply = caller.ask(how.encode() if awaits else how)
        await advance(0.5)
        await bystander.ref.ask("settles it in a turn of its own")
        came[0].set(1)
        await advance(1.0)
        assert system.restarts == 1
        assert system.lookup(caller.kind, caller.key) is not None
        if reply is not None and how == "map":
            with pytest.raises(Crashed):
                await reply


async def test_a_callback_that_raises_after_its_actor_ended_harms_nobody(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        came: list[Any] = []
        caller = system.start(Caller, came)
        caller.tell("on_done")
        await settle()
        caller.tell(Crash())
        await settle()
        assert system.restarts == 1
        came[0].set(1)
        await settle()
        assert system.restarts == 1
        caller.tell("on_done")
        await caller.stop()
        came[1].set(1)


async def test_a_future_of_a_thread_cannot_be_piped(autojump_clock: object) -> None:
    async with open_system() as system:
        waiter = system.start(Waiter, [])
        with pytest.raises(TypeError, match="ThreadingFuture"):
            await waiter.ask(Wait("never", pykka.ThreadingFuture()))


async def test_what_is_to_be_called_with_a_result_must_be_a_function(
    autojump_clock: object,
) -> None:
    class Careless(actors.Actor):
        @actors.handles(str)
        def pipe(self, message: Any) -> None:
            self.pipe_to_self(actors.Future(), message)

    async with open_system() as system:
        with pytest.raises(TypeError, match="message is called, and 'x' cannot be"):
            await system.start(Careless).ask("x")
        future: actors.Future[int] = actors.Future()
        wrong: Any = 5
        for give in (
            future.on_done,
            future.map,
            system.call_soon,
            system.dead_letters.subscribe,
            lambda function: system.after(1.0, function),
        ):
            with pytest.raises(TypeError, match="and 5 cannot be"):
                give(wrong)
