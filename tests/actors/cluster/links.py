"""Links to the embedded stores that can be cut and frozen: TCP in front of their sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from persistence import PostgresSettings, RedisSettings


class Link:
    """Passes bytes between a port of its own and the socket of a store.

    It uses threads and not the loop of the nodes, because a test may hold that loop up.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: set[socket.socket] = set()
        self._is_cut = False
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and each new one as soon as it is made."""
        with self._lock:
            self._is_cut = True
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            store = socket.socket(socket.AF_UNIX)
            with self._lock:
                if self._is_cut:
                    client.close()
                    store.close()
                    continue
                store.connect(self._path)
                self._ends |= {client, store}
            for source, sink in ((client, store), (store, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._ends.discard(source)
        source.close()


@contextmanager
def link_to_valkey(settings: RedisSettings) -> Iterator[tuple[Link, RedisSettings]]:
    """A link, and settings that go by it."""
    parts = urlsplit(settings.url)
    link = Link(unquote(parts.path))
    try:
        credentials = parts.netloc.rpartition("@")[0]
        url = f"redis://{credentials}@127.0.0.1:{link.port}/0"
        yield link, msgspec.structs.replace(settings, url=url)
    finally:
        link.close()


@contextmanager
def link_to_postgres(settings: PostgresSettings) -> Iterator[tuple[Link, PostgresSettings]]:
    """A link, and settings that go by it."""
    parts = urlsplit(settings.url)
    query = parse_qs(parts.query)
    folder, port = query["host"][0], query.get("port", ["5432"])[0]
    link = Link(f"{folder}/.s.PGSQL.{port}")
    try:
        credentials = parts.netloc.rpartition("@")[0]
        url = f"postgresql://{credentials}@127.0.0.1:{link.port}{parts.path}?sslmode=disable"
        yield link, msgspec.structs.replace(settings, url=url)
    finally:
        link.close()
