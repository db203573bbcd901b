"""Ctrl-C, SystemExit, and exceptions that are not an `Exception`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio

import actors
from actors.runtime.memory import MemoryEventStore
from actors.runtime.testing import open_system, settle

from .sample import Add, Counter, Get, Member


class PanicException(BaseException):
    """Such as PyO3 raises for a panic in Rust."""


class Fragile(Counter):
    """Raises what it is sent, at once or after a while."""

    @actors.handles(BaseException)
    def break_down(self, error: BaseException) -> None:
        raise error

    @actors.handles(list)
    async def break_down_later(self, errors: list[BaseException]) -> None:
        await trio.sleep(0.1)
        raise errors[0]


PANICS: list[Callable[[], BaseException]] = [
    lambda: PanicException("panic"),
    lambda: BaseExceptionGroup("several", [PanicException("panic")]),
]


@pytest.mark.parametrize("panic", PANICS)
@pytest.mark.parametrize("later", [False, True])
async def test_a_panic_fails_its_actor_and_no_other(
    autojump_clock: object, panic: Callable[[], BaseException], later: bool
) -> None:
    async with open_system() as system:
        fragile, other = system.start(Fragile), system.start(Counter, 7)
        error = panic()
        with pytest.raises(actors.HandlerPanic, match="Exception") as raised:
            await fragile.ask([error] if later else error)
        assert raised.value.__cause__ is error
        fragile.tell([panic()] if later else panic())
        await trio.sleep(1.0)
        assert system.restarts == 2
        assert await fragile.ask(Get()) == 0
        assert await other.ask(Get()) == 7


@pytest.mark.parametrize("where", ["__init__", "on_start", "on_stop", "on_failure", "callback"])
@pytest.mark.parametrize("later", [False, True])
async def test_a_panic_in_a_hook_is_no_more_than_an_exception_there(
    autojump_clock: object, where: str, later: bool
) -> None:
    broken: list[bool] = []

    def panic(hook: str) -> None:
        if hook == where and not broken:
            broken.append(True)
            raise PanicException(hook)

    class Brittle(Fragile):
        def __init__(self) -> None:
            super().__init__()
            panic("__init__")

        def on_start(self) -> Any:
            return self._later("on_start") if later else panic("on_start")

        def on_stop(self) -> Any:
            return self._later("on_stop") if later else panic("on_stop")

        def on_failure(self, *_: object) -> Any:
            return self._later("on_failure") if later else panic("on_failure")

        async def _later(self, hook: str) -> None:
            await trio.sleep(0.1)
            panic(hook)

        @actors.handles(str)
        def call_back(self, _: str) -> None:
            done: actors.Future[None] = actors.Future()
            done.on_done(lambda _: panic("callback"))
            done.set(None)

    async with open_system() as system:
        system.register(actors.Kind("brittle", lambda _key: Brittle()))
        other = system.start(Counter, 7)
        brittle = system.ref("brittle", "a")
        brittle.tell("call back")
        await trio.sleep(1.0)
        brittle.tell(ValueError("fails"))
        await trio.sleep(1.0)
        assert await brittle.ask(Get()) == 0
        await brittle.stop()
        assert broken
        assert await other.ask(Get()) == 7


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("how", ["told", "asked", "later", "in a group"])
def test_a_handler_may_end_the_system_in_order(error: BaseException, how: str) -> None:
    diary: list[str] = []

    async def main() -> None:
        async with actors.ActorSystem() as system:
            system.start(Member, "ann", diary)
            fragile = system.start(Fragile)
            await settle()
            match how:
                case "told":
                    fragile.tell(error)
                case "asked":
                    with pytest.raises(actors.HandlerPanic):
                        await fragile.ask(error)
                case "later":
                    fragile.tell([error])
                case "in a group":
                    fragile.tell([BaseExceptionGroup("", [error])])
            await trio.sleep_forever()

    with pytest.raises(type(error)) as raised:
        trio.run(main)
    assert raised.value is error
    assert diary == ["ann starts", "ann stops"]


class Interrupted(Member):
    """An actor that is handling a message when somebody presses Ctrl-C."""

    @actors.handles(str)
    def interrupt(self, where: str) -> str:
        signal.raise_signal(signal.SIGINT)
        self.diary.append(f"{self.name} finishes")
        return where


def test_ctrl_c_in_an_inline_ask_leaves_the_actor_whole() -> None:
    diary: list[str] = []

    async def main() -> None:
        async with actors.ActorSystem() as system:
            one = system.start(Interrupted, "ann", diary)
            await settle()
            asked = one.ask("?")
            assert asked.result() == "?"
            assert one.ask(Add(1)).result() == 1  # it is not claimed for ever

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert diary == ["ann starts", "ann finishes", "ann stops"]


def test_ctrl_c_in_a_callback_or_a_constructor_comes_when_the_runtime_is_done() -> None:
    diary: list[str] = []

    class Born(Member):
        def __init__(self) -> None:
            super().__init__("ann", diary)
            signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        async with actors.ActorSystem() as system:
            system.start(Born)
            await settle()
            diary.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert diary == ["ann starts", "ann stops"]

    async def main2() -> None:
        async with actors.ActorSystem():
            future: actors.Future[int] = actors.Future()
            future.on_done(lambda _: signal.raise_signal(signal.SIGINT))
            future.on_done(lambda _: diary.append("told"))
            future.set(1)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main2)
    assert diary[-1] == "told"


class SlowToEnd(Member):
    """An actor that is stopping when somebody presses Ctrl-C."""

    def on_stop(self) -> Any:
        signal.raise_signal(signal.SIGINT)
        super().on_stop()


class SlowerToEnd(SlowToEnd):
    """`SlowToEnd` with an asynchronous `on_stop`, in which Ctrl-C comes again and again."""

    async def on_stop(self) -> None:  # type: ignore[override]  # a hook may be async
        super().on_stop()
        for _ in range(3):
            await trio.sleep(0)
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("cls", [SlowToEnd, SlowerToEnd])
@pytest.mark.parametrize("waits", [False, True])
def test_ctrl_c_while_an_actor_stops_at_the_end_comes_out_as_it_is(
    cls: type[SlowToEnd], waits: bool
) -> None:
    diary: list[str] = []

    async def main() -> None:
        async with actors.ActorSystem() as system:
            ann = system.start(cls, "ann", diary)
            await ann.ask(Add(1))
        if waits:
            await trio.sleep(0)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert diary == ["ann starts", "ann stops"]


class Interrupting(trio.abc.Instrument):
    """Presses Ctrl-C before the nth step of the main task."""

    def __init__(self, nth: int) -> None:
        self.left = nth

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name.endswith("main"):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("nth", range(1, 12))
def test_at_whatever_step_ctrl_c_comes_the_system_is_left_whole(nth: int) -> None:
    """Steps while the system opens, and while it waits to end, are among them."""
    left = []

    async def main() -> None:
        try:
            async with actors.ActorSystem() as system:
                ann = system.start(Member, "ann", [])
                await ann.ask(Add(1))
                await trio.sleep(0)
                await ann.stop()
        finally:
            left.append("left")
        await trio.sleep(0)

    try:
        trio.run(main, instruments=[Interrupting(nth)])
    except KeyboardInterrupt:
        assert len(left) <= 1
    else:
        assert left == ["left"]


async def test_a_system_that_is_opened_in_a_cancelled_scope_closes_again(
    autojump_clock: object,
) -> None:
    with trio.move_on_after(10.0) as limit:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with actors.ActorSystem():
                await trio.sleep_forever()
        assert scope.cancelled_caught
    assert not limit.cancelled_caught


async def test_a_system_whose_stores_are_none_is_not_left_half_open(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("no stores")

    monkeypatch.setattr(actors.ActorSystem, "use_stores", refuse)
    with pytest.raises(ValueError, match="no stores"):
        async with actors.ActorSystem(events=MemoryEventStore()):
            pass
    async with actors.ActorSystem() as system:
        assert await system.start(Member, "ann", []).ask(Add(1)) == 1


async def test_a_thread_ends_no_system_and_goes_on_after_what_it_was_asked_raised() -> None:
    class Quitting(actors.ThreadingActor):
        def on_receive(self, message: object) -> object:
            if message == "quit":
                raise SystemExit(3)
            if message == "crash":
                raise ValueError("crash")
            return message

    async with open_system() as system:
        ref = system.start(Quitting)
        with pytest.raises(ValueError, match="crash"):
            await ref.ask("crash")
        assert await ref.ask("here") == "here"
        assert system.restarts == 0
        with pytest.raises(actors.HandlerPanic, match="SystemExit"):
            await ref.ask("quit")
        assert await ref.ask("here") == "here"
        ref.tell("quit")
        assert await ref.ask("here") == "here"
        assert system.restarts == 1
