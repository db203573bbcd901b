"""The settings and the statistics of a journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .checks import check_between, check_count, check_seconds, check_type
from .restart import Backoff

STORE_BACKOFF: Final = Backoff(first_s=0.05, factor=2.0, max_s=1.0, jitter=0.25)
"""The pause between attempts at a store.

The second attempt comes soon, since it may only need a new connection; later ones come about once a
second.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    """Bounds and times of a journal.

    Attributes:
        max_events, max_bytes: how much may wait for the store on this node. Beyond that `persist`
            raises StoreBusy. At 20,000 events/s the default lasts for 2.5 s without the store.
        max_batch_events, max_batch_bytes: how much one transaction may hold. With 500 events each,
            a store reaches 78,000 to 97,000 events/s on an idle machine. Beyond 1,000, the first
            event of a batch only waits longer for the last.
        pace_s: the least time between the beginnings of two commits, from 0 to 10 s. Events that
            come meanwhile share the next commit, and their askers wait for it. The first event
            after a pause is committed at once. At 2,000 events/s, 2 ms lowered the CPU time of an
            event from 338 us to 200, and raised its time to commit from 1.2 ms to 2.9.
        append_timeout_s: how long one append may take before it is sent again.
        backoff: the pause between attempts while the store is away.
        drain_s: how long a stopping system waits until the queued events are written.
        failing_after_s: after this time without a successful append, `Journal.failing` reports it.

    Raises ValueError or TypeError for a setting that makes no sense.
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
    """Counts of a journal since its start.

    Attributes:
        committed: events that became durable.
        batches: appends that succeeded.
        retries: appends that failed and were tried again.
        busy: events that were refused because too much waited.
        fenced: incarnations that had lost their log to another.
        largest_batch: events in the largest batch.
        waiting_events, waiting_bytes: what waits now, the batch on its way included.
    """

    committed: int = 0
    batches: int = 0
    retries: int = 0
    busy: int = 0
    fenced: int = 0
    largest_batch: int = 0
    waiting_events: int = 0
    waiting_bytes: int = 0
