"""The embedded PostgreSQL."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from persistence.embedded.binaries import postgres_bin
from persistence.embedded.run_as import choose, hand_over
from persistence.embedded.server_process import ServerProcess, end_leftovers
from persistence.embedded.sockets import SocketFolder
from persistence.errors import EmbeddedStartFailed
from persistence.settings import EmbeddedSettings

NAME = "PostgreSQL"
_USER = "greenroom"

_CONNECTIONS = 60
_CONNECTIONS_OF_NODE = 15
"""Of each node beyond the first: about ten, and a few more for a moment when one starts."""

# The settings are for durability and little memory, as a node has one writer and a few readers. The
# server itself commits many events in one transaction, so commit_delay is not needed. io_method =
# sync saves three worker processes and their start.
_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "wal_buffers": "4MB",
    "jit": "off",
    "io_method": "sync",
    "max_parallel_workers": "0",
    "checkpoint_timeout": "15min",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """An embedded PostgreSQL, on a unix socket, with a password. Every commit is written to disk.

    `start` makes the database cluster if there is none, which takes about 0.6 s, and spawns the
    server. `wait` blocks until the server takes connections, which includes recovery if it was
    killed before. Both raise `EmbeddedStartFailed`.
    """

    name = NAME

    def __init__(
        self, data_dir: Path, sockets: SocketFolder, settings: EmbeddedSettings, *, nodes: int = 1
    ) -> None:
        self._settings = settings
        self._connections = _CONNECTIONS + _CONNECTIONS_OF_NODE * (nodes - 1)
        self._bin = postgres_bin()
        self._run_as = choose(self._bin, data_dir)
        self._cluster = data_dir / "postgres"
        self._unfinished = data_dir / "postgres.new"
        self._log = data_dir / "postgres.log"
        self._password_file = data_dir / "postgres.password"
        self._sockets = sockets.make("postgres", self._run_as.owner)
        self.child: ServerProcess | None = None

    @property
    def url(self) -> str:
        return url_of(self._password_file, self._sockets)

    def start(self) -> None:
        if not self._cluster.exists():
            self._make_cluster()
        end_leftovers(self._cluster, "postgres", timeout_s=self._settings.stop_timeout_s)
        hand_over(self._cluster, self._run_as.owner)
        # No server is left that this file could belong to. Its process id may be another program's
        # by now, and then PostgreSQL would refuse to start.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        # The setting is a list, so the path is quoted.
        folder = os.fspath(self._sockets).replace('"', '""')
        settings = {
            **_SETTINGS,
            "max_connections": str(self._connections),
            "unix_socket_directories": f'"{folder}"',
        }
        self.child = ServerProcess(
            NAME,
            [
                *self._run_as.wrapper,
                self._bin / "postgres",
                "-D",
                self._cluster,
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            log=self._log,
            # SIGINT is PostgreSQL's "fast shutdown": it ends sessions and writes a checkpoint, so
            # that the next start needs no recovery.
            stop_signal=signal.SIGINT,
            popen=self._run_as.popen,
        )

    def wait(self) -> None:
        assert self.child is not None
        self.child.wait_until(self._ready, timeout_s=self._settings.start_timeout_s)

    def end_orphans(self) -> None:
        """End the children of a server that was killed. They end by themselves unless frozen."""
        # This must not fail a stop, and the next start checks again.
        with suppress(EmbeddedStartFailed):
            end_leftovers(self._cluster, "postgres", timeout_s=1.0)

    def _ready(self) -> bool:
        """Return whether postmaster.pid says "ready" in line 8, as pg_ctl checks it."""
        assert self.child is not None
        with suppress(OSError):
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and int(lines[0]) == self.child.pid and "ready" in lines[7]
        return False

    def _make_cluster(self) -> None:
        """Make a cluster under another name and then rename it, so that it is never half made."""
        end_leftovers(self._unfinished, "postgres", timeout_s=self._settings.stop_timeout_s)
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(mode=0o700)
        password = secrets.token_urlsafe(32)
        _write_private(self._password_file, password, None)
        handed = self._unfinished.with_name("postgres.password.new")
        try:
            _write_private(handed, password, self._run_as.owner)
            if self._run_as.owner is not None:
                os.chown(self._unfinished, *self._run_as.owner)
            initdb = ServerProcess(
                NAME,
                [
                    *self._run_as.wrapper,
                    self._bin / "initdb",
                    f"--pgdata={self._unfinished}",
                    f"--username={_USER}",
                    f"--pwfile={handed}",
                    "--auth=scram-sha-256",
                    # Iterations protect passwords that can be guessed, not 256 random bits. The
                    # default of 4096 costs 5 ms a connection.
                    "--set=scram_iterations=1",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--sync-method=syncfs",
                    "--no-instructions",
                ],
                log=self._log,
                stop_signal=signal.SIGKILL,
                popen=self._run_as.popen,
            )
            try:
                ended_itself = initdb.wait_or_kill(self._settings.start_timeout_s)
            except BaseException:
                initdb.wait_or_kill(0)
                raise
            if not ended_itself or initdb.status != 0:
                raise initdb.failed("initdb could not make a database")
        finally:
            handed.unlink(missing_ok=True)
        self._unfinished.rename(self._cluster)


def url_of(password_file: Path, sockets: Path) -> str:
    """Return the URL of an embedded PostgreSQL, by the folder of its socket."""
    password = password_file.read_text().strip()
    return f"postgresql://{_USER}:{password}@/postgres?host={quote(os.fspath(sockets), safe='')}"


def _write_private(path: Path, text: str, owner: tuple[int, int] | None) -> None:
    path.unlink(missing_ok=True)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedStartFailed(NAME, f"{path}: {error.strerror}") from None
    with os.fdopen(fd, "w") as file:
        if owner is not None:
            os.fchown(fd, *owner)
        file.write(text)
        file.flush()
        os.fsync(fd)
