"""The threads that run commands."""

from __future__ import annotations

import random
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import psycopg
from psycopg import errors, pq

from persistence.commands.answered import (
    Answered,
    Name,
    Ticket,
    answered_before,
    begin,
    forget,
    has_committed,
    remember,
)
from persistence.commands.kinds import CommandKind, CommandTable
from persistence.commands.transaction import Pushed, Transaction
from persistence.errors import CommandExpired, KeyReused, RowRefused, StoreUnavailable
from persistence.postgres import connection as postgres
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import unavailable
from persistence.requests import StoreCheck, StoreRequest
from persistence.settings import PostgresSettings, ScheduleSettings

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

_PASSING: Final = (errors.SerializationFailure, errors.DeadlockDetected)
_LOST: Final = (psycopg.OperationalError, psycopg.InterfaceError)
_OWN_FAULT: Final = (errors.ProgramLimitExceeded, errors.LockNotAvailable, errors.PipelineAborted)
"""A command's own, though of the class that a lost connection raises: too long for an index; or it
came after one of these."""
_ATTEMPTS: Final = 6
"""Of a batch that meets deadlocks. The pauses between them add up to about 0.3 s."""
_FIRST_PAUSE_S: Final = 0.01
_FORGET_EVERY_S: Final = 60.0
_FORGET_AT_ONCE: Final = 1000
"""Old answers, before a batch: more than one adds, so that they do not pile up. Some 5 ms."""
_ASK_STATUS_FOR_S: Final = 5.0
_PATIENCE: Final = "SET LOCAL lock_timeout TO '1s'"  # with a transaction that has not ended
_LOCKS_OF_COMMANDS: Final = 0x636D6473 << 32
"""Advisory locks are one space for the whole database: ours begin here."""


class Execute(StoreRequest, frozen=True, gc=False):
    """Run a command. Reply: `Done`, or what the command's function refuses or fails with.

    `user`: whose command it is; with the service and `key` what a retry is known by.
    `key`: of at most one command of this user (or `KeyReused`); None: a retry is another command.
    `expires_at`, in seconds of time.monotonic: then nobody waits for it any more, and if it has not
    begun it does not act (`CommandExpired`).
    """

    command: Any
    user: str
    key: str | None
    expires_at: float


class Done(msgspec.Struct, frozen=True, gc=False):
    """A command that has committed: its answer, and whether it had been given before."""

    answer: Any
    repeated: bool


class _Undo(Exception):  # noqa: N818 - not an error: the way out of a transaction
    """A command failed after it had written: all must be done again, each behind a savepoint."""


class CommandWorker(PostgresActor):
    """Runs what has queued up in one transaction, on a connection of its own.

    At first without savepoints, which cost as much as a command: nearly always all go well, or
    refuse before they have written. If one does not, the batch is rolled back and done again with
    a savepoint for each.

    Now and then it forgets what was answered longer ago than `settings.answers_s`.

    Arguments:
        pushed: called after a commit with the inboxes that have something new, in this thread.
        batch: commands of one transaction, at most.
        schedules: how many schedules commands may set, and how long ones.
        scheduled: called after a commit with the earliest time, in microseconds, that a schedule
            was set or moved to, in this thread.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        table: CommandTable,
        pushed: Callable[[Sequence[Pushed]], None] = lambda _: None,
        *,
        batch: int = 100,
        schedules: ScheduleSettings = ScheduleSettings(),  # noqa: B008 - frozen
        scheduled: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(settings)
        self.batch_weight = batch
        self._settings = settings
        self._table = table
        self._on_pushed = pushed
        self._schedules = schedules
        self._on_scheduled = scheduled
        self._rng = random.Random()
        self._forget_next_at = 0.0
        self._ticket = Ticket(uuid.uuid4().hex, 0)

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        self._forget_some()
        answers: dict[int, Any] = {}
        jobs: list[tuple[int, _Job]] = []
        for place, request in enumerate(requests):
            if isinstance(request, StoreCheck):
                self._link.run(lambda connection: connection.execute("SELECT 1"))
                answers[place] = None
            elif not isinstance(request, Execute):
                answers[place] = RowRefused(f"not for a worker of commands: {request}")
            elif request.expires_at <= time.monotonic():
                answers[place] = CommandExpired(type(request.command).__name__)
            else:
                try:
                    jobs.append((place, _Job(request, self._table.of(request.command))))
                except Exception as error:  # nothing runs it, or something of it has no encoding
                    answers[place] = error
        for (place, _), done in zip(jobs, self._run([job for _, job in jobs]), strict=True):
            answers[place] = done
        return [answers[place] for place in range(len(requests))]

    def _run(self, jobs: Sequence[_Job]) -> Sequence[Any]:
        """Answer each, in order; what goes wrong for all of them is raised."""
        guarded, attempt = False, 0
        while jobs:
            try:
                return self._transact(jobs, guarded=guarded)
            except _Undo:
                guarded = True
            except (*_PASSING, errors.UniqueViolation) as error:
                attempt += 1
                if attempt >= _ATTEMPTS or not _some_wait(jobs):
                    raise unavailable(error) from None
                time.sleep(self._rng.random() * _FIRST_PAUSE_S * 2**attempt)
            except errors.OutOfMemory as error:
                if len(jobs) == 1:
                    raise unavailable(error) from None
                return self._in_halves(jobs)  # PostgreSQL holds only so many locks
            except errors.QueryCanceled as error:  # it took longer than it may
                raise unavailable(error) from None
            except _LOST as error:
                self._link.close()
                attempt += 1
                if attempt >= _ATTEMPTS or not _some_wait(jobs):
                    raise unavailable(error) from None
            except psycopg.Error as error:
                raise unavailable(error) from None
        return []

    def _in_halves(self, jobs: Sequence[_Job]) -> Sequence[Any]:
        """What becomes of one half is no reason to forget the other, which may have committed."""
        outcomes: list[Any] = []
        for half in (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]):
            try:
                outcomes += self._run(half)
            except StoreUnavailable as error:
                outcomes += [error] * len(half)
        return outcomes

    def _transact(self, jobs: Sequence[_Job], *, guarded: bool) -> Sequence[Any]:
        connection = self._link.opened()
        self._ticket = self._ticket.next()
        transaction = Transaction(connection, self._schedules)
        batch = _Batch(connection, transaction, jobs, self._table.refusals, guarded=guarded)
        outcomes: Sequence[Any] = ()
        pushed: list[Pushed] = []
        about_to_commit = False
        try:
            with postgres.transaction(connection, self._settings, batch.first) as bracket:
                outcomes = batch.run(bracket.first)
                pushed = transaction.finish()
                last = remember(self._ticket, batch.answered)
                bracket.last = (*transaction.last_statements(), last)
                about_to_commit = True
        except _LOST:
            if not about_to_commit or not self._has_committed():
                raise
        if pushed:
            self._on_pushed(pushed)
        if transaction.earliest_us is not None:
            self._on_scheduled(transaction.earliest_us)
        return outcomes

    def _forget_some(self) -> None:
        now = time.monotonic()
        if now < self._forget_next_at:
            return
        self._forget_next_at = now + _FORGET_EVERY_S
        try:
            connection = self._link.opened()
            with postgres.transaction(connection, self._settings):
                older_than_s = self._settings.answers_s
                count = forget(connection, older_than_s=older_than_s, limit=_FORGET_AT_ONCE)
        except (psycopg.Error, StoreUnavailable):
            return  # what follows says it to those who wait
        if count == _FORGET_AT_ONCE:
            self._forget_next_at = now

    def _has_committed(self) -> bool:
        """Ask PostgreSQL what became of the last transaction, whose end was not heard.

        Raises `StoreUnavailable`: it cannot say in time.
        """
        until = time.monotonic() + _ASK_STATUS_FOR_S
        while True:
            self._link.close()
            try:
                connection = self._link.opened()
                with postgres.transaction(connection, self._settings):
                    connection.execute(_PATIENCE)
                    return has_committed(connection, self._ticket)
            except (psycopg.Error, StoreUnavailable) as error:
                if time.monotonic() > until:
                    reason = f"the end of a commit is not known: {error}"
                    raise StoreUnavailable("postgresql", reason) from None
            time.sleep(0.05)


class _Job:
    """One command of a batch."""

    __slots__ = ("command", "expires_at", "kind", "locks", "name", "request_hash")

    def __init__(self, request: Execute, kind: CommandKind) -> None:
        self.command = request.command
        self.kind = kind
        self.expires_at = request.expires_at
        self.locks: Sequence[int] = ()
        self.name: Name | None = None
        self.request_hash = b""
        if kind.locks is not None:
            self.locks = [_lock_number(name) for name in kind.locks(request.command)]
        if request.key is not None:
            self.name = Name(kind.service, request.user, request.key)
            self.name.check()
            self.request_hash = kind.hash(request.command)


def _lock_number(name: str) -> int:
    """Two names of one number only wait for one another without need."""
    return _LOCKS_OF_COMMANDS | zlib.crc32(name.encode("utf-8", "surrogatepass"))


def _ends_all(error: Exception) -> bool:
    """Whether it ends the whole transaction, whichever command met it."""
    return isinstance(error, (*_PASSING, *_LOST)) and not isinstance(error, _OWN_FAULT)


def _some_wait(jobs: Sequence[_Job]) -> bool:
    now = time.monotonic()
    return any(job.expires_at > now for job in jobs)


class _Batch:
    """The commands of one transaction, and what they came to."""

    def __init__(
        self,
        connection: psycopg.Connection,
        transaction: Transaction,
        jobs: Sequence[_Job],
        refusals: tuple[type[Exception], ...],
        *,
        guarded: bool,
    ) -> None:
        self.transaction = transaction
        self.answered: dict[Name, Answered] = {}
        self._connection = connection
        self._jobs = jobs
        self._refusals = refusals
        self._guarded = guarded
        self._names = [job.name for job in jobs if job.name is not None]
        locks = sorted({number for job in jobs for number in job.locks})
        self.first = begin(locks, self._names)
        """What is to be called when the transaction begins; None: nothing."""

    def run(self, found: PGresult) -> list[Any]:
        """An outcome for each job, in order: `Done`, or an exception for its asker.

        `found`: what the call `first` came to, if there is one.
        """
        jobs = self._jobs
        before = answered_before(found, self._names) if self._names else {}
        outcomes: list[Any] = [None] * len(jobs)
        first: dict[Name, int] = {}
        fresh: list[int] = []
        for place, job in enumerate(jobs):
            if job.name is None or (job.name not in before and job.name not in first):
                fresh.append(place)
                if job.name is not None:
                    first[job.name] = place
        self._run_fresh(fresh, outcomes)
        for place, job in enumerate(jobs):
            if outcomes[place] is None:
                assert job.name is not None
                outcomes[place] = self._again(job, before, first, outcomes)
        return outcomes

    def _run_fresh(self, places: Sequence[int], outcomes: list[Any]) -> None:
        waits_often = sum(self._jobs[place].kind.run_all is None for place in places) > 1
        if self._guarded or not waits_often:
            self._run_each(places, outcomes)
            return
        try:
            with self.transaction.pipelined():
                self._run_each(places, outcomes)
            self._check_not_failed()
        except _Undo:
            raise
        except Exception as error:
            if _ends_all(error):
                raise
            raise _Undo from error

    def _run_each(self, places: Sequence[int], outcomes: list[Any]) -> None:
        groups: dict[type, list[int]] = {}
        for place in places:
            if self._jobs[place].kind.run_all is not None:
                groups.setdefault(self._jobs[place].kind.command, []).append(place)
        for place in places:
            job = self._jobs[place]
            if job.kind.run_all is None:
                outcomes[place] = self._one(job)
            elif (group := groups.pop(job.kind.command, None)) is not None:
                found = self._all(job.kind, [self._jobs[other] for other in group])
                for other, outcome in zip(group, found, strict=True):
                    outcomes[other] = outcome

    def _again(
        self,
        job: _Job,
        before: dict[Name, Answered],
        first: dict[Name, int],
        outcomes: Sequence[Any],
    ) -> Any:
        """What a command is answered whose key has come before, in this batch or an older one."""
        assert job.name is not None
        earlier = before.get(job.name) or self.answered.get(job.name)
        if earlier is None:  # it was refused, in this very batch
            return outcomes[first[job.name]]
        if earlier.request_hash != job.request_hash:
            return KeyReused(job.name.key)
        return Done(job.kind.decode(earlier.answer), repeated=True)

    def _one(self, job: _Job) -> Any:
        run = job.kind.run
        assert run is not None
        with self._kept_apart() as outcome:
            outcome.value = self._done(job, run(self.transaction, job.command))
        return outcome.value

    def _all(self, kind: CommandKind, jobs: Sequence[_Job]) -> Sequence[Any]:
        run_all = kind.run_all
        assert run_all is not None
        with self._kept_apart() as outcome:
            found = run_all(self.transaction, [job.command for job in jobs])
            outcome.value = [
                answer if isinstance(answer, Exception) else self._done(job, answer)
                for job, answer in zip(jobs, found, strict=True)
            ]
        if not isinstance(outcome.value, Exception):
            done: Sequence[Any] = outcome.value
            return done
        if len(jobs) == 1:
            return [outcome.value]
        return [self._all(kind, [job])[0] for job in jobs]

    def _done(self, job: _Job, answer: Any) -> Done:
        if job.name is not None:
            self.answered[job.name] = Answered(job.request_hash, job.kind.encode(answer))
        return Done(answer, repeated=False)

    @contextmanager
    def _kept_apart(self) -> Iterator[_Outcome]:
        """Run one function: what it raises becomes its outcome, and nothing it wrote stays."""
        outcome = _Outcome()
        mark = self.transaction.mark()
        answered = len(self.answered)
        try:
            if self._guarded:
                with self._connection.transaction():  # a savepoint
                    yield outcome
                    self._check_not_failed()
            else:
                yield outcome
                self._check_not_failed()
        except Exception as error:
            if _ends_all(error):
                raise
            refused = isinstance(error, self._refusals)
            if not self._guarded and (self.transaction.wrote or not refused):
                raise _Undo from error
            self.transaction.back_to(mark)
            for name in list(self.answered)[answered:]:
                del self.answered[name]
            outcome.value = error

    def _check_not_failed(self) -> None:
        if self._connection.info.transaction_status is pq.TransactionStatus.INERROR:
            raise RuntimeError(
                "the command's function caught an error of PostgreSQL and went on, which it cannot:"
                " what it wrote before is gone"
            )


class _Outcome:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None
