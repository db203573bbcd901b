"""`Batch`: runs the commands of one transaction."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import errors, pq

from persistence.commands.answered import Answered, CommandName, answered_before, opening_statement
from persistence.commands.kinds import CommandKind
from persistence.commands.requests import Done, Execute
from persistence.commands.transaction import Transaction
from persistence.errors import KeyReused
from persistence.postgres.connection import LOST

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

_OWN_FAULT: Final = (errors.ProgramLimitExceeded, errors.LockNotAvailable, errors.PipelineAborted)
"""Errors that are a command's fault, although they are of the class of a lost connection: a value
is too long for an index, a lock cannot be had, or a statement came after such an error."""
_LOCKS_OF_COMMANDS: Final = 0x636D6473 << 32
"""Advisory locks share one range of numbers in the whole database. Those of commands begin here."""


class Undo(Exception):  # noqa: N818 - not an error: the way out of a transaction
    """A command failed after it had written, so the batch must be done again with savepoints."""


class Job:
    """One command of a batch."""

    __slots__ = ("command", "expires_at", "kind", "locks", "name", "request_hash")

    def __init__(self, request: Execute, kind: CommandKind) -> None:
        self.command = request.command
        self.kind = kind
        self.expires_at = request.expires_at
        self.locks: Sequence[int] = ()
        self.name: CommandName | None = None
        self.request_hash = b""
        if kind.locks is not None:
            self.locks = [_lock_number(name) for name in kind.locks(request.command)]
        if request.key is not None:
            self.name = CommandName(kind.service, request.user, request.key)
            self.name.check()
            self.request_hash = kind.hash(request.command)


def _lock_number(name: str) -> int:
    """Return the number of a lock's name. Two names with the same number only wait needlessly."""
    return _LOCKS_OF_COMMANDS | zlib.crc32(name.encode("utf-8", "surrogatepass"))


def _ends_all(error: Exception) -> bool:
    """Return whether an error ends the whole transaction, and not just one command."""
    return isinstance(error, LOST) and not isinstance(error, _OWN_FAULT)


class Batch:
    """Runs the commands of one transaction.

    Arguments:
        connection: the connection.
        transaction: what the commands' functions are given.
        jobs: the commands.
        refusals: the types of exceptions with which a command refuses.
        guarded: whether each command has a savepoint of its own.

    Attributes:
        answered: the answers to commands with keys, by name.
        first: the statement to run when the transaction begins, if any.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        transaction: Transaction,
        jobs: Sequence[Job],
        refusals: tuple[type[Exception], ...],
        *,
        guarded: bool,
    ) -> None:
        self.transaction = transaction
        self.answered: dict[CommandName, Answered] = {}
        self._connection = connection
        self._jobs = jobs
        self._refusals = refusals
        self._guarded = guarded
        self._names = [job.name for job in jobs if job.name is not None]
        locks = sorted({number for job in jobs for number in job.locks})
        self.first = opening_statement(locks, self._names)

    def execute(self, found: PGresult) -> list[Any]:
        """Return an outcome for each job, in order: `Done`, or an exception for its asker.

        `found` is the result of the statement `first`, if there is one.
        """
        jobs = self._jobs
        before = answered_before(found, self._names) if self._names else {}
        outcomes: list[Any] = [None] * len(jobs)
        first: dict[CommandName, int] = {}
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
        except Undo:
            raise
        except Exception as error:
            if _ends_all(error):
                raise
            raise Undo from error

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
        job: Job,
        before: dict[CommandName, Answered],
        first: dict[CommandName, int],
        outcomes: Sequence[Any],
    ) -> Any:
        """Return the outcome of a command whose key was used in this batch or an older one."""
        assert job.name is not None
        earlier = before.get(job.name) or self.answered.get(job.name)
        if earlier is None:  # the first one was refused, in this very batch
            return outcomes[first[job.name]]
        if earlier.request_hash != job.request_hash:
            return KeyReused(job.name.key)
        return Done(job.kind.decode(earlier.answer), repeated=True)

    def _one(self, job: Job) -> Any:
        run = job.kind.run
        assert run is not None
        with self._kept_apart() as outcome:
            outcome.value = self._done(job, run(self.transaction, job.command))
        return outcome.value

    def _all(self, kind: CommandKind, jobs: Sequence[Job]) -> Sequence[Any]:
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

    def _done(self, job: Job, answer: Any) -> Done:
        if job.name is not None:
            self.answered[job.name] = Answered(job.request_hash, job.kind.encode(answer))
        return Done(answer, repeated=False)

    @contextmanager
    def _kept_apart(self) -> Iterator[_Outcome]:
        """Run one function. If it raises, that is its outcome, and nothing that it wrote stays."""
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
                raise Undo from error
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
