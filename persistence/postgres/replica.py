"""How far a read replica is behind, and the thread that looks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import pykka
import structlog

from persistence.errors import StoreError
from persistence.peek import is_to_stop
from persistence.postgres.connection import PostgresLink
from persistence.settings import PostgresSettings

_log = structlog.get_logger("persistence.replica")

LOOKS: Final = 5
"""How many looks there are in the time that the replica may be behind; at least one a second."""
_SAMPLES: Final = 1024
_SLICE_S: Final = 0.1
"""How long a stop waits at most."""

# The place up to which the log is flushed, since what is acknowledged is flushed. The place of the
# next record would not do: at the edge of a page no replica reaches it while nothing is written.
_FLUSHED: Final = "SELECT (pg_current_wal_flush_lsn() - '0/0')::int8"
_REPLAYED: Final = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::int8 END"
)


class ReplicaLag:
    """How far a replica is behind, at most, from samples of the primary and of the replica.

    A sample of the primary is a place in its log, and a time before it was asked for. A replica
    that has reached this place has everything that was acknowledged before this time. So only the
    clock of this process counts, and a replica that gets nothing more falls further and further
    behind, even if it has replayed all that it got.

    One thread takes samples and others read.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[int, float]] = deque(maxlen=_SAMPLES)
        self._as_of = float("-inf")

    def sampled(self, place: int, at_s: float) -> None:
        """The primary was at this place, at this time or later."""
        self._samples.append((place, at_s))

    def replayed(self, place: int) -> None:
        """The replica has reached this place."""
        while self._samples and self._samples[0][0] <= place:
            self._as_of = self._samples.popleft()[1]

    def unknown(self) -> None:
        """How far it is behind is not known: it does not answer, or is no replica."""
        self._samples.clear()
        self._as_of = float("-inf")

    def seconds(self) -> float:
        """Return how many seconds of acknowledged writes it may lack; infinite: not known."""
        return self._clock() - self._as_of


class ReplicaWatch(pykka.ThreadingActor):
    """Looks how far the replica of `settings.replica_url` is behind, again and again.

    Arguments:
        settings: the addresses of primary and replica, and how far it may be behind.
        lag: where it notes what it finds.
    """

    use_daemon_thread = True

    def __init__(self, settings: PostgresSettings, lag: ReplicaLag) -> None:
        super().__init__()
        self._lag = lag
        self._pause_s = min(1.0, settings.replica_lag_s / LOOKS)
        self._primary = PostgresLink(settings)
        self._replica = PostgresLink(settings, url=settings.replica_url)
        self._trouble = ""

    def on_start(self) -> None:
        self.actor_ref.tell(None)

    def on_stop(self) -> None:
        self._primary.close()
        self._replica.close()

    def on_failure(self, *_: Any) -> None:
        self.on_stop()

    def on_receive(self, message: Any) -> Any:
        """Look until another message comes."""
        if message is not None:
            return super().on_receive(message)
        while self.actor_inbox.empty():
            self._look()
            until = time.monotonic() + self._pause_s
            while self.actor_inbox.empty() and time.monotonic() < until:
                time.sleep(min(_SLICE_S, self._pause_s))
        if not is_to_stop(self.actor_inbox):
            self.actor_ref.tell(None)
        return None

    def _look(self) -> None:
        trouble = ""
        try:
            at_s = time.monotonic()
            flushed = _number(self._primary, _FLUSHED)
            assert flushed is not None
            self._lag.sampled(flushed, at_s)
            replayed = _number(self._replica, _REPLAYED)
            if replayed is None:
                self._lag.unknown()
                trouble = "it is no replica"
            else:
                self._lag.replayed(replayed)
        except StoreError as error:
            trouble = str(error)
        if trouble and not self._trouble:
            _log.warning("replica_not_seen", reason=trouble)
        self._trouble = trouble


def _number(link: PostgresLink, query: Any) -> int | None:
    row = link.run(lambda connection: connection.execute(query).fetchone())
    return row[0] if row else None
