"""Facts that several entities share: rows in PostgreSQL, changed by commands and read by queries.

Threads with a connection each run both. The caller gets a future of the answer. Pushes that
commands put into users' inboxes are given to a listener after the commit.
"""

from __future__ import annotations

import itertools
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from actors.runtime.future import Future
from actors.runtime.ref import ActorRef
from persistence.commands import Done, Execute, Pushed
from persistence.queries import AskQuery
from persistence.requests import StoreCheck

TIMEOUT_S: Final = 5.0
"""How long a command or a query may wait and run: as long as a client's request."""
WRITERS: Final = 100_000
"""So many users who have just written are remembered, for their next reads."""


class Pushes:
    """Tells listeners what commands have put into users' inboxes, after the commit."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[Sequence[Pushed]], None], ...] = ()

    def listen(self, told: Callable[[Sequence[Pushed]], None]) -> None:
        """Have `told` called after each commit, in a worker's thread. It must not wait or raise."""
        self._listeners = (*self._listeners, told)

    def committed(self, pushed: Sequence[Pushed]) -> None:
        """Tell every listener."""
        for told in self._listeners:
            told(pushed)


class Facts:
    """Runs commands and queries on the workers of a node.

    A future fails with a `RequestError` if the command or query was refused. It fails with a
    `persistence.StoreError`, or with an error of `ask`, if there was no answer.

    Attributes:
        from_replica: how many queries a replica has answered.
        not_from_replica: how many of those that may be late the primary has answered all the same.

    Arguments:
        commands: refs of `persistence.commands.CommandWorker` actors.
        queries: refs of `persistence.queries.QueryWorker` actors.
        replica: the ref of one that asks a read replica, if there is one.
        lag_s: how far that replica is behind.
        replica_lag_s: how far it may be.
        timeout_s: how long a command or a query may wait and run, in seconds.
    """

    def __init__(
        self,
        commands: Sequence[ActorRef],
        queries: Sequence[ActorRef],
        *,
        replica: ActorRef | None = None,
        lag_s: Callable[[], float] = lambda: 0.0,
        replica_lag_s: float = 0.0,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._replica = replica
        self._lag_s = lag_s
        self._replica_lag_s = replica_lag_s
        self._wrote: dict[str, float] = {}
        self.from_replica = 0
        self.not_from_replica = 0
        self._workers = (*commands, *queries)
        self._commands = commands
        self._queries = itertools.cycle(queries)
        self._timeout_s = timeout_s

    def execute(self, command: msgspec.Struct, *, user: str, key: str | None = None) -> Future[Any]:
        """Run a command. The future's answer comes once the command is committed.

        Commands of one user run in the order they were given.

        Arguments:
            command: a command of a kind that a service brings.
            user: the user who asks.
            key: an idempotency key. A command of the same service and user with the same key is a
                retry: it gets the first one's answer. None: every command runs.
        """
        request = Execute(command, user, key, time.monotonic() + self._timeout_s)
        place = zlib.crc32(user.encode("utf-8", "surrogatepass")) % len(self._commands)
        asked: Future[Any] = self._commands[place].ask(request, timeout=self._timeout_s)
        if self._replica is not None:
            self._note(user)
            asked.when_done(lambda _: self._note(user))  # also of one whose fate is not known
        return asked.map(_answer)

    def ask(self, query: msgspec.Struct) -> Future[Any]:
        """Run a query of a kind that a service brings."""
        request = AskQuery(query, time.monotonic() + self._timeout_s)
        asked: Future[Any] = next(self._queries).ask(request, timeout=self._timeout_s)
        return asked

    def ask_late(self, query: msgspec.Struct, user: str) -> Future[Any]:
        """Run a query whose answer may lack the last `replica_lag_s` seconds, but not what `user`
        has done by commands on this node.

        The replica is asked unless it is further behind, or the user has just written.
        """
        replica = self._replica
        if replica is None:
            return self.ask(query)
        lag_s = self._lag_s()
        if lag_s > self._replica_lag_s or self._has_written(user, lag_s):
            self.not_from_replica += 1
            return self.ask(query)
        request = AskQuery(query, time.monotonic() + self._timeout_s)
        answer: Future[Any] = Future()

        def asked(done: Future[Any]) -> None:
            if done.exception() is None:
                self.from_replica += 1
                answer.settle_quietly(done.result())
            else:  # it is away
                self.not_from_replica += 1
                answer.follow(self.ask(query))

        replica.ask(request, timeout=self._timeout_s).when_done(asked)
        return answer

    def _note(self, user: str) -> None:
        """Note that a user writes; and forget who has not for so long that every replica has it."""
        now_s = time.monotonic()
        self._wrote.pop(user, None)
        self._wrote[user] = now_s
        while self._wrote:
            first = next(iter(self._wrote))
            if self._wrote[first] > now_s - self._replica_lag_s and len(self._wrote) <= WRITERS:
                break
            del self._wrote[first]

    def _has_written(self, user: str, lag_s: float) -> bool:
        wrote_s = self._wrote.get(user)
        return wrote_s is not None and wrote_s >= time.monotonic() - lag_s

    async def ping(self) -> None:
        """Return if commands can be run and queries answered now."""
        for asked in [
            worker.ask(StoreCheck(), timeout=self._timeout_s) for worker in self._workers
        ]:
            await asked


def storable(key: str | None) -> str | None:
    """Return a client's idempotency key as PostgreSQL can hold it.

    Its text has no NUL. A key with one becomes hexadecimal digits, and longer than any key of a
    client is, so that it is no other one's.
    """
    if key is None or "\0" not in key:
        return key
    return key.encode().hex().ljust(65, "-")


def _answer(done: Done) -> Any:
    return done.answer
