"""The open loop: requests are sent on a schedule, whatever became of earlier ones.

A latency counts from the time that the schedule gives. So if a server falls behind, its latencies
show it. Otherwise a slow server would slow its own measurement down, which Gil Tene named
coordinated omission.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from types import TracebackType
from typing import NamedTuple

MIN_INTERVAL_NS = 100_000
"""The shortest time between two wake-ups, which cost about 10 us each.

Everything that is due within 0.1 ms is sent at the same wake-up.
"""


class Schedule(NamedTuple):
    """`total` events at equal intervals. Times are of CLOCK_MONOTONIC, in ns."""

    start_ns: int
    interval_ns: float
    total: int

    @classmethod
    def of(
        cls, *, start_ns: int, rate: float, seconds: float, part: int = 0, parts: int = 1
    ) -> Schedule:
        """Return the schedule of one of `parts` processes that share `rate` events a second.

        The processes begin one after another, so that their events together are evenly spaced too.
        """
        interval_ns = parts * 1e9 / rate
        return cls(
            round(start_ns + part * interval_ns / parts),
            interval_ns,
            max(1, round(rate * seconds / parts)),
        )

    def at_ns(self, number: int) -> int:
        """Return when event `number` (from 0) is due."""
        return self.start_ns + round(number * self.interval_ns)

    def due(self, now_ns: int) -> int:
        """Return how many events are due by now."""
        if now_ns < self.start_ns:
            return 0
        return min(self.total, int((now_ns - self.start_ns) / self.interval_ns) + 1)


class _Spec(ctypes.Structure):
    """`struct itimerspec`: interval, first."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns")]


TFD_NONBLOCK = os.O_NONBLOCK
TFD_TIMER_ABSTIME = 1


class Ticker:
    """Wakes a task at a schedule's times, give or take 50 us.

    It uses a timerfd, which Python does not offer before 3.13. The timers of uvloop have a
    resolution of 1 ms, which would be most of what is measured here. A thread that sleeps would
    take the interpreter's lock from the loop whenever it wakes.
    """

    def __init__(self, schedule: Schedule) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK)
        every = max(MIN_INTERVAL_NS, round(schedule.interval_ns))
        spec = _Spec(*divmod(every, 10**9), *divmod(schedule.start_ns, 10**9))
        if self._fd < 0 or libc.timerfd_settime(
            self._fd, TFD_TIMER_ABSTIME, ctypes.byref(spec), None
        ):
            raise OSError(ctypes.get_errno(), "timerfd")
        self._wake = asyncio.Event()

    async def tick(self) -> None:
        """Wait for the next tick. Ticks that were missed count as one."""
        await self._wake.wait()
        self._wake.clear()

    def _ready(self) -> None:
        os.read(self._fd, 8)
        self._wake.set()

    def __enter__(self) -> Ticker:
        asyncio.get_running_loop().add_reader(self._fd, self._ready)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
