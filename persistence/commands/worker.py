"""`CommandWorker`: a thread that runs commands."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
from psycopg import errors

from persistence.commands.answered import Ticket, forget, has_committed, remember
from persistence.commands.batch import Batch, Job, Undo
from persistence.commands.kinds import CommandTable
from persistence.commands.requests import Execute
from persistence.commands.transaction import Pushed, Transaction
from persistence.errors import CommandExpired, RowRefused, StoreUnavailable
from persistence.postgres import connection as postgres
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import LOST, STORE, unavailable
from persistence.requests import StoreCheck, StoreRequest
from persistence.settings import PostgresSettings, ScheduleSettings

_PASSING: Final = (errors.SerializationFailure, errors.DeadlockDetected)
_ATTEMPTS: Final = 6
"""How often a batch is tried if it meets deadlocks. The pauses add up to about 0.3 s."""
_FIRST_PAUSE_S: Final = 0.01
_FORGET_EVERY_S: Final = 60.0
_FORGET_AT_ONCE: Final = 1000
"""How many old answers are deleted before a batch, in some 5 ms.

A batch adds fewer, so they do not pile up.
"""
_ASK_STATUS_FOR_S: Final = 5.0
_PATIENCE: Final = "SET LOCAL lock_timeout TO '1s'"  # for a transaction that has not ended yet


class CommandWorker(PostgresActor):
    """Runs the commands that have queued up in one transaction, on a connection of its own.

    The batch is run without savepoints first, as they cost as much as a command, and nearly always
    all commands succeed, or refuse before they have written. If one does not, the batch is rolled
    back and done again with a savepoint for each command.

    From time to time it deletes answers that are older than `settings.answers_s`.

    Arguments:
        settings: where the database is.
        table: the kinds of commands.
        pushed: called after a commit, in this thread, with the inboxes that have new entries.
        batch: how many commands one transaction may have.
        schedules: the limits on the schedules that commands set.
        scheduled: called after a commit, in this thread, with the earliest time, in microseconds,
            to which a schedule was set or moved.
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
        jobs: list[tuple[int, Job]] = []
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
                    jobs.append((place, Job(request, self._table.of(request.command))))
                except Exception as error:  # nothing runs it, or it cannot be encoded
                    answers[place] = error
        for (place, _), done in zip(jobs, self._run([job for _, job in jobs]), strict=True):
            answers[place] = done
        return [answers[place] for place in range(len(requests))]

    def _run(self, jobs: Sequence[Job]) -> Sequence[Any]:
        """Return the outcomes of all jobs, in order. Raises an error that concerns all of them."""
        guarded, attempt = False, 0
        while jobs:
            try:
                return self._transact(jobs, guarded=guarded)
            except Undo:
                guarded = True
            except (*_PASSING, errors.UniqueViolation) as error:
                attempt += 1
                if attempt >= _ATTEMPTS or not _some_wait(jobs):
                    raise unavailable(error) from None
                time.sleep(self._rng.random() * _FIRST_PAUSE_S * 2**attempt)
            except errors.OutOfMemory as error:
                if len(jobs) == 1:
                    raise unavailable(error) from None
                return self._in_halves(jobs)  # PostgreSQL has no room for so many locks
            except errors.QueryCanceled as error:  # it took longer than `statement_timeout_s`
                raise unavailable(error) from None
            except LOST as error:
                self._link.close()
                attempt += 1
                if attempt >= _ATTEMPTS or not _some_wait(jobs):
                    raise unavailable(error) from None
            except psycopg.Error as error:
                raise unavailable(error) from None
        return []

    def _in_halves(self, jobs: Sequence[Job]) -> Sequence[Any]:
        """Run the jobs in two transactions. If one fails, the other's outcomes still count."""
        outcomes: list[Any] = []
        for half in (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]):
            try:
                outcomes += self._run(half)
            except StoreUnavailable as error:
                outcomes += [error] * len(half)
        return outcomes

    def _transact(self, jobs: Sequence[Job], *, guarded: bool) -> Sequence[Any]:
        connection = self._link.opened()
        self._ticket = self._ticket.next()
        transaction = Transaction(connection, self._schedules)
        batch = Batch(connection, transaction, jobs, self._table.refusals, guarded=guarded)
        outcomes: Sequence[Any] = ()
        pushed: list[Pushed] = []
        about_to_commit = False
        try:
            with postgres.transaction(connection, self._settings, batch.first) as bracket:
                outcomes = batch.execute(bracket.first)
                pushed = transaction.finish()
                last = remember(self._ticket, batch.answered)
                bracket.last = (*transaction.last_statements(), last)
                about_to_commit = True
        except LOST:
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
            return  # the batch that follows will report the error to its askers
        if count == _FORGET_AT_ONCE:
            self._forget_next_at = now

    def _has_committed(self) -> bool:
        """Ask PostgreSQL whether the last transaction, whose answer was lost, has committed.

        Raises `StoreUnavailable` if it does not answer in time.
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
                    raise StoreUnavailable(STORE, reason) from None
            time.sleep(0.05)


def _some_wait(jobs: Sequence[Job]) -> bool:
    now = time.monotonic()
    return any(job.expires_at > now for job in jobs)
