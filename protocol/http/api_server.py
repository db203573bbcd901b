"""The HTTP API's server: accepts, keeps the number of connections bounded, and drains.

It knows nothing of ops. Each request goes to the `handle` that it is given.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog
import trio

from protocol.errors import BUSY, RequestError
from protocol.http.api_settings import ApiSettings
from protocol.http.connection import Handle, HttpConnection
from protocol.http.exchange import HttpRequest, HttpResponse, refused
from protocol.server.addresses import Addresses, Door, host_of
from protocol.server.listener import accept_from, close_listeners

log = structlog.get_logger("protocol.http.api_server")

_CLOSE_S: Final = 1.0
"""How long the end of a connection may take, by TLS or after a refusal."""
MOST_LEAVING: Final = 256
"""So many clients that were turned away may still be sending; others are closed at once."""
_READ_BYTES: Final = 65_536


class ApiServer:
    """Serves the HTTP API on listening sockets until drained or cancelled.

    Arguments:
        handle: answers a request.
        settings: the bounds.
        ipv6_prefix: how many bits of an IPv6 address count as one address.
        tls_context: the certificate; None: no TLS.
        door: counts the connections of an address, and refuses too many; None: it refuses none.

    Attributes:
        opened: how many connections were accepted.
        dropped: how many were closed at once, beyond `max_connections` or by the door.
        answered: status -> how many requests were answered with it.
    """

    def __init__(
        self,
        handle: Handle,
        settings: ApiSettings,
        *,
        ipv6_prefix: int = 64,
        tls_context: ssl.SSLContext | None = None,
        door: Door | None = None,
    ) -> None:
        self._settings = settings
        self._handle = handle
        self._tls = tls_context
        self._door = door
        self._addresses = Addresses(
            settings.trusted_proxies, settings.forwarded_header, ipv6_prefix
        )
        self._connections: set[HttpConnection] = set()
        self._open = 0
        self._leaving = 0
        self._listeners: Sequence[socket.socket] = ()
        self._nursery: trio.Nursery | None = None
        self._none_open = trio.Event()
        self.opened = 0
        self.dropped = 0
        self.answered: Counter[int] = Counter()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._open

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on sockets of `protocol.server.listener.listen`, and close them in the end.

        It returns once it is drained. An error of one connection does not end it.
        """
        self._listeners = listeners
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(accept_from, listener, self._take)
        finally:
            close_listeners(self._listeners)

    async def drain(self) -> None:
        """Accept no more connections, close idle ones, and wait for answers that are under way."""
        close_listeners(self._listeners)
        for connection in list(self._connections):
            connection.drain()
        while self._open:
            self._none_open = trio.Event()
            await self._none_open.wait()

    # --- one connection --------------------------------------------------------------------------

    def _take(self, sock: socket.socket, peer: str) -> None:
        assert self._nursery is not None
        host = host_of(peer)
        if self._open >= self._settings.max_connections:
            self._turn_away(sock)
            return
        address = None
        if self._door is not None and not self._addresses.trusts(host):
            address = self._addresses.own(host)
            if self._door.enter(address) is not None:
                self._turn_away(sock)
                return
        self._open += 1
        self.opened += 1
        self._nursery.start_soon(self._run, sock, host, address)

    def _turn_away(self, sock: socket.socket) -> None:
        """Answer that there are too many, without looking at the request.

        What a client has sent and nobody has read would make the close a reset, which discards the
        answer. So the rest is read for a moment, for as many clients at once as that may cost.
        """
        assert self._nursery is not None
        self.dropped += 1
        try:
            if self._tls is None:
                with contextlib.suppress(BlockingIOError):
                    sock.recv(_READ_BYTES)
                sock.send(_FULL)
                sock.shutdown(socket.SHUT_WR)
                if self._leaving < MOST_LEAVING:
                    self._leaving += 1
                    self._nursery.start_soon(self._see_off, sock)
                    return
        except OSError:
            pass
        sock.close()

    async def _see_off(self, sock: socket.socket) -> None:
        """Read what a client still sends, for a moment, and close the socket."""
        try:
            with trio.move_on_after(_CLOSE_S), contextlib.suppress(OSError):
                open_ = True
                while open_:
                    await trio.lowlevel.wait_readable(sock)
                    open_ = bool(sock.recv(_READ_BYTES))
        finally:
            self._leaving -= 1
            trio.lowlevel.notify_closing(sock)
            sock.close()

    async def _run(self, sock: socket.socket, host: str, address: str | None) -> None:
        stream: trio.abc.Stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        if self._tls is not None:
            stream = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        connection = HttpConnection(stream, host, self._addresses, self._settings, self._answer)
        self._connections.add(connection)
        try:
            await connection.run()
        except Exception:
            log.exception("connection failed", peer=host)
        finally:
            self._connections.discard(connection)
            with trio.move_on_after(_CLOSE_S, shield=True):
                await stream.aclose()
            if self._door is not None and address is not None:
                self._door.leave(address)
            self._open -= 1
            if not self._open:
                self._none_open.set()

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        response = await self._handle(request)
        self.answered[response.status] += 1
        return response


_BUSY: Final = refused(RequestError(BUSY, "too many connections", retry_in_s=1.0))
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 2\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_BUSY.body) + _BUSY.body
)
