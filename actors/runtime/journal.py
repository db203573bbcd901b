"""Group commit: the events of all actors of a node go to the store together."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import structlog
import trio

from .commit_queue import CommitOutcome, CommitQueue, Writer
from .errors import Fenced, JournalClosed, StoreBusy, Unstorable
from .future import Future
from .home import Home
from .journal_settings import JournalSettings, JournalStatistics
from .panic import ends_task, presentable, shown
from .stores import EventRow, EventStore, is_permanent

RESOLVE_AT_ONCE = 256
"""Futures resolved in a turn, while all goes well; a reply costs some 10 µs, so about 2.5 ms."""


def unix_us() -> int:
    """Return unix time in µs."""
    return time.time_ns() // 1000


class Journal:
    """While one append is on its way everything else queues, and then goes as the next batch.

    So the batch size follows the load by itself: an idle node commits a single event at once, a
    busy one hundreds at a time. In between, `pace_s` keeps commits from being small and many, as
    each has a cost of its own, whatever it holds. The store's failures are retried with back-off,
    in order, for as long as the journal runs; nothing is dropped. Home thread only.

    Arguments:
        store: where the events go.
        now_us: unix time in µs, stamped on each event.
        rng: for the jitter of the back-off.
        turn: entered before futures are resolved and left after: what their owners then do and
            send is done there and then.
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
        self._begun = -math.inf  # the last commit, in trio's time
        self._batch: list[EventRow] = []  # on its way to the store
        self._answer: Future[Any] | None = None  # the store's to the batch, to come
        self._failure: Exception | None = None  # which came in its place, and is to be dealt with
        self._durable: list[tuple[Future[Any], Any]] = []  # whose owners are not told yet
        self._attempt = 0  # how often the store has failed in a row
        self._failing_since = 0.0  # when it first did, in trio's time
        self._last_error: Exception | None = None
        self._nursery: trio.Nursery | None = None
        self._asleep = False
        self._held = False
        self._alarm = trio.lowlevel.ParkingLot()
        self._idle: trio.Event | None = None
        self._closed = False

    # The way in, called by persistent actors.

    async def settled(self, kind: str, key: str) -> None:
        """Wait until nothing of an earlier incarnation on this node is on its way to the store."""
        writer = self._writers.get((kind, key))
        if writer is not None and not writer.settled:
            done = trio.Event()
            writer.when_committed(writer.queued, done.set)
            await done.wait()

    def open(
        self,
        kind: str,
        key: str,
        *,
        epoch: int,
        seq: int,
        on_fenced: Callable[[], None] | None = None,
    ) -> Writer:
        """Let an incarnation append from seq + 1 on; the one before it has settled."""
        before = self._writers.get((kind, key))
        assert before is None or before.settled, "two incarnations append at once"
        writer = Writer(kind, key, epoch=epoch, seq=seq, on_fenced=on_fenced)
        self._writers[kind, key] = writer
        return writer

    def release(self, writer: Writer) -> None:
        """Forget an incarnation that ended, once all it has queued is durable."""
        writer.on_fenced = None
        writer.when_committed(writer.queued, lambda: self._forget(writer))

    def admit(self, writer: Writer, payload_bytes: int) -> None:
        """Check that an event may be queued now, before its owner applies it.

        Raises:
            Fenced: another incarnation owns the log.
            StoreBusy: a bound is reached.
        """
        if writer.fenced or self._closed or not self._queue.has_room(payload_bytes):
            self._refuse(writer)

    def append(self, writer: Writer, name: str, payload: bytes, reply: Any) -> Future[Any]:
        """Queue an admitted event; the future resolves to `reply` once it is durable."""
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

    # The way out. The task is there for what must be waited for: the time of the next commit, the
    # end of a back-off. A commit after a pause begins with the end of the turn that it comes from,
    # and the answer to it is dealt with where it arrives: two switches of tasks less.

    def __enter__(self) -> None:
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        if self._asleep and self._may_send():
            if self._is_time():
                self._send()
            else:
                self._wake()

    @trio.lowlevel.enable_ki_protection  # actors run in it, and a Ctrl-C is not for them
    async def run(self) -> None:
        """Commit batch after batch, until cancelled."""
        while True:
            with trio.CancelScope() as limit:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._watch, limit)
                    await self._work()
            if self._batch:
                self._answer = self._failure = None  # it may have come in this very pass
                too_slow = f"no answer in {self.settings.append_timeout_s} s"
                await self._failed(trio.TooSlowError(too_slow))

    @trio.lowlevel.enable_ki_protection
    async def _watch(self, limit: trio.CancelScope) -> None:
        """Cancel `limit` once an append takes too long.

        A scope for each append would cost 8 % of a send, a deadline that is moved for each 2 % of
        what a lone message costs.
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
                # Shielded: whoever asked for what is durable is told so, whatever happens.
                await trio.lowlevel.cancel_shielded_checkpoint()
                with self._turn:
                    self._tell_some()
            elif self._failure is not None:
                failure, self._failure = self._failure, None
                await self._failed(failure)
            elif self._may_send():
                await self._pace()
                if self._may_send():  # not closed meanwhile
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
        rows = self._batch = self._queue.take()
        self._answer = Future(self._home)
        try:
            coming = self.store.append(rows)
        except BaseException as error:
            self._answer.set_exception(presentable(error))
        else:
            # A future that is done already would have the next batch sent and answered within this
            # call.
            if isinstance(coming, Future) and not coming.done:
                self._answer = coming
            else:
                assert self._nursery is not None
                self._nursery.start_soon(_await_for, self._answer, coming)
        self._answer.when_done(self._arrived)

    def _arrived(self, answer: Future[Any]) -> None:
        if answer is not self._answer:
            return  # too late: the batch has been sent again
        self._answer = None
        error = answer.exception()
        if error is not None:
            assert isinstance(error, Exception)
            self._failure = error
            self._wake()
            return
        try:
            self._committed(answer.result())
        finally:  # also if a callback of an owner raises
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
            self._send()  # first, so that the store works while those who waited are told
        self._resolve(
            outcome, lambda: Fenced("another incarnation owns the log; the event is not in it")
        )

    async def _failed(self, error: Exception) -> None:
        """Put the batch back, to be tried again; not a row that no store will ever take."""
        while self._durable:
            self._tell_some()
        rows, self._batch = self._batch, []
        if len(rows) == 1 and is_permanent(error):
            self._give_up(rows[0], error)
            return
        self._queue.retry()
        if is_permanent(error):
            return  # each half at once, until the row is alone
        if not self._attempt:
            self._failing_since = trio.current_time()
        self._attempt += 1
        self._last_error = error
        await self._back_off(self._attempt, rows, error)

    async def drain(self) -> None:
        """Wait until everything queued so far and meanwhile is durable."""
        while self._queue.events:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def close(self) -> int:
        """Fail what is left with JournalClosed, refuse what comes; return how many were left."""
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
        """Return the counts; the record is the journal's own and goes on changing."""
        self._counts.waiting_events = self._queue.events
        self._counts.waiting_bytes = self._queue.bytes
        return self._counts

    def failing(self) -> str | None:
        """Return why nothing can be stored, if that has been so for `failing_after_s`; or None.

        A store may answer every question and yet take no event: its disk is full, or it is a
        replica. Then whoever waits for an acknowledgement waits in vain.
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
        # One line per attempt; the back-off bounds their rate to about one a second.
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
        # Its actor has applied it, and what it queued since builds on it: the same way out as for
        # a fenced one, back to what the log says.
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
            # Who was told has what comes of it lined up: this may be a callback of the store's
            # future. What they send then leaves with this turn; else the flusher would be woken.
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
    except BaseException as error:  # whatever a store raises means: try again
        if ends_task(error, task):
            raise
        future.set_exception(presentable(error))
