"""One wheel for the keep-alive and the deadlines of all connections.

A timer for each connection would cost a heap entry and a wake-up each (about 10 us); with 10,000
idle connections and a ping every 20 s that is 500 wake-ups a second for nothing. The wheel wakes
four times a second, visits the connections of one bucket, and sleeps; without connections it does
not wake at all.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Final, Protocol

import trio

_TICK_S = 0.25  # how late a deadline may be noticed
_MIN_BUCKETS = 16
_TURN = 256  # visits between two checkpoints
NEVER: Final = math.inf


class Watched(Protocol):
    """The part of a connection that the wheel uses."""

    id: int
    deadline: float
    """The deadline in trio's time; `NEVER`: none. `Wheel.expect` sets it."""

    def visit(self) -> None:
        """Called once every `keepalive_s`."""

    def expired(self) -> None:
        """The deadline has passed."""


class Wheel:
    """Visits each connection once every `keepalive_s`, and tells it of a deadline that passed."""

    def __init__(self, keepalive_s: float) -> None:
        count = max(_MIN_BUCKETS, math.ceil(keepalive_s / _TICK_S))
        self._tick_s = keepalive_s / count
        self._buckets: list[set[Watched]] = [set() for _ in range(count)]
        self._watched = 0
        # (time, a number that breaks ties, watched). If a deadline is moved or lifted, its entry
        # stays, and is put back or dropped when its time comes.
        self._deadlines: list[tuple[float, int, Watched]] = []
        self._numbers = itertools.count()
        self._wake: trio.Event | None = None

    def add(self, watched: Watched) -> None:
        self._buckets[watched.id % len(self._buckets)].add(watched)
        self._watched += 1
        if self._wake is not None:
            self._wake.set()

    def discard(self, watched: Watched) -> None:
        watched.deadline = NEVER
        bucket = self._buckets[watched.id % len(self._buckets)]
        if watched in bucket:
            bucket.remove(watched)
            self._watched -= 1

    def expect(self, watched: Watched, within_s: float | None) -> None:
        """Set the deadline of `watched`, which has been added, or lift it with `None`."""
        if within_s is None:
            watched.deadline = NEVER
            return
        before = watched.deadline
        watched.deadline = trio.current_time() + within_s
        if not before <= watched.deadline:  # else its present entry comes early enough
            self._push(watched)

    def _push(self, watched: Watched) -> None:
        heapq.heappush(self._deadlines, (watched.deadline, next(self._numbers), watched))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Turn until cancelled."""
        task_status.started()
        place = 0
        due = trio.current_time()
        while True:
            if not self._watched:
                self._deadlines.clear()
                self._wake = trio.Event()
                await self._wake.wait()
                self._wake = None
            # Ticks that a blocked loop has missed are skipped. Several visits in a row would close
            # every connection as vanished, before its pongs have been read.
            due = max(due + self._tick_s, trio.current_time())
            await trio.sleep_until(due)
            await self._expire(trio.current_time())
            await self._visit(self._buckets[place])
            place = (place + 1) % len(self._buckets)

    async def _visit(self, bucket: set[Watched]) -> None:
        for count, watched in enumerate(tuple(bucket), 1):
            if watched in bucket:
                watched.visit()
            if count % _TURN == 0:
                await trio.lowlevel.checkpoint()

    async def _expire(self, now: float) -> None:
        count = 0
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, watched = heapq.heappop(self._deadlines)
            if watched.deadline <= now:
                watched.deadline = NEVER
                watched.expired()
            elif watched.deadline != NEVER:
                self._push(watched)
            count += 1
            if count % _TURN == 0:
                await trio.lowlevel.checkpoint()
