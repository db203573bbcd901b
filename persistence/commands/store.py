"""Commands as trio code sees them."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from persistence.commands.worker import Done, Execute
from persistence.requests import Asked, StoreCheck


class CommandStore:
    """Runs commands on workers; those of one user on one of them, in the order they came.

    `workers` answer for `CommandWorker`s. All calls raise `StoreUnavailable` when PostgreSQL is
    away or does not answer in time, `StoreInboxFull` when too many commands wait, and whatever
    the `ask` of a worker raises when `timeout_s` is over.
    """

    def __init__(self, workers: Sequence[Asked], *, timeout_s: float = 10.0) -> None:
        self._workers = workers
        self._timeout_s = timeout_s

    async def execute(
        self,
        command: msgspec.Struct,
        *,
        user: str = "",
        key: str | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Run a command; returns its answer once that is durable.

        Arguments:
            command: of a type that the workers' table knows.
            user: whose command it is; with the service and `key` what a retry is known by.
            key: of at most one command of this user; None: a retry is another command.
            timeout_s: how long it may wait and run, in seconds.

        Raises:
            KeyReused: the key came before with another command.
            CommandExpired: its time was over before it began; it has not acted.
            Whatever the command's function refuses or fails with; it has not acted then.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        request = Execute(command, user, key, time.monotonic() + limit_s)
        place = zlib.crc32(user.encode("utf-8", "surrogatepass")) % len(self._workers)
        done: Done = await self._workers[place].ask(request, timeout=limit_s)
        return done.answer

    async def ping(self) -> None:
        """Return if commands can be run now."""
        for worker in self._workers:
            await worker.ask(StoreCheck(), timeout=self._timeout_s)
