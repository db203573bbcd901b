"""`EmbeddedServers`: starts and stops the embedded servers together."""

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
    """Valkey and PostgreSQL as child processes, with a data directory that no other process uses.

    As a context manager, it starts the servers and stops them at the end of the block.

    Arguments:
        data_dir: the folder for everything of the servers. It is made if it is missing.
        redis: whether to start Valkey.
        postgres: whether to start PostgreSQL.
        settings: how long starts and stops may take.
        nodes: how many processes use the servers.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        redis: bool = True,
        postgres: bool = True,
        settings: EmbeddedSettings | None = None,
        nodes: int = 1,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._settings = settings or EmbeddedSettings()
        self._wants = (redis, postgres)
        self._nodes = nodes
        self._lock: DataDirLock | None = None
        self._sockets: SocketFolder | None = None
        self._valkey: EmbeddedValkey | None = None
        self._postgres: EmbeddedPostgres | None = None

    @property
    def redis_url(self) -> str:
        """The URL for `RedisSettings.url`; "" if no Valkey was started."""
        return self._valkey.url if self._valkey else ""

    @property
    def postgres_url(self) -> str:
        """The URL for `PostgresSettings.url`; "" if no PostgreSQL was started."""
        return self._postgres.url if self._postgres else ""

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the servers that run, by name ("Valkey", "PostgreSQL")."""
        return {
            server.name: server.child.pid
            for server in self._servers()
            if server.child is not None and server.child.alive
        }

    def start(self) -> None:
        """Start the servers, and return when they answer.

        It blocks for 0.1 to 0.3 s; making the database takes 0.6 s more, once. It is called in the
        main thread before trio runs. If anything fails, nothing is left running.

        Raises `DataDirLocked` if another process uses the directory, and `EmbeddedStartFailed`,
        with the end of the server's log, if anything else goes wrong.
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
                self._postgres = EmbeddedPostgres(
                    self.data_dir, self._sockets, self._settings, nodes=self._nodes
                )
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
        """Spawn servers that have died again, in the main thread, and return their names.

        It does not wait until they are ready, since the stores reconnect by themselves. The URLs
        stay the same. Raises `EmbeddedStartFailed` if a server cannot be spawned.
        """
        dead = [server for server in self._servers() if server.child and not server.child.alive]
        for server in dead:
            server.start()
        return [server.name for server in dead]

    def stop(self, within_s: float = math.inf) -> list[str]:
        """Stop the servers, kill those that take too long, and release the directory.

        A server may take `stop_timeout_s`, or `within_s` if that is shorter. Returns the names of
        those that were killed. It is no error if they have been stopped before.
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
