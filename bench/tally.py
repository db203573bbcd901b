"""What a generator process counts, and the form in which it hands the counts to its parent."""

from __future__ import annotations

import sys
import time
from collections import Counter

import msgspec

from bench.histogram import LatencyHistogram


class Counted(msgspec.Struct, frozen=True):
    """One series of events, without those of the warm-up."""

    expected: int
    """Events that were scheduled within the measured time."""
    done: int
    """Those of the expected events that ended."""
    in_window: int
    """Events that ended within the measured time, whenever they were scheduled."""
    latencies: dict[int, int]
    """Bucket of `bench.histogram` -> count."""


class Counts(msgspec.Struct, frozen=True):
    """Everything that one process counted."""

    series: dict[str, Counted]
    errors: dict[str, int]
    cpu_s: float
    late: dict[int, int]
    """How long after its scheduled time each event began, as bucket -> count.

    The generator itself causes these delays.
    """
    gauges: dict[str, float] = {}


class Series:
    """One kind of event. Scheduled times are of CLOCK_MONOTONIC, in ns."""

    __slots__ = ("done", "expected", "from_ns", "histogram", "in_window", "to_ns")

    def __init__(self, from_ns: int, to_ns: int) -> None:
        self.from_ns, self.to_ns = from_ns, to_ns
        self.expected = self.done = self.in_window = 0
        self.histogram = LatencyHistogram()

    def expect(self, scheduled_ns: int, count: int = 1) -> None:
        """Count `count` events that are scheduled for that time."""
        if self.from_ns <= scheduled_ns < self.to_ns:
            self.expected += count

    def end(self, scheduled_ns: int) -> None:
        """Count the end, just now, of an event that was scheduled for that time."""
        now = time.monotonic_ns()
        if self.from_ns <= now < self.to_ns:
            self.in_window += 1
        if self.from_ns <= scheduled_ns < self.to_ns:
            self.done += 1
            self.histogram.record((now - scheduled_ns) // 1000)

    def note(self, value_us: int) -> None:
        """Count a value that is not measured from a schedule, for example a jitter."""
        if self.from_ns <= time.monotonic_ns() < self.to_ns:
            self.expected += 1
            self.done += 1
            self.in_window += 1
            self.histogram.record(value_us)

    @property
    def missing(self) -> int:
        return self.expected - self.done


class Tally:
    """All series of a process."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.errors: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.late = Series(sys.maxsize, sys.maxsize)
        self.last_payload = b""
        """The last broadcast that came to a client of this process."""
        self.last_due_ns = 0
        """When that broadcast was due."""
        self.over = False
        """Whether counting is over: a connection that ends now is no error."""
        self.placed = 0
        """Clients in place so far, before the load begins."""
        self._window = (sys.maxsize, sys.maxsize)
        self._cpu_s = 0.0

    def __getitem__(self, name: str) -> Series:
        """Return the series of that name; the first call makes it."""
        if name not in self.series:
            self.series[name] = Series(*self._window)
        return self.series[name]

    def open(self, from_ns: int, to_ns: int) -> None:
        """Set the measured time: from `from_ns` to `to_ns` of CLOCK_MONOTONIC."""
        self._window = (from_ns, to_ns)
        self._cpu_s = time.process_time()
        for series in (*self.series.values(), self.late):
            series.from_ns, series.to_ns = from_ns, to_ns

    @property
    def missing(self) -> int:
        return sum(max(0, series.missing) for series in self.series.values())

    def counts(self) -> Counts:
        return Counts(
            series={
                name: Counted(one.expected, one.done, one.in_window, one.histogram.sparse())
                for name, one in self.series.items()
            },
            errors=dict(self.errors),
            cpu_s=time.process_time() - self._cpu_s,
            late=self.late.histogram.sparse(),
            gauges=self.gauges,
        )
