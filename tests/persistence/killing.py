"""Embedded servers that are killed and come back."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psycopg

from persistence.embedded import EmbeddedServers
from tests.server_process import descendants

POSTGRESQL = "PostgreSQL"


def kill_postgresql(servers: EmbeddedServers) -> None:
    """Kill the server without a word.

    Its backends, too: one with work to do outlives the postmaster, commits, and says so truly.
    """
    postmaster = servers.pids[POSTGRESQL]
    for pid in (postmaster, *descendants(postmaster)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def revive_postgresql(servers: EmbeddedServers) -> None:
    """Start it again once it has gone; returns when it takes connections."""
    deadline = time.monotonic() + 60
    while POSTGRESQL in servers.pids:
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.01)
    assert servers.revive() == [POSTGRESQL]
    while True:
        try:
            psycopg.connect(servers.postgres_url).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "it does not come back"
            time.sleep(0.02)
        else:
            return
