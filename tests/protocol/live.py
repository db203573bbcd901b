"""A real gateway on a real port with a small echo handler, and raw clients for it.

Rules for every test on sockets, so that none is flaky: it uses localhost and a port that the system
chose. The messages themselves decide the order of events, never sleeping. Real time is only an
upper bound (`LIMIT_S`), or a lower one that sleeping itself guarantees.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from protocol import frames
from protocol.codec import MSGPACK, Encoding
from protocol.errors import CloseCode, RequestError
from protocol.messages import AnyRequest
from protocol.messages.envelope import Ok
from protocol.messages.session import Ping, Pong, SessionOpen
from protocol.server.addresses import Door
from protocol.server.gateway import Gateway
from protocol.server.listener import listen
from protocol.server.settings import WireSettings
from protocol.server.websocket import Connection

T = TypeVar("T")
LIMIT_S = 60.0
MASK = b"\x12\x34\x56\x78"
NO_MASK = bytes(4)
"""A mask that changes nothing, which saves time for a client that sends much."""
LONGEST = WireSettings().max_message_bytes
"""The longest message that a server takes by default."""
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Echo:
    """Answers `ping`, and notes the requests that want no answer.

    For `session.open` it does what the test hooks in.
    """

    def __init__(self, connection: Connection, opened: Callable[[Echo], Awaitable[None] | None]):
        self.connection = connection
        self.opened = opened
        self.requests: list[AnyRequest] = []
        self.errors: list[RequestError] = []
        self.shed_behind: list[tuple[int, int]] = []
        self.fragments_read = 0
        self.ended: list[tuple[CloseCode | int, str]] = []
        self.gone = trio.Event()

    def received(self, request: AnyRequest) -> Awaitable[None] | None:
        self.requests.append(request)
        if isinstance(request, SessionOpen):
            return self.opened(self)
        if request.ref is not None:
            self.connection.reply(Ok(request.ref, Pong(self.connection.message_bytes)))
        return None

    def undecodable(self, error: RequestError, ref: int | None) -> None:
        self.errors.append(error)
        self.connection.refuse(error, ref)

    def shed(self, error: RequestError, count: int, size_bytes: int) -> None:
        self.shed_behind.append((count, size_bytes))

    def fragments(self, count: int) -> None:
        self.fragments_read += count

    def disconnected(self, close: CloseCode | int, reason: str) -> None:
        self.ended.append((close, reason))
        self.gone.set()


class Raw:
    """A client that sends the bytes it is told to."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._got = bytearray()
        self.response = b""

    async def send(self, opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> None:
        await self.stream.send_all(masked(opcode, payload, fin=fin, rsv=rsv))

    async def request(self, message: Any, encoding: Encoding = MSGPACK) -> None:
        await self.send(encoding.opcode, encoding.encode(message))

    async def _fill(self) -> None:
        data = await self.stream.receive_some(65_536)
        if not data:
            raise EOFError
        self._got += data

    async def head(self) -> bytes:
        while b"\r\n\r\n" not in self._got:
            await self._fill()
        head, _, rest = bytes(self._got).partition(b"\r\n\r\n")
        self._got = bytearray(rest)
        return head

    async def frame(self) -> tuple[int, bytes]:
        """Return the next frame.

        Raises EOFError at the end, trio.BrokenResourceError when reset.
        """
        while (found := unframe(self._got)) is None:
            await self._fill()
        opcode, payload, size = found
        del self._got[:size]
        return opcode, payload

    async def message(self, encoding: Encoding = MSGPACK) -> Any:
        """Return the next message, without pings."""
        while True:
            opcode, payload = await self.frame()
            if opcode != frames.PING:
                assert opcode == encoding.opcode, (opcode, payload)
                return encoding.decode_server(payload)

    async def pong(self, ref: int = 1, encoding: Encoding = MSGPACK) -> Any:
        """Make a round trip: when it returns, everything that was sent before has been handled."""
        await self.request(Ping(ref=ref), encoding)
        reply = await self.message(encoding)
        assert isinstance(reply, Ok), reply
        assert reply.ref == ref
        return reply

    async def closed(self) -> tuple[int, str]:
        """Skip data until the close frame, and answer it. Then the stream must end."""
        while True:
            opcode, payload = await self.frame()
            if opcode == frames.CLOSE:
                break
        close = frames.parse_close(payload)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.send(frames.CLOSE, payload)
        with contextlib.suppress(trio.BrokenResourceError):
            await self.rest()
        await self.stream.aclose()
        return close

    async def rest(self) -> bytes:
        """Return everything until the end of the stream."""
        with contextlib.suppress(EOFError):
            while True:
                await self._fill()
        rest, self._got = bytes(self._got), bytearray()
        return rest


def masked(
    opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, mask: bytes = MASK
) -> bytes:
    """A client's frame."""
    size = len(payload)
    head = bytearray(frames.frame(opcode, payload)[: _header_length(size)])
    head[0] = (0x80 if fin else 0) | rsv << 4 | opcode
    head[1] |= 0x80
    if mask != NO_MASK:
        key = (mask * (size // 4 + 1))[:size]
        payload = (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)
    return bytes(head) + mask + payload


def _header_length(length: int) -> int:
    return 2 if length < 126 else 4 if length < 65_536 else 10


def unframe(data: bytearray) -> tuple[int, bytes, int] | None:
    """Return opcode, payload and size of the first frame. It shares no code with the server."""
    if len(data) < 2:
        return None
    assert data[0] & 0x80, "the server never fragments"
    assert not data[1] & 0x80, "the server never masks"
    length, start = data[1], 2
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(data) < start:
            return None
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        return None
    return data[0] & 0x0F, bytes(data[start : start + length]), start + length


def upgrade(
    subprotocol: str = MSGPACK.subprotocol, path: str = "/ws", **headers: str | None
) -> bytes:
    """A handshake request; a header set to None is left out."""
    lines: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": subprotocol,
    }
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"GET {path} HTTP/1.1\r\n{text}\r\n".encode()


class Live:
    """The gateway of a test, and its clients."""

    def __init__(self, gateway: Gateway, port: int, handlers: list[Echo]) -> None:
        self.gateway = gateway
        self.port = port
        self.handlers = handlers
        self.nursery: trio.Nursery

    async def socket(self, receive_buffer: int | None = None) -> trio.SocketStream:
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        return trio.SocketStream(sock)

    @asynccontextmanager
    async def client(
        self, subprotocol: str = MSGPACK.subprotocol, *, receive_buffer: int | None = None
    ) -> AsyncIterator[Raw]:
        async with await self.socket(receive_buffer) as stream:
            raw = Raw(stream)
            await stream.send_all(upgrade(subprotocol))
            raw.response = await raw.head()
            assert raw.response.startswith(b"HTTP/1.1 101 "), raw.response
            yield raw

    async def http(self, request: bytes) -> bytes:
        """Send a request that is no handshake; returns the whole answer."""
        async with await self.socket() as stream:
            await stream.send_all(request)
            return await Raw(stream).rest()

    async def handler(self, number: int = 0) -> Echo:
        while len(self.handlers) <= number:
            await trio.sleep(0.001)
        return self.handlers[number]


@asynccontextmanager
async def live(
    *,
    opened: Callable[[Echo], Awaitable[None] | None] = lambda _: None,
    accept: Callable[[Connection], Any] | None = None,
    tls_context: ssl.SSLContext | None = None,
    door: Door | None = None,
    patient: bool = True,
    narrow: bool = False,
    also: Sequence[socket.socket] = (),
    **settings: Any,
) -> AsyncIterator[Live]:
    """Run a gateway while the block runs.

    Arguments:
        opened: called with each handler when its connection is open.
        accept: makes a handler; None: an `Echo`.
        tls_context: the certificate; None: no TLS.
        door: counts the clients of an address; None: nobody does.
        patient: clients need not open sessions.
        narrow: the server's sockets take little at once, as on slow lines.
        also: listeners beside the one that clients of `Live` connect to.
        settings: of the wire.
    """
    handlers: list[Echo] = []

    def handle(connection: Connection) -> Echo:
        handlers.append(Echo(connection, opened))
        return handlers[-1]

    if patient:
        settings.setdefault("first_message_timeout_s", 1000.0)
    settings.setdefault("close_timeout_s", 2.0)
    gateway = Gateway(
        accept or handle, WireSettings(**settings), tls_context=tls_context, door=door
    )
    listeners = [*listen("127.0.0.1", 0), *also]
    if narrow:
        listeners[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # accepted ones inherit
    here = Live(gateway, listeners[0].getsockname()[1], handlers)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            here.nursery = nursery
            await nursery.start(gateway.serve, listeners)
            yield here
            nursery.cancel_scope.cancel()
