"""Helpers for tests of actors: a system that checks for leaks, control of the clock, and a probe.

```python
from actors.runtime.testing import Probe, advance, open_system

async def test_a_door_closes_itself(autojump_clock):
    async with open_system() as system:
        probe = Probe(system)
        door = system.start(Door, probe.ref)
        door.tell(Open())
        await advance(30.0)
        await probe.expect(Closed())
```

Run tests on trio's MockClock, either by pytest-trio's fixtures `autojump_clock` and `mock_clock` or
by `run`. Tests with actors in threads need the real clock, because a clock that jumps whenever the
loop is idle does not wait for threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar, overload

import trio
import trio.testing

from .actor import Actor
from .checks import check_seconds
from .handlers import handles
from .ref import ActorRef
from .system import ActorSystem

T = TypeVar("T")
M = TypeVar("M")


def run(test: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `test(*args)` on a clock that jumps to the next deadline when the loop is idle."""
    return trio.run(test, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@asynccontextmanager
async def open_system(name: str = "test", **settings: Any) -> AsyncIterator[ActorSystem]:
    """Open an ActorSystem, and check at the end of the block that it leaves nothing behind.

    `settings` are arguments of ActorSystem. Back-offs have a fixed seed unless `settings` has one.
    Raises AssertionError at the end of the block if an actor, a task or a thread is left.
    """
    settings.setdefault("seed", 0)
    async with assert_no_leaks():
        system = ActorSystem(name, **settings)
        async with system:
            yield system
        left = [str(ref) for ref in system.actors()]
        assert not left, f"actors left in {name}: {left}"


@asynccontextmanager
async def assert_no_leaks() -> AsyncIterator[None]:
    """Check at the end of the block that it has left no task and no thread behind.

    Raises AssertionError with the number of tasks, or the names of threads. Threads that trio keeps
    for reuse, and the helper thread of `interruptible`, are not counted, as they end by themselves.
    """
    threads_before = set(threading.enumerate())
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    yield
    tasks = trio.lowlevel.current_statistics().tasks_living - tasks_before
    assert tasks <= 0, f"{tasks} tasks left"
    left = []
    for thread in set(threading.enumerate()) - threads_before:
        if not thread.name.startswith(("Trio thread", "actors.interruptible")):
            thread.join(timeout=0.5)  # it may be about to end
            if thread.is_alive():
                left.append(thread.name)
    assert not left, f"threads left: {left}"


async def settle() -> None:
    """Wait until all tasks wait for the clock or for something outside the loop."""
    await trio.testing.wait_all_tasks_blocked()


async def advance(seconds: float) -> None:
    """Move the clock on by `seconds`, from one deadline to the next.

    Everything that a deadline causes is done before the clock moves on, so a ticker ticks as often
    as it would have in that time. Raises RuntimeError if the test does not run on trio's MockClock,
    and ValueError for a duration that is negative, infinite or NaN.
    """
    check_seconds("seconds", seconds, finite=True)
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, trio.testing.MockClock):
        raise RuntimeError("advance() needs trio's MockClock: use the fixture autojump_clock")
    end_s = trio.current_time() + seconds
    await settle()
    while (now := trio.current_time()) < end_s:
        next_s = now + trio.lowlevel.current_statistics().seconds_to_next_deadline
        # Rounding must not take the clock past the deadline, nor leave it where it is.
        clock.jump(max(min(next_s, end_s) - now, math.ulp(now)))
        await settle()


class Probe:
    """An actor that takes every message and keeps it.

    Arguments:
        system: the system to start it in.
        reply: the reply to each ask: a value, or a function of the message that returns one.

    Attributes:
        ref: the actor's ref.
        received: the messages that came, in their order.
    """

    def __init__(self, system: ActorSystem, *, reply: Any = None) -> None:
        self.received: list[Any] = []
        self._seen = 0
        self._arrived = trio.Event()
        self._reply = reply
        self.ref: ActorRef = system.start(_Recorder, self)

    def watch(self, ref: ActorRef) -> None:
        """Have the probe watch `ref`, so that it receives the `Terminated` of that actor."""
        self.ref.tell(_Watch(ref))

    @overload
    async def expect(self, expected: type[M], *, within_s: float = 1.0) -> M: ...
    @overload
    async def expect(self, expected: M, *, within_s: float = 1.0) -> M: ...
    async def expect(self, expected: Any, *, within_s: float = 1.0) -> Any:
        """Return the next message, which must be equal to `expected`, or of that type.

        Raises AssertionError if it is another one, or if none comes within `within_s` seconds.
        """
        with trio.move_on_after(within_s):
            while self._seen >= len(self.received):
                self._arrived = trio.Event()
                await self._arrived.wait()
        if self._seen >= len(self.received):
            raise AssertionError(f"expected {expected!r}; nothing came in {within_s} s")
        message = self.received[self._seen]
        self._seen += 1
        fits = isinstance(message, expected) if isinstance(expected, type) else message == expected
        assert fits, f"expected {expected!r}; got {message!r}"
        return message

    async def expect_nothing(self, *, for_s: float = 1.0) -> None:
        """Wait `for_s` seconds.

        Raises AssertionError if a message comes, or came unexpected before.
        """
        await trio.sleep(for_s)
        new = self.received[self._seen :]
        assert not new, f"expected nothing; got {new!r}"

    def take(self, message: Any) -> Any:
        """Keep a message and return the reply. The actor calls this."""
        self.received.append(message)
        self._arrived.set()
        return self._reply(message) if callable(self._reply) else self._reply


class _Watch(NamedTuple):
    ref: ActorRef


class _Recorder(Actor):
    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = probe

    @handles(_Watch)
    def _on_watch(self, message: _Watch) -> None:
        self.watch(message.ref)

    def on_receive(self, message: Any) -> Any:
        return self._probe.take(message)
