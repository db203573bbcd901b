"""A streaming replica of the tests' PostgreSQL, made by pg_basebackup."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg

from persistence.embedded.binaries import postgres_bin
from persistence.embedded.run_as import choose
from persistence.embedded.server_process import ServerProcess


class Replica:
    """A replica, which replays what the primary writes."""

    def __init__(self, primary_url: str, folder: Path) -> None:
        programs = postgres_bin()
        run_as = choose(programs, folder)
        data = folder / "data"
        if run_as.owner is not None:
            os.chown(folder, *run_as.owner)
        backup: list[str | Path] = [
            programs / "pg_basebackup", "--dbname", primary_url, "--pgdata", data,
            "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
        ]  # fmt: skip
        subprocess.run([*run_as.wrapper, *backup], check=True, **run_as.popen)
        password = urlsplit(primary_url).password
        self.url = f"postgresql://greenroom:{password}@/postgres?host={quote(str(folder), safe='')}"
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            # No fewer than the primary has, or it would take no connections.
            "max_connections": "60",
            "fsync": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.process = ServerProcess(
            "PostgreSQL",
            [*run_as.wrapper, programs / "postgres", "-D", data, *options],
            log=folder.with_suffix(".log"),
            stop_signal=signal.SIGQUIT,
            popen=run_as.popen,
        )
        for _ in range(3000):
            with suppress(psycopg.OperationalError):
                self.run("SELECT 1")
                return
            time.sleep(0.02)
        raise AssertionError("the replica takes no connections")

    def run(self, statement: str) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchone()

    def pause(self) -> None:
        """Stop replaying."""
        self.run("SELECT pg_wal_replay_pause()")
        while self.run("SELECT pg_get_wal_replay_pause_state()") != ("paused",):
            time.sleep(0.02)

    def go_on(self) -> None:
        self.run("SELECT pg_wal_replay_resume()")

    def end(self) -> None:
        if self.process.alive:
            self.process.ask_to_stop()
            self.process.wait_or_kill(10)


@contextmanager
def replica_of(primary_url: str) -> Iterator[Replica]:
    # Not pytest's own folder: that is closed to others, and root's PostgreSQL may run as nobody.
    folder = Path(tempfile.gettempdir()) / f"greenroom-replica-{secrets.token_hex(4)}"
    folder.mkdir()
    replica = None
    try:
        replica = Replica(primary_url, folder)
        yield replica
    finally:
        if replica is not None:
            replica.end()
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".log").unlink(missing_ok=True)
