"""The WebSocket server: it accepts, shakes hands, runs a connection for each client, and drains.

`Gateway` owns the parts that all connections share: the flusher, the poller, the keep-alive wheel.
It knows nothing of sessions: for each connection it asks `accept` for a `Handler`.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec
import structlog
import trio

from protocol.codec import encodings
from protocol.errors import DRAIN
from protocol.messages import EVERY_OP
from protocol.messages.op_table import OpTable
from protocol.server import handshake, tls
from protocol.server.addresses import Addresses, Door, host_of
from protocol.server.flusher import WOULD_BLOCK, Flusher, FlusherStatistics
from protocol.server.gathering import Window
from protocol.server.handler import Handler
from protocol.server.handshake import HEAD_END, Accepted, HandshakeRefused
from protocol.server.keepalive import Wheel
from protocol.server.listener import accept_from, accept_rest, close_listeners
from protocol.server.poller import Poller
from protocol.server.settings import WireSettings
from protocol.server.websocket import READ_BYTES, Connection

log = structlog.get_logger("protocol.server.gateway")

_WARN_EVERY_S = 60.0
_LINGER_S = 1.0  # how long a refused client may take to read why


class GatewayStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, and the present numbers."""

    connections: int
    sockets: int
    """Connections, and sockets that are in a handshake or are being refused."""
    opened: int
    refused: dict[int, int]
    """HTTP status -> handshakes answered with it."""
    dropped: int
    """Sockets closed at once: beyond `max_connections` and `spare_handshakes`, or from an address
    that was refused too often."""
    too_slow: int
    """Connections closed because of what waited for them: for too long, or too much of it."""
    flusher: FlusherStatistics


class Visit:
    """One socket at the door.

    Attributes:
        address: the client's address; None: not known yet, or a proxy that comes for itself.
        again_s: in how many seconds the client may come again; None: it was let in.
    """

    __slots__ = ("_door", "address", "again_s")

    def __init__(self, door: Door | None) -> None:
        self.address: str | None = None
        self.again_s: float | None = None
        self._door = door

    @property
    def hopeless(self) -> bool:
        """Whether the socket is closed without an answer."""
        return self.again_s is not None and self.again_s <= 0

    def enter(self, address: str) -> None:
        """Ask whether a client of this address may come in."""
        if self._door is not None:
            self.again_s = self._door.enter(address)
        self.address = address  # set last: a door that raises has let nobody in

    def leave(self) -> None:
        """End the visit, whether the client was let in or not."""
        if self._door is not None and self.address is not None and self.again_s is None:
            self._door.leave(self.address)


class Gateway:
    """Serves clients on listening sockets until drained or cancelled.

    Args:
        accept: returns the handler of a new connection, before anything is read from it. It may
            push and close already. If it raises, the connection is dropped.
        settings: the limits.
        tls_context: the certificate for TLS, made by `protocol.server.tls.server_context`; None: no
            TLS.
        flusher: sends for all connections; None: the gateway makes its own.
        door: lets connections in by their address; None: it lets in all.
        turn: entered before a row of reads and left after it; None: the flusher. A layer above that
            queues requests can bring a turn of its own. On entering, it enters the flusher. On
            leaving, it does the queued work and leaves the flusher last, so that the answers leave
            in the same step.
        ops: the ops that clients may ask for; every op by default.
    """

    def __init__(
        self,
        accept: Callable[[Connection], Handler],
        settings: WireSettings | None = None,
        *,
        tls_context: ssl.SSLContext | None = None,
        flusher: Flusher | None = None,
        door: Door | None = None,
        turn: AbstractContextManager[None] | None = None,
        ops: OpTable = EVERY_OP,
    ) -> None:
        self.settings = settings or WireSettings()
        self.connections: dict[int, Connection] = {}
        self._accept = accept
        self._tls = tls_context
        self._door = door
        self._addresses = Addresses(
            self.settings.trusted_proxies, self.settings.forwarded_header, self.settings.ipv6_prefix
        )
        self._flusher = flusher or Flusher(Window(self.settings.gather_s))
        self._poller = Poller(turn or self._flusher)
        self._encodings = {one.subprotocol: one for one in encodings(ops)}
        self._wheel = Wheel(self.settings.keepalive_s)
        self._ids = itertools.count(1)
        self._listeners: Sequence[socket.socket] = ()
        self._nursery: trio.Nursery | None = None
        self._draining = False
        self._sockets = 0
        self._idle = trio.Event()
        self._opened = 0
        self._refused: Counter[int] = Counter()
        self._dropped = 0
        self._warn_at = -math.inf

    def statistics(self) -> GatewayStatistics:
        return GatewayStatistics(
            connections=len(self.connections),
            sockets=self._sockets,
            opened=self._opened,
            refused=dict(self._refused),
            dropped=self._dropped,
            too_slow=self._flusher.backlog.closed,
            flusher=self._flusher.statistics(),
        )

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on sockets of `protocol.server.listener.listen`, and close them in the end.

        It returns after `drain`. If it is cancelled, it closes every connection at once with DRAIN.
        An error of one connection does not end it.
        """
        self._listeners = listeners
        try:
            async with trio.open_nursery() as shared:
                await shared.start(self._flusher.run)
                await shared.start(self._wheel.run)
                await shared.start(self._poller.run)
                await shared.start(self._flusher.backlog.keep, self.settings)
                async with trio.open_nursery() as self._nursery:
                    task_status.started()
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            accepting.start_soon(accept_from, listener, self._take)
                    # Here the listeners are closed, and the last connections are ending.
                shared.cancel_scope.cancel()
        finally:
            close_listeners(self._listeners)

    def stop_listening(self) -> None:
        """Accept those who have connected by now, and nobody else. Others on the port get them.

        Those who come in a drain are told so.
        """
        for listener in self._listeners:
            if listener.fileno() >= 0:
                accept_rest(listener, self._take)
        close_listeners(self._listeners)

    async def drain(self, spread_s: float) -> None:
        """Accept no more clients, and close all connections with DRAIN, evenly over `spread_s`.

        It returns when the last connection has ended, at the latest `close_timeout_s` after the
        last close. The closes are spread so that clients do not reconnect elsewhere all at once.
        """
        self._draining = True
        self.stop_listening()
        leaving = list(self.connections.values())
        start = trio.current_time()
        for place, connection in enumerate(leaving):
            await trio.sleep_until(start + spread_s * place / len(leaving))
            connection.close(DRAIN)
        while self._sockets:
            self._idle = trio.Event()
            await self._idle.wait()

    # --- one client -------------------------------------------------------------------------------

    def _take(self, sock: socket.socket, peer: str) -> None:
        assert self._nursery is not None
        settings = self.settings
        if self._sockets >= settings.max_connections + settings.spare_handshakes:
            self._turn_away(sock)
            return
        visit = Visit(self._door)
        host = host_of(peer)
        if not self._addresses.trusts(host):
            visit.enter(self._addresses.own(host))
            if visit.hopeless:
                sock.close()
                self._dropped += 1
                return
        self._sockets += 1
        self._nursery.start_soon(self._run, sock, peer, visit)

    def _turn_away(self, sock: socket.socket) -> None:
        """Answer that the server is full, without reading the request, and close the socket."""
        self._dropped += 1
        with contextlib.suppress(OSError):
            if self._tls is None:
                with contextlib.suppress(BlockingIOError):
                    sock.recv(READ_BYTES)  # unread bytes would make the close discard our answer
                sock.send(handshake.full(draining=False).response)
        sock.close()

    async def _run(self, sock: socket.socket, peer: str, visit: Visit) -> None:
        try:
            opened = await self._open(sock, peer, visit)
            if opened is not None:
                await self._serve_one(*opened)
        except Exception:
            log.exception("connection failed", peer=peer)
        finally:
            visit.leave()
            self._sockets -= 1
            if not self._sockets:
                self._idle.set()

    async def _serve_one(self, connection: Connection, first: bytes) -> None:
        try:
            handler = self._accept(connection)
        except BaseException:
            connection.discard()
            raise
        self.connections[connection.id] = connection
        self._opened += 1
        if self._draining:  # its handshake began before the drain
            connection.close(DRAIN)
        try:
            await connection.run(handler, self._poller, first)
        finally:
            del self.connections[connection.id]

    async def _open(
        self, sock: socket.socket, peer: str, visit: Visit
    ) -> tuple[Connection, bytes] | None:
        """Do the handshake. Returns the connection and the bytes read behind it; None: refused."""
        settings = self.settings
        opened: tuple[Connection, bytes] | None = None
        try:
            answered: Accepted | HandshakeRefused = handshake.head_too_slow(settings)
            first = b""
            with trio.move_on_after(settings.handshake_timeout_s):
                if self._tls is not None:
                    sock = await tls.handshake(sock, self._tls)
                head, first = await _read_head(sock, settings.max_header_bytes)
                answered = self._judge(head, first, visit)
            if await self._say(sock, peer, answered) and isinstance(answered, Accepted):
                opened = self._connection(sock, peer, answered, visit.address), first
        except OSError as error:  # the client is gone, or does not speak TLS
            log.debug("handshake failed", peer=peer, error=str(error))
        finally:
            if opened is None and sock.fileno() >= 0:
                trio.lowlevel.notify_closing(sock)
                sock.close()
        return opened

    def _judge(self, head: bytes | None, read: bytes, visit: Visit) -> Accepted | HandshakeRefused:
        if head is None:
            return handshake.too_large(read, self.settings)
        if visit.address is None and (address := self._addresses.named(head)) is not None:
            visit.enter(address)
        if visit.again_s is not None:
            self._warn(visit.address)
            return handshake.too_many(visit.again_s)
        if self._draining or len(self.connections) >= self.settings.max_connections:
            return handshake.full(draining=self._draining)
        return handshake.answer(head, self.settings)

    def _warn(self, address: str | None) -> None:
        """Warn that an address is over its limits. It may be a proxy that nobody has configured."""
        now = trio.current_time()
        if now >= self._warn_at:
            self._warn_at = now + _WARN_EVERY_S
            hint = "is it a proxy's? then name it in wire.trusted_proxies"
            log.warning("an address is over its limits", address=address, hint=hint)

    def _connection(
        self, sock: socket.socket, peer: str, accepted: Accepted, address: str | None
    ) -> Connection:
        return Connection(
            next(self._ids),
            self._encodings[accepted.encoding.subprotocol],
            peer,
            sock,
            settings=self.settings,
            flusher=self._flusher,
            wheel=self._wheel,
            address=address,
        )

    async def _say(
        self, sock: socket.socket, peer: str, answered: Accepted | HandshakeRefused
    ) -> bool:
        """Send the answer, and end a refused socket; returns whether the client took it in time."""
        rest = memoryview(answered.response)[_send_some(sock, answered.response) :]
        if not rest and isinstance(answered, Accepted):
            return True  # the usual case, without a deadline, which costs 20 us or 5 % of a join
        with trio.move_on_after(_LINGER_S) as scope:
            await _send(sock, rest)
            if isinstance(answered, HandshakeRefused):
                await self._refuse(sock, peer, answered)
        return not scope.cancelled_caught

    async def _refuse(self, sock: socket.socket, peer: str, refused: HandshakeRefused) -> None:
        """End our half and read the other one to its end; else a reset would discard the answer."""
        self._refused[refused.status] += 1
        log.debug("handshake refused", peer=peer, status=refused.status)
        sock.shutdown(socket.SHUT_WR)
        while await _read(sock):
            await trio.lowlevel.checkpoint()


async def _read(sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)


async def _read_head(sock: socket.socket, max_bytes: int) -> tuple[bytes | None, bytes]:
    """Return a request's head and the bytes after it; if it is too long, None and all bytes."""
    got = bytearray()
    while True:
        data = await _read(sock)
        if not data:
            raise ConnectionResetError("ended within the handshake")
        searched = max(0, len(got) - 3)
        got += data
        end = HEAD_END.search(got, searched)
        if end is not None and end.end() <= max_bytes:
            return bytes(got[: end.end()]), bytes(got[end.end() :])
        if len(got) > max_bytes:
            return None, bytes(got)
        await trio.lowlevel.checkpoint()


async def _send(sock: socket.socket, rest: memoryview) -> None:
    while rest:
        await trio.lowlevel.wait_writable(sock)
        rest = rest[_send_some(sock, rest) :]


def _send_some(sock: socket.socket, data: bytes | memoryview) -> int:
    """Send once; returns how many bytes the socket took."""
    try:
        return sock.send(data)
    except WOULD_BLOCK:
        return 0
