"""The nurseries of a system: how its `async with` block begins, fails, is interrupted and ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import enable_ki_protection

from .errors import SystemFailed
from .panic import end_of_all, shown

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class Lifetime:
    """Two nurseries. The inner one has the tasks of the actors and lives until they have stopped.

    The outer one is around the body of `async with` too, so that its cancellation interrupts the
    body. The inner one is shielded from that.

    Arguments:
        name: the system's name, for errors.
        begin: starts the system's tasks in the nursery that it is given.
        finish: called when nothing runs any more; settles what is still waited for.
    """

    def __init__(
        self, name: str, begin: Callable[[trio.Nursery], None], finish: Callable[[], None]
    ) -> None:
        self._name = name
        self._begin = begin
        self._finish = finish
        self._failure: BaseException | None = None
        self._outer: trio.Nursery
        self._manager: AbstractAsyncContextManager[trio.Nursery]
        self._stopping = trio.CancelScope(shield=True)
        self._running: trio.Event
        self._ending: trio.Event
        self._ended: trio.Event

    @property
    def ended(self) -> bool:
        """Whether nothing runs any more."""
        return self._ended.is_set()

    async def open(self) -> None:
        """Open the nurseries. `wait_running` must follow, and `close` whatever comes."""
        self._running = trio.Event()
        self._ending = trio.Event()
        self._ended = trio.Event()
        self._manager = trio.open_nursery()
        self._outer = await self._manager.__aenter__()
        self._outer.start_soon(self._run)

    async def wait_running(self) -> None:
        """Return once the tasks run. Raises KeyboardInterrupt if there was a Ctrl-C meanwhile."""
        # nursery.start() would not do: a Ctrl-C or a cancellation would leave it half-way.
        if (interrupted := await _wait_through(self._running)) is not None:
            raise interrupted

    async def _run(self) -> None:
        try:
            # This task exists for the shield: when the body of `async with` is cancelled, the
            # actors go on until they are stopped in order.
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    self._begin(nursery)
                    self._running.set()
                    await self._ending.wait()
                    nursery.cancel_scope.cancel()
        finally:
            self._stopping.cancel()  # without a dispatcher nothing could be stopped any more
            self._finish()
            self._ended.set()

    def fail(self, error: BaseException) -> None:
        """Cancel the body of `async with`, and have `close` raise SystemFailed with this cause.

        If `error` is a SystemExit or KeyboardInterrupt, `close` raises that instead.
        """
        if self._failure is None:
            self._failure = error
        self._outer.cancel_scope.cancel()

    # A Ctrl-C is let out at chosen lines only: anywhere else it would leave a nursery open.
    @enable_ki_protection
    async def close(
        self,
        stop: Callable[[], Awaitable[None]],
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Have `stop` stop the actors, then close the nurseries. The rest is as for `__aexit__`."""
        interrupted: KeyboardInterrupt | None = None
        try:
            with self._stopping:
                try:
                    await trio.lowlevel.checkpoint()
                except KeyboardInterrupt as error:  # a Ctrl-C that came while an actor ran
                    interrupted = error
                await stop()
        except KeyboardInterrupt as error:  # a second Ctrl-C: what still runs is cancelled below
            interrupted = error
        finally:
            self._ending.set()
            interrupted = await _wait_through(self._ended) or interrupted
            ours = False
            if self._outer.cancel_scope.cancel_called:  # by `fail`, or because a system task failed
                ours = bool(await self._manager.__aexit__(exc_type, exc, traceback))
            else:
                # The nursery is not told what the body raised: it would wrap that in a group.
                await self._manager.__aexit__(None, None, None)
        if interrupted is not None:
            raise interrupted
        if self._failure is not None and (ours or exc is None):
            if end_of_all(self._failure) is not None:
                raise self._failure
            raise SystemFailed(f"{self._name}: {shown(self._failure, str)}") from self._failure
        return ours


async def _wait_through(event: trio.Event) -> KeyboardInterrupt | None:
    """Wait for an event that is sure to come, shielded.

    Return the last Ctrl-C that came meanwhile.
    """
    interrupted: KeyboardInterrupt | None = None
    with trio.CancelScope(shield=True):
        while not event.is_set():
            try:
                await event.wait()
            except KeyboardInterrupt as error:
                interrupted = error
    return interrupted
