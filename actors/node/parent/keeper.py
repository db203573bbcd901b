"""Keeps one node running: starts it, starts it again when it ends, restarts it when asked."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from typing import Final, Literal

import structlog
import trio

from actors.node.exits import Exit
from actors.node.parent.backoff import NodeBackoff
from actors.node.parent.ended import ProcessEnd
from actors.node.parent.process import START_S, NodeProcess
from protocol.http.application import Readiness

log = structlog.get_logger("actors.node.parent")

NodeState = Literal["starting", "up", "draining", "down"]

LOOK_EVERY_S: Final = 0.1
"""The time between two questions whether a restarted node is ready."""


class RestartFailed(Exception):  # noqa: N818 - a result of a restart
    """A node that was restarted is not ready again. The message says why."""


class NodeKeeper:
    """One node, and the process that runs it, which is replaced when it ends.

    Arguments:
        name: the node's.
        start: starts a process, and calls the function that it is given when the process changes.
        failed: called after an end that nobody asked for, once `backoff` has counted it.
        labels: what the node is for.

    Attributes:
        process: the process that runs now; None: there is none.
        last: how the last one ended.
        backoff: the failures in a row.
        since: when its state last changed, by trio's clock.
        restarts: how often it was started again.
        stopped_as: the exit code after `stop`. It is OK for a node that was down at that time.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[Callable[[], None]], NodeProcess],
        failed: Callable[[NodeKeeper, ProcessEnd], None],
        labels: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.labels = labels
        self.process: NodeProcess | None = None
        self.last: ProcessEnd | None = None
        self.backoff = NodeBackoff()
        self.since = 0.0
        self.restarts = 0
        self.stopped_as = Exit.OK
        self._start = start
        self._failed = failed
        self._standby: NodeProcess | None = None
        self._nursery: trio.Nursery
        self._stopping = False
        self._restarting = False
        self._changed = trio.Event()
        self._hurry = trio.Event()

    @property
    def state(self) -> NodeState:
        """What the node does now."""
        if self.process is None:
            return "down"
        if self.process.asked:
            return "draining"
        return "starting" if self.process.up_at is None else "up"

    async def run(self) -> None:
        """Keep the node running until it has stopped after `stop`."""
        self.since = trio.current_time()
        async with trio.open_nursery() as self._nursery:
            while not self._stopping:
                self._restarting = False
                ended = await self._run_once()
                self.last, self.process = ended, None
                self._tell()
                if self._stopping:
                    self.stopped_as = ended.exit
                    break
                self.restarts += 1
                if self._restarting:
                    continue
                self.backoff = self.backoff.after(ended.up_s)
                self._failed(self, ended)
                if not self._stopping:
                    await self._pause(ended)

    async def _run_once(self) -> ProcessEnd:
        try:
            self.process, self._standby = self._standby or self._spawn(), None
        except (OSError, subprocess.SubprocessError) as error:
            return ProcessEnd(None, str(error))
        self.process.begin()
        self._tell()
        await self.process.over.wait()
        assert self.process.ended is not None
        return self.process.ended

    def _spawn(self) -> NodeProcess:
        process = self._start(self._tell)
        self._nursery.start_soon(process.run)
        return process

    async def _pause(self, ended: ProcessEnd) -> None:
        pause_s = self.backoff.pause_s(random.random())
        log.error(
            "node ended",
            node=self.name,
            how=str(ended),
            was_up_s=round(ended.up_s, 1),
            again_in_s=round(pause_s, 2),
        )
        self._hurry = trio.Event()
        with trio.move_on_after(pause_s):
            await self._hurry.wait()

    def stop(self) -> None:
        """Ask the node to stop, for good. A second call hurries it, a third one ends it."""
        self._stopping = True
        if self.process is not None:
            self.process.ask_to_stop()
        if self._standby is not None:
            self._standby.kill()
        self._hurry.set()

    async def restart(self) -> None:
        """Drain the node, start it again, and return when it is ready.

        The new process is started first. It reads the configuration, and waits until the old
        process has ended. If it cannot use the configuration, the old process goes on.

        Raises:
            RestartFailed: the node is not ready. The keeper goes on trying.
        """
        await self._prepare()
        before, self.backoff = self.process, NodeBackoff()
        self._restarting = True
        if before is not None:
            before.ask_to_stop()
        self._hurry.set()
        # No time-out here: the node itself bounds how long it drains.
        await self.until(lambda: self._failing or self.process not in (before, None))
        found: Readiness | None = None
        with trio.move_on_after(START_S):
            await self.until(lambda: self._failing or self.state == "up")
            while not (self._failing or ((found := await self.look()) and found.ready)):
                await trio.sleep(LOOK_EVERY_S)
        if self._stopping:
            raise RestartFailed(f"{self.name}: the server is being stopped")
        if self._failing:
            raise RestartFailed(f"{self.name}: {self.last}")
        if found is None or not found.ready:
            checks = "it does not serve" if found is None else wrong(found)
            raise RestartFailed(f"{self.name}: not ready within {START_S:g} s: {checks}")

    async def _prepare(self) -> None:
        try:
            new = self._standby = self._spawn()
        except (OSError, subprocess.SubprocessError) as error:
            raise RestartFailed(f"{self.name}: {error}") from error
        async with trio.open_nursery() as either:

            async def first(event: trio.Event) -> None:
                await event.wait()
                either.cancel_scope.cancel()

            either.start_soon(first, new.waiting)
            either.start_soon(first, new.over)
        if new.over.is_set():
            self._standby = None
            raise RestartFailed(f"{self.name}: the new process ended: {new.ended}")

    @property
    def _failing(self) -> bool:
        return self._stopping or self.backoff.failures > 0

    async def look(self) -> Readiness | None:
        """Return what the node says of its readiness; None: it is not up."""
        return await self.process.look() if self.process is not None else None

    async def until_up(self) -> None:
        """Wait until the node serves clients."""
        await self.until(lambda: self.state == "up")

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until a condition is true. It is looked at whenever the node's process changes."""
        while not reached():
            await self._changed.wait()

    def _tell(self) -> None:
        self.since = trio.current_time()
        self._changed.set()
        self._changed = trio.Event()


def wrong(found: Readiness) -> str:
    """Return what is wrong with a node, in words; "": nothing."""
    return ", ".join(f"{name}: {text}" for name, text in found.checks.items() if text != "ok")
