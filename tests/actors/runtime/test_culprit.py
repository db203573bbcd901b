"""The watchdog finds and names whatever blocks the loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
import structlog
import trio

import actors
from actors.runtime.culprit import find_culprit
from actors.runtime.testing import open_system
from actors.runtime.watchdog import Watchdog


class Wait:
    """Blocks until the watchdog has found it, and does not await."""

    watchdog: Watchdog

    def __call__(self) -> None:
        found = self.watchdog.stuck
        while self.watchdog.stuck == found:
            pass


block = Wait()


class Handler(actors.Actor):
    def on_receive(self, _message: Any) -> None:
        block()


class AsyncHandler(actors.Actor):
    @actors.handles(int)
    async def at_once(self, _message: int) -> None:
        block()

    @actors.handles(str)
    async def later(self, _message: str) -> None:
        await trio.sleep(0.001)
        block()


class AsyncReceive(actors.Actor):
    async def on_receive(self, _message: Any) -> None:
        block()


class Start(actors.Actor):
    def on_start(self) -> None:
        block()


class AsyncStart(actors.Actor):
    async def on_start(self) -> None:
        block()


class Stop(actors.Actor):
    def on_stop(self) -> None:
        block()


class AsyncStop(actors.Actor):
    async def on_stop(self) -> None:
        block()


class Constructor(actors.Actor):
    def __init__(self) -> None:
        super().__init__()
        block()


class Failure(actors.Actor):
    def on_receive(self, _message: Any) -> None:
        raise ValueError

    def on_failure(self, *_: object) -> None:
        block()


class After(actors.Actor):
    def on_receive(self, _message: Any) -> None:
        self.system.after(0.001, self.callback)

    def callback(self) -> None:
        block()


class Piped(actors.Actor):
    @actors.handles(int)
    def pipe(self, _message: int) -> None:
        future: actors.Future[int] = actors.Future()
        future.set(1)
        self.pipe_to_self(future, self.callback)

    @actors.handles(str)
    def heard(self, _message: str) -> None:
        pass

    def callback(self, _future: actors.Future[int]) -> str:
        block()
        return "done"


async def found(
    run: Callable[[actors.ActorSystem], Awaitable[object]],
) -> MutableMapping[str, Any]:
    """Return what is logged about the block that `run` causes."""
    with structlog.testing.capture_logs() as entries:
        async with open_system() as system:
            with Watchdog(system, stuck_after_s=0.1) as Wait.watchdog:
                before = Wait.watchdog.stuck
                await run(system)
                while Wait.watchdog.stuck == before:
                    await trio.sleep(0.01)
    return next(entry for entry in entries if "in __call__" in entry.get("stack", ""))


@pytest.mark.parametrize(
    ("cls", "message", "code"),
    [
        (Handler, 1, "on_receive"),
        (AsyncHandler, 1, "at_once"),
        (AsyncHandler, "x", "later"),
        (AsyncReceive, 1, "on_receive"),
        (Start, None, "on_start"),
        (AsyncStart, None, "on_start"),
        (Stop, None, "on_stop"),
        (AsyncStop, None, "on_stop"),
        (Failure, 1, "on_failure"),
        (After, 1, "callback"),
        (Piped, 1, "callback"),
    ],
)
async def test_an_actor_that_blocks_the_loop_is_named_whatever_it_is_in(
    cls: type[actors.Actor], message: Any, code: str
) -> None:
    async def run(system: actors.ActorSystem) -> None:
        ref = system.start(cls, kind="game", key="g")
        if message is None:
            await ref.stop()
        else:
            with suppress(ValueError):
                await ref.ask(message, timeout=60)

    blocked = await found(run)
    assert (blocked["event"], blocked["kind"], blocked["key"]) == ("loop_blocked", "game", "g")
    assert blocked["code"] == f"{__name__}.{cls.__name__}.{code}"
    assert blocked.get("message") == ("int" if cls is Handler else None)


async def test_a_constructor_that_blocks_the_loop_is_named_by_its_class() -> None:
    async def run(system: actors.ActorSystem) -> None:
        system.start(Constructor)

    blocked = await found(run)
    assert "kind" not in blocked
    assert blocked["code"] == f"{__name__}.Constructor.__init__"


async def test_what_nobody_owns_is_named_as_what_it_is() -> None:
    async def anything() -> None:
        block()

    async def run(_system: actors.ActorSystem) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anything)

    blocked = await found(run)
    assert "kind" not in blocked
    assert blocked["code"].endswith(".anything")

    async def after(system: actors.ActorSystem) -> None:
        system.after(0.0, block)

    assert (await found(after))["code"] == f"{__name__}.Wait.__call__"


async def test_a_loop_that_waits_is_kept_by_nobody() -> None:
    async with open_system() as system:

        def look() -> bool:
            """Check that nobody is found, once the loop waits for this thread."""
            return any(find_culprit(system.home, system.dispatcher) is None for _ in range(100_000))

        assert await trio.to_thread.run_sync(look)
