"""What can be set of a journal, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .checks import check_between, check_count, check_seconds, check_type
from .restart import Backoff

STORE_BACKOFF: Final = Backoff(first_s=0.05, factor=2.0, max_s=1.0, jitter=0.25)
"""Between attempts at a store: soon at first, for a broken connection, then about one a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    """Bounds and times of a journal.

    Attributes:
        max_events, max_bytes: what may wait for the store on this node; past it `persist` raises
            StoreBusy. At 20,000 events/s the default lasts 2.5 s without the store.
        max_batch_events, max_batch_bytes: one transaction. 500 rows reach 78,000 to 97,000 events/s
            on an idle machine; beyond 1,000 the first in the batch only waits for the last.
        pace_s: between the beginnings of two commits, at most 10 s; events that come meanwhile
            share the next, and nobody is answered before.
            0: none. A first event after a while is committed at once in any case. At 2,000 events/s
            2 ms took the CPU time for each from 338 us to 200, its commit from 1.2 ms to 2.9.
        append_timeout_s: how long one append may take before it is sent again.
        backoff: between attempts while the store is away.
        drain_s: how long a stopping system waits for what is queued.
        failing_after_s: after so long without a successful append, `Journal.failing` says so.

    Raises ValueError or TypeError for what makes no sense.
    """

    max_events: int = 50_000
    max_bytes: int = 64 * 1024 * 1024
    max_batch_events: int = 1_000
    max_batch_bytes: int = 8 * 1024 * 1024
    pace_s: float = 0.002
    append_timeout_s: float = 30.0
    backoff: Backoff = STORE_BACKOFF
    drain_s: float = 10.0
    failing_after_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("max_events", "max_bytes", "max_batch_events", "max_batch_bytes"):
            check_count(name, getattr(self, name), least=1)
        check_between("pace_s", self.pace_s, 0.0, 10.0)
        check_seconds("append_timeout_s", self.append_timeout_s, above_zero=True)
        check_type("backoff", self.backoff, Backoff)
        check_seconds("drain_s", self.drain_s)
        check_seconds("failing_after_s", self.failing_after_s)


@dataclass(slots=True)
class JournalStatistics:
    """Counts since the start, and what waits now."""

    committed: int = 0
    batches: int = 0
    retries: int = 0
    busy: int = 0
    fenced: int = 0
    largest_batch: int = 0
    waiting_events: int = 0
    waiting_bytes: int = 0
