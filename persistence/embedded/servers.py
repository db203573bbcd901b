"""Both embedded servers as one thing to start and stop."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from persistence.embedded.lock import DataDirLock
from persistence.embedded.postgres import EmbeddedPostgres
from persistence.embedded.run_as import refuse_foreign
from persistence.embedded.server_process import require_linux
from persistence.embedded.sockets import SocketFolder
from persistence.embedded.valkey import EmbeddedValkey
from persistence.errors import EmbeddedStartFailed
from persistence.settings import EmbeddedSettings


class EmbeddedServers:
    """Valkey and PostgreSQL as children, on a data directory that nobody else has meanwhile.

    `redis`, `postgres`: which of them; the other one is elsewhere. Everything about them is in
    `data_dir`, which is made if it is missing. As a context manager: started and stopped.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        redis: bool = True,
        postgres: bool = True,
        settings: EmbeddedSettings | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._settings = settings or EmbeddedSettings()
        self._wants = (redis, postgres)
        self._lock: DataDirLock | None = None
        self._sockets: SocketFolder | None = None
        self._valkey: EmbeddedValkey | None = None
        self._postgres: EmbeddedPostgres | None = None

    @property
    def redis_url(self) -> str:
        """For `RedisSettings.url`; "" if there is no Valkey here."""
        return self._valkey.url if self._valkey else ""

    @property
    def postgres_url(self) -> str:
        """For `PostgresSettings.url`; "" if there is no PostgreSQL here."""
        return self._postgres.url if self._postgres else ""

    @property
    def pids(self) -> dict[str, int]:
        """Server name ("Valkey", "PostgreSQL") -> process id, of those that run."""
        return {
            server.name: server.child.pid
            for server in self._servers()
            if server.child is not None and server.child.alive
        }

    def start(self) -> None:
        """Start the servers and return when they answer.

        Blocks: 0.1 to 0.3 s, and once 0.6 s more to make the database. From the main thread, before
        trio runs. If anything fails, nothing is left running.
        Raises `DataDirLocked` if another process has this directory, `EmbeddedStartFailed` with the
        end of the server's log for everything else.
        """
        require_linux("stores")
        refuse_foreign(self.data_dir, uid=os.geteuid())
        self._lock = DataDirLock(self.data_dir)
        redis, postgres = self._wants
        try:
            self._sockets = SocketFolder(self.data_dir)
            if redis:
                self._valkey = EmbeddedValkey(self.data_dir, self._sockets, self._settings)
            if postgres:
                self._postgres = EmbeddedPostgres(self.data_dir, self._sockets, self._settings)
            for server in self._servers():
                server.start()
            for server in self._servers():
                server.wait()
        except OSError as error:
            self.stop()
            raise EmbeddedStartFailed("stores", str(error)) from None
        except BaseException:
            self.stop()
            raise

    def revive(self) -> list[str]:
        """Spawn again whichever has died; returns the names. From the main thread.

        Does not wait until it is ready: the stores reconnect when it is. The URLs stay the same.
        Raises `EmbeddedStartFailed` if one cannot even be spawned.
        """
        dead = [server for server in self._servers() if server.child and not server.child.alive]
        for server in dead:
            server.start()
        return [server.name for server in dead]

    def stop(self, within_s: float = math.inf) -> list[str]:
        """Stop both in order, kill what takes longer than `stop_timeout_s`, free the directory.

        Harmless if that has been done. Returns the names of those that had to be killed.
        `within_s`: the same limit, where less time is left.
        """
        deadline = time.monotonic() + min(within_s, self._settings.stop_timeout_s)
        killed = []
        children = {s.name: s.child for s in self._servers() if s.child is not None}
        for child in children.values():
            child.ask_to_stop()
        for name, child in children.items():
            if not child.wait_or_kill(deadline - time.monotonic()):
                killed.append(name)
        if self._postgres is not None and self._postgres.name in killed:
            self._postgres.end_orphans()
        if self._sockets is not None:
            self._sockets.remove()
        if self._lock is not None:
            self._lock.release()
        self._valkey = self._postgres = self._sockets = self._lock = None
        return killed

    def _servers(self) -> list[EmbeddedValkey | EmbeddedPostgres]:
        return [server for server in (self._valkey, self._postgres) if server is not None]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
