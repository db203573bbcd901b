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
from persistence.queries import Ask
from persistence.requests import StoreCheck

TIMEOUT_S: Final = 5.0
"""How long a command or a query may wait and run: as long as a client's request."""


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

    Arguments:
        commands: refs of `persistence.commands.CommandWorker` actors.
        queries: refs of `persistence.queries.QueryWorker` actors.
        timeout_s: how long a command or a query may wait and run, in seconds.
    """

    def __init__(
        self,
        commands: Sequence[ActorRef],
        queries: Sequence[ActorRef],
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._workers = (*commands, *queries)
        self._commands = commands
        self._queries = itertools.cycle(queries)
        self._timeout_s = timeout_s

    def run(self, command: msgspec.Struct, *, user: str, key: str | None = None) -> Future[Any]:
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
        return asked.map(_answer)

    def ask(self, query: msgspec.Struct) -> Future[Any]:
        """Run a query of a kind that a service brings."""
        request = Ask(query, time.monotonic() + self._timeout_s)
        asked: Future[Any] = next(self._queries).ask(request, timeout=self._timeout_s)
        return asked

    async def ping(self) -> None:
        """Return if commands can be run and queries answered now."""
        for asked in [
            worker.ask(StoreCheck(), timeout=self._timeout_s) for worker in self._workers
        ]:
            await asked


def _answer(done: Done) -> Any:
    return done.answer
