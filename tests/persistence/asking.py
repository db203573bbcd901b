"""Lets the facades ask plain Pykka refs, without the runtime and without an event loop."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from pykka import ActorRef

from persistence.rows import EventRow


def ask(ref: ActorRef[Any], message: Any, timeout_s: float = 60.0) -> Any:
    """Ask and wait for the reply; raises what the actor raised."""
    return ref.ask(message, timeout=timeout_s)


def outcome(future: Any) -> Any:
    """Return the reply of a future, or the exception that its asker would get."""
    try:
        return future.get(timeout=60)
    except Exception as error:
        return error


def event(kind: str, key: str, seq: int, epoch: int = 1, payload: bytes = b"\x80") -> EventRow:
    return (kind, key, seq, epoch, "posted", payload, 1_700_000_000_000_000 + seq)


def wait_until_held_up(other: psycopg.Connection[Any]) -> None:
    """Return once another connection waits for what this one's transaction has locked."""
    deadline = time.monotonic() + 60
    asked = "SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    while other.execute(asked).fetchone() is None:
        assert time.monotonic() < deadline, "nobody waits"
        other.execute("SELECT pg_stat_clear_snapshot()")


def end_other_sessions(other: psycopg.Connection[Any], *, wait_ms: int = 0) -> None:
    """End all other sessions of this database, and wait at most so long for their end."""
    other.execute(
        "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
        " WHERE application_name = 'greenroom' AND pid <> pg_backend_pid()",
        (wait_ms,),
    )


class Hanger:
    """A server on `port` that accepts connections, ends them at once, and counts them."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.connections = 0
        self._listener = listener

    def serve(self) -> None:
        """Serve until the listener is shut down."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


@contextmanager
def hanging_up() -> Iterator[Hanger]:
    """Run a store that hangs up on everybody, and counts the attempts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hanger = Hanger(listener)
        thread = threading.Thread(target=hanger.serve)
        thread.start()
        try:
            yield hanger
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
