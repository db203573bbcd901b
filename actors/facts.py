"""Facts that several entities share: rows, changed by commands and read by queries.

Both are asked of threads with a connection to PostgreSQL each, and answered with a future. What
commands have put into users' inboxes is told to whoever listens.
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
from persistence.commands import Pushed
from persistence.commands.worker import Done, Execute
from persistence.queries import Ask
from persistence.requests import Ping

TIMEOUT_S: Final = 5.0
"""How long a command or a query may wait and run: as long as a client's request."""


class Pushes:
    """Tells that commands have put something into users' inboxes, once that is committed."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[Sequence[Pushed]], None], ...] = ()

    def listen(self, told: Callable[[Sequence[Pushed]], None]) -> None:
        """Have `told` called, in a worker's thread: it must neither wait nor raise."""
        self._listeners = (*self._listeners, told)

    def committed(self, pushed: Sequence[Pushed]) -> None:
        """Tell."""
        for told in self._listeners:
            told(pushed)


class Facts:
    """Runs commands and queries on the workers of a node.

    What either future fails with is what refused it, a `RequestError`; or what kept it from being
    answered: a `persistence.StoreError`, or what an ask raises.

    Arguments:
        commands: the actors of `persistence.commands.CommandWorker`s.
        queries: the actors of `persistence.queries.QueryWorker`s.
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
        """Run a command; those of one user run in the order they came. Its answer is durable.

        Arguments:
            command: of a kind that a service brings.
            user: whose command it is; with its service and `key` what a retry is known by.
            key: of at most one command of this user; None: a retry is another command.
        """
        request = Execute(command, user, key, time.monotonic() + self._timeout_s)
        place = zlib.crc32(user.encode("utf-8", "surrogatepass")) % len(self._commands)
        asked: Future[Any] = self._commands[place].ask(request, timeout=self._timeout_s)
        return asked.map(_answer)

    def ask(self, query: msgspec.Struct) -> Future[Any]:
        """Have a query answered."""
        request = Ask(query, time.monotonic() + self._timeout_s)
        asked: Future[Any] = next(self._queries).ask(request, timeout=self._timeout_s)
        return asked

    async def ping(self) -> None:
        """Return if commands can be run and queries answered now."""
        for asked in [worker.ask(Ping(), timeout=self._timeout_s) for worker in self._workers]:
            await asked


def _answer(done: Done) -> Any:
    return done.answer
