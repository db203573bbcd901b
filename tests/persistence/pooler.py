"""Poolers in front of PostgreSQL that hand every transaction to another of its sessions.

`TransactionPooler` is a small one for the tests, which any machine can run. It behaves as badly as
a pooler may: a client's next transaction goes to the session that was idle longest, so never to the
same one twice in a row. `pgbouncer` is the real one, where it is installed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import queue
import secrets
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
from psycopg import conninfo, pq

PGBOUNCER: Final = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
SESSIONS: Final = 3
"""Sessions of PostgreSQL that all clients share."""

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_TOLD: Final = ("server_version", "client_encoding", "standard_conforming_strings", "DateStyle",
                "integer_datetimes", "TimeZone")  # fmt: skip
_ASK_FOR_READY: Final = b"QSF"  # Query, Sync, FunctionCall: each is answered by one ReadyForQuery


class Frame(NamedTuple):
    """One message of PostgreSQL's protocol."""

    kind: bytes
    raw: bytes


class Frames:
    """Cuts the bytes of a socket into messages."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting = bytearray()

    def receive(self) -> list[Frame]:
        """Wait for bytes, and return the messages that they complete. Raises EOFError."""
        chunk = self._sock.recv(1 << 16)
        if not chunk:
            raise EOFError
        self._waiting += chunk
        frames = []
        while len(self._waiting) >= 5:
            end = 1 + struct.unpack_from("!I", self._waiting, 1)[0]
            if len(self._waiting) < end:
                break
            frames.append(Frame(bytes(self._waiting[:1]), bytes(self._waiting[:end])))
            del self._waiting[:end]
        return frames


class Session:
    """A session of PostgreSQL, logged in by psycopg and then used by its socket alone."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self.told = [
            (name.encode(), self._connection.pgconn.parameter_status(name.encode()) or b"")
            for name in _TOLD
        ]
        self.socket = socket.socket(fileno=os.dup(self._connection.fileno()))
        self.socket.setblocking(True)
        self.frames = Frames(self.socket)

    def close(self) -> None:
        self.socket.close()
        self._connection.close()


class TransactionPooler:
    """Listens on a port of its own and serves every client in a thread.

    `url` is what clients connect to. Nobody has to log in.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._free: queue.SimpleQueue[Session] = queue.SimpleQueue()
        first = Session(url)
        self._told = first.told
        for session in (first, *(Session(url) for _ in range(SESSIONS - 1))):
            self._free.put(session)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        port = self._listener.getsockname()[1]
        self.url = conninfo.make_conninfo(host="127.0.0.1", port=port, user="any", dbname="any")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._clients):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        with contextlib.suppress(queue.Empty):
            for _ in range(SESSIONS):
                self._free.get(timeout=10).close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(EOFError, OSError), client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._let_in(client)
            frames = Frames(client)
            while True:
                self._transaction(client, frames)

    def _let_in(self, client: socket.socket) -> None:
        while True:
            (length,) = struct.unpack("!I", _exactly(client, 4))
            (what,) = struct.unpack_from("!I", _exactly(client, length - 4))
            if what not in {_SSL_REQUEST, _GSS_REQUEST}:
                break
            client.sendall(b"N")
        told = b"".join(_message(b"S", name + b"\0" + value + b"\0") for name, value in self._told)
        made_up = struct.pack("!I", secrets.randbits(31)) + secrets.token_bytes(4)
        client.sendall(
            _message(b"R", bytes(4)) + told + _message(b"K", made_up) + _message(b"Z", b"I")
        )

    def _transaction(self, client: socket.socket, frames: Frames) -> None:
        """Pass on everything from the client's next message to the end of its transaction."""
        coming = frames.receive()
        if any(frame.kind == b"X" for frame in coming):
            raise EOFError
        session = self._free.get()
        at_rest = False
        try:
            owed = 0  # answers that say "ready"
            while True:
                for frame in coming:
                    if frame.kind == b"X":
                        raise EOFError
                    owed += frame.kind in _ASK_FOR_READY
                    session.socket.sendall(frame.raw)
                coming = []
                readable, _, _ = select.select([client, session.socket], [], [])
                if client in readable:
                    coming = frames.receive()
                if session.socket in readable:
                    for frame in session.frames.receive():
                        client.sendall(frame.raw)
                        if frame.kind == b"Z":
                            owed -= 1
                            at_rest = frame.raw[5:6] == b"I" and not owed and not coming
                    if at_rest:
                        return
        finally:
            if not at_rest:  # the client left in the middle of it
                session.close()
                session = Session(self._url)
            self._free.put(session)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


@contextmanager
def transaction_pooler(url: str) -> Iterator[str]:
    """The tests' own pooler; gives the URL to use in place of `url`."""
    pooler = TransactionPooler(url)
    try:
        yield pooler.url
    finally:
        pooler.close()


@contextmanager
def pgbouncer(url: str) -> Iterator[str]:
    """PgBouncer with `pool_mode = transaction`; gives the URL to use in place of `url`."""
    assert PGBOUNCER is not None
    wanted: dict[str, object] = {**conninfo.conninfo_to_dict(url)}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    named = ("host", "port", "dbname", "user", "password")
    target = conninfo.make_conninfo(**{key: str(wanted[key]) for key in named if key in wanted})
    # Root may not run it, and the embedded PostgreSQL's socket is its owner's alone.
    owner = pwd.getpwuid(Path(str(wanted["host"])).stat().st_uid).pw_name
    with tempfile.TemporaryDirectory(prefix="greenroom-pgbouncer-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o711)
        config, log = folder / "pgbouncer.ini", folder / "pgbouncer.log"
        config.write_text(
            f"[databases]\nany = {target}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\n"
            f"default_pool_size = {SESSIONS}\nserver_round_robin = 1\n"
        )
        config.chmod(0o644)
        command = [PGBOUNCER, *(["-u", owner] if os.geteuid() == 0 else []), str(config)]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            ours = conninfo.make_conninfo(host="127.0.0.1", port=port, user="any", dbname="any")
            _wait_for(process, ours, log)
            yield ours
        finally:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 20
    while pq.PGconn.ping(url.encode()) != pq.Ping.OK:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
