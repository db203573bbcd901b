"""`Journal`: group commit, which writes the events of all actors of a node together."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NoReturn

import structlog
import trio

from .commit_queue import CommitOutcome, CommitQueue, Which, Writer, everyone
from .errors import Fenced, JournalClosed, StoreBusy, Unstorable
from .future import Future
from .home import Home
from .journal_settings import JournalSettings, JournalStatistics
from .panic import ends_task, presentable, shown
from .stores import EventRow, EventStore, is_permanent

RESOLVE_AT_ONCE = 256
"""How many futures are settled in one turn.

A reply costs some 10 µs, so a turn takes about 2.5 ms.
"""


def unix_us() -> int:
    """Return unix time in µs."""
    return time.time_ns() // 1000


class Journal:
    """Writes events to the store in batches. While one batch is on its way, the next one gathers.

    So the size of a batch follows the load: an idle node commits a single event at once, and a busy
    node commits hundreds at a time. `pace_s` avoids many small commits in between, because each
    commit has a fixed cost. Failed batches are retried with back-off, in order, for as long as the
    journal runs; no event is dropped. A journal is used in the home thread only.

    Arguments:
        store: where the events go.
        settings: see `JournalSettings`.
        now_us: returns the unix time in µs that is stored with each event.
        rng: for the jitter of the back-off.
        turn: entered while futures are settled, so that the actors they wake run at once.
    """

    def __init__(
        self,
        store: EventStore,
        settings: JournalSettings | None = None,
        *,
        now_us: Callable[[], int] = unix_us,
        rng: random.Random | None = None,
        turn: AbstractContextManager[None] | None = None,
    ) -> None:
        self.store = store
        self.settings = settings = settings or JournalSettings()
        self._home = Home.current()
        self._now_us = now_us
        self._rng = rng or random.Random()
        self._turn = turn or nullcontext()
        self._log = structlog.get_logger("actors.journal")
        self._queue: CommitQueue[tuple[Future[Any], Any]] = CommitQueue(
            max_events=settings.max_events,
            max_bytes=settings.max_bytes,
            max_batch_events=settings.max_batch_events,
            max_batch_bytes=settings.max_batch_bytes,
        )
        self._writers: dict[tuple[str, str], Writer] = {}
        self._counts = JournalStatistics()
        self._begun = -math.inf  # when the last commit began, by trio's clock
        self._batch: list[EventRow] = []  # on its way to the store
        self._answer: Future[Any] | None = None  # the store's answer to the batch
        self._failure: Exception | None = None  # the store's error, until `_work` deals with it
        self._durable: list[tuple[Future[Any], Any]] = []  # futures (and replies) to be settled
        self._attempt = 0  # how often the store has failed in a row
        self._failing_since = 0.0  # when it failed first, by trio's clock
        self._last_error: Exception | None = None
        self._nursery: trio.Nursery | None = None
        self._asleep = False
        self._held = False
        self._alarm = trio.lowlevel.ParkingLot()
        self._idle: trio.Event | None = None
        self._closed = False

    # --- events in, from persistent actors -------------------------------------------------------

    @property
    def writers(self) -> Mapping[tuple[str, str], Writer]:
        """(kind, key) -> the incarnation that may append, or whose last events are on their way."""
        return MappingProxyType(self._writers)

    async def settled(self, kind: str, key: str) -> None:
        """Wait until no event of an earlier incarnation on this node is on its way to the store."""
        writer = self._writers.get((kind, key))
        if writer is not None and not writer.settled:
            done = trio.Event()
            writer.when_committed(writer.queued, done.set)
            await done.wait()

    async def all_settled(self, which: Which = everyone) -> None:
        """Wait until all that is queued now by the actors `which` picks is durable, or refused."""
        queued = [
            (writer, writer.queued)
            for name, writer in self._writers.items()
            if not writer.settled and which(*name)
        ]
        for writer, seq in queued:
            done = trio.Event()
            writer.when_committed(seq, done.set)
            await done.wait()

    def open_writer(
        self,
        kind: str,
        key: str,
        *,
        epoch: int,
        seq: int,
        on_fenced: Callable[[], None] | None = None,
    ) -> Writer:
        """Let an incarnation append events from `seq` + 1 on. The one before it must have settled.

        `on_fenced` is called if another incarnation turns out to own the log.
        """
        before = self._writers.get((kind, key))
        assert before is None or before.settled, "two incarnations append at once"
        writer = Writer(kind, key, epoch=epoch, seq=seq, on_fenced=on_fenced)
        self._writers[kind, key] = writer
        return writer

    def release(self, writer: Writer) -> None:
        """Forget an incarnation that has ended, once all events that it queued are durable."""
        writer.on_fenced = None
        writer.when_committed(writer.queued, lambda: self._forget(writer))

    def admit(self, writer: Writer, payload_bytes: int) -> None:
        """Check that an event may be queued now. The owner calls this before it applies the event.

        Raises:
            Fenced: another incarnation owns the log.
            StoreBusy: too much waits already, or the node is stopping.
        """
        if writer.fenced or self._closed or not self._queue.has_room(payload_bytes):
            self._refuse(writer)

    def queue_event(self, writer: Writer, name: str, payload: bytes, reply: Any) -> Future[Any]:
        """Queue an event that `admit` has let pass.

        Returns a future that is set to `reply` once the event is durable.
        """
        future: Future[Any] = Future(self._home)
        row = (
            writer.kind,
            writer.key,
            writer.queued + 1,
            writer.epoch,
            name,
            payload,
            self._now_us(),
        )
        self._queue.add(row, writer, (future, reply))
        if not self._held:
            self._wake()
        return future

    # --- batches out, to the store ---------------------------------------------------------------

    # The task of `run` is only for waiting: for the time of the next commit, and for the end of a
    # back-off. The first commit after a pause is sent at the end of the turn that queued its
    # events, and the answer is handled in the callback that brings it. That saves two task
    # switches.

    def __enter__(self) -> None:
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        if self._asleep and self._may_send():
            if self._is_time():
                self._send()
            else:
                self._wake()

    @trio.lowlevel.enable_ki_protection  # actors run in this task, and a Ctrl-C is not for them
    async def run(self) -> None:
        """Commit batch after batch, until cancelled."""
        while True:
            with trio.CancelScope() as limit:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._watch, limit)
                    await self._work()
            if self._batch:
                self._answer = self._failure = None  # one may have come in this very pass
                too_slow = f"no answer in {self.settings.append_timeout_s} s"
                await self._failed(trio.TooSlowError(too_slow))

    @trio.lowlevel.enable_ki_protection
    async def _watch(self, limit: trio.CancelScope) -> None:
        """Cancel `limit` once an append takes too long.

        One task watches all appends because a cancel scope for each would cost 8 % of a room's
        send, and moving a deadline for each 2 %.
        """
        longest_s = self.settings.append_timeout_s
        while True:
            now = trio.current_time()
            due = (now if self._answer is None else self._begun) + longest_s
            if due <= now:
                limit.cancel()
            await trio.sleep_until(due)

    async def _work(self) -> None:
        """Commit batch after batch, until an append takes too long."""
        while True:
            if self._durable:
                # Shielded: the owners of durable events must be told, even if this task is
                # cancelled.
                await trio.lowlevel.cancel_shielded_checkpoint()
                with self._turn:
                    self._tell_some()
            elif self._failure is not None:
                failure, self._failure = self._failure, None
                await self._failed(failure)
            elif self._may_send():
                await self._pace()
                if self._may_send():  # it may have been closed meanwhile
                    self._send()
            else:
                await self._sleep()

    def _may_send(self) -> bool:
        return bool(self._queue.events) and not self._batch

    def _is_time(self) -> bool:
        return (
            trio.current_time() >= self._begun + self.settings.pace_s
            or self._queue.events >= self.settings.max_batch_events
        )

    def _send(self) -> None:
        """Hand the store the next batch."""
        self._begun = trio.current_time()
        rows = self._batch = self._queue.next_batch()
        self._answer = Future(self._home)
        try:
            coming = self.store.append(rows)
        except BaseException as error:
            self._answer.set_exception(presentable(error))
        else:
            # A future that is done already must not be used directly: its callback would send the
            # next batch within this call.
            if isinstance(coming, Future) and not coming.done:
                self._answer = coming
            else:
                assert self._nursery is not None
                self._nursery.start_soon(_await_for, self._answer, coming)
        self._answer.when_done(self._arrived)

    def _arrived(self, answer: Future[Any]) -> None:
        if answer is not self._answer:
            return  # this answer came too late: the batch has been sent again
        self._answer = None
        error = answer.exception()
        if error is not None:
            assert isinstance(error, Exception)
            self._failure = error
            self._wake()
            return
        try:
            self._committed(answer.result())
        finally:  # even if a callback of an owner raises
            if self._durable or self._may_send() or self._idle is not None:
                self._wake()

    def _committed(self, fenced: Sequence[tuple[str, str]]) -> None:
        self._counts.batches += 1
        self._counts.largest_batch = max(self._counts.largest_batch, len(self._batch))
        self._batch = []
        if self._attempt:
            self._log.info("event_store_is_back", attempts=self._attempt)
            self._attempt = 0
            self._last_error = None
        outcome = self._queue.commit(fenced)
        self._durable += outcome.durable
        if self._may_send() and self._is_time():
            self._send()  # before the owners are told, so that the store works meanwhile
        self._resolve(
            outcome, lambda: Fenced("another incarnation owns the log; the event is not in it")
        )

    async def _failed(self, error: Exception) -> None:
        """Put the batch back to be tried again, unless it is one event that no store can take."""
        while self._durable:
            self._tell_some()
        rows, self._batch = self._batch, []
        if len(rows) == 1 and is_permanent(error):
            self._give_up(rows[0], error)
            return
        self._queue.retry()
        if is_permanent(error):
            return  # try halves without a pause, until the event that cannot be stored is alone
        if not self._attempt:
            self._failing_since = trio.current_time()
        self._attempt += 1
        self._last_error = error
        await self._back_off(self._attempt, rows, error)

    async def drain(self) -> None:
        """Wait until no event waits any more, including those that are queued meanwhile."""
        while self._queue.events:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def close(self) -> int:
        """Fail the events that are left with JournalClosed, and return how many they were.

        From then on `admit` refuses every event.
        """
        self._closed = True
        while self._durable:
            self._tell_some()
        left = self._queue.clear()
        for future, _ in left:
            error = JournalClosed("the system stopped before the event was known to be durable")
            future.settle_quietly(error=error)
        for writer in list(self._writers.values()):
            writer.fenced, writer.queued = True, writer.committed
            for callback in writer.ready():
                callback()
        return len(left)

    def statistics(self) -> JournalStatistics:
        """Return the counts. The journal goes on changing the record that it returns."""
        self._counts.waiting_events = self._queue.events
        self._counts.waiting_bytes = self._queue.bytes
        return self._counts

    def failing(self) -> str | None:
        """Return why no event can be stored, if that has lasted for `failing_after_s`; else None.

        A store may answer queries and yet take no event, because its disk is full or it is a
        replica. A node in this state is not healthy: whoever waits for an acknowledgement waits in
        vain.
        """
        if self._last_error is None:
            return None
        failing_s = trio.current_time() - self._failing_since
        if failing_s < self.settings.failing_after_s:
            return None
        return f"nothing stored for {failing_s:.0f} s: {shown(self._last_error, str)}"

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._alarm.unpark()

    async def _sleep(self) -> None:
        if self._idle is not None and not self._queue.events:
            self._idle.set()
            self._idle = None
        self._asleep = True
        try:
            await self._alarm.park()
        finally:
            self._asleep = False

    async def _pace(self) -> None:
        if not self._is_time():
            await trio.sleep_until(self._begun + self.settings.pace_s)

    async def _back_off(self, attempt: int, rows: list[EventRow], error: Exception) -> None:
        self._counts.retries += 1
        delay_s = self.settings.backoff.delay_s(attempt + 1, self._rng)
        # Every attempt is logged; the back-off keeps that to about one line a second.
        self._log.warning(
            "event_store_failed",
            error=shown(error),
            attempt=attempt,
            retry_in_s=round(delay_s, 3),
            rows=len(rows),
            first=f"{rows[0][0]}/{rows[0][1]}#{rows[0][2]}",
            waiting=self._queue.events,
        )
        await trio.sleep(delay_s)

    def _give_up(self, row: EventRow, error: Exception) -> None:
        self._log.error(
            "event_unstorable",
            kind=row[0],
            key=row[1],
            seq=row[2],
            type=row[4],
            error=shown(error),
        )
        # The actor has applied the event, and its later events build on it. So the actor is treated
        # like a fenced one: it ends, and recovers from what the log holds.
        outcome = self._queue.commit([(row[0], row[1])])
        self._resolve(
            outcome, lambda: Unstorable(f"the event store can never hold it: {shown(error, str)}")
        )

    def _resolve(
        self, outcome: CommitOutcome[tuple[Future[Any], Any]], refusal: Callable[[], Exception]
    ) -> None:
        durable, refused, fenced, advanced = outcome
        self._counts.committed += len(durable)
        with self._turn:
            for writer in fenced:
                self._fence(writer)
            for future, _ in refused:
                future.settle_quietly(error=refusal())
            for writer in advanced:
                for callback in writer.ready():
                    callback()
            self._tell_some()
            # If this is a callback of the store's future, the owners' callbacks are lined up. Call
            # them before the turn ends, so that what the owners send leaves with it; else the
            # flusher would have to be woken.
            self._home.call_callbacks()

    def _tell_some(self) -> None:
        now, self._durable = self._durable[:RESOLVE_AT_ONCE], self._durable[RESOLVE_AT_ONCE:]
        for future, reply in now:
            future.settle_quietly(reply)

    def _fence(self, writer: Writer) -> None:
        self._counts.fenced += 1
        self._log.error(
            "fenced",
            kind=writer.kind,
            key=writer.key,
            epoch=writer.epoch,
            committed=writer.committed,
        )
        for callback in writer.ready():
            callback()
        if writer.on_fenced is not None:
            writer.on_fenced()

    def _forget(self, writer: Writer) -> None:
        if self._writers.get((writer.kind, writer.key)) is writer:
            del self._writers[writer.kind, writer.key]

    def _refuse(self, writer: Writer) -> NoReturn:
        if self._closed:
            raise StoreBusy("the node is stopping")
        if writer.fenced:
            raise Fenced("another incarnation owns the log; nothing was applied")
        self._counts.busy += 1
        raise StoreBusy(
            f"{self._queue.events} events ({self._queue.bytes} bytes) wait for the event store"
        )


async def _await_for(future: Future[Any], coming: Awaitable[Any]) -> None:
    task = trio.lowlevel.current_task()
    try:
        future.set(await coming)
    except BaseException as error:  # whatever a store raises, the batch is tried again
        if ends_task(error, task):
            raise
        future.set_exception(presentable(error))
