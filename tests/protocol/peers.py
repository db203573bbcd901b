"""WebSocket clients of three makes with one interface: raw bytes, trio-websocket, `websockets`.

Where a library can send something, it does so itself, so that its reading of RFC 6455 is compared
with ours in both directions. Where it refuses, because the thing is wrong, the bytes are written to
its connection directly, and the library then reads how the server reacts.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

import trio
import trio_websocket
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri
from wsproto.events import BytesMessage, TextMessage

from protocol import frames
from protocol.codec import Encoding
from tests.protocol.live import Live, Raw
from tests.protocol.websockets import websocket_over_stream

_SILENT: Final = logging.getLogger("greenroom.peers")
_SILENT.disabled = True

Close = tuple[int, str]


class Peer(Protocol):
    """One connection."""

    async def send(self, fragments: Sequence[str | bytes], ping: bytes | None = None) -> None:
        """Send a message in these fragments; with `ping`, a ping between any two of them."""

    async def put(self, data: bytes) -> None:
        """Send these bytes as they are."""

    async def message(self) -> bytes:
        """Return the payload of the next message of data."""

    async def ping(self, payload: bytes) -> None:
        """Send a ping and wait for its pong."""

    async def close(self, code: int, reason: str) -> Close:
        """Close the connection; returns the server's answer."""

    async def closed(self) -> Close:
        """Read on until the server has closed the connection; returns how."""


class RawPeer:
    """A client without a library: see tests/protocol/live.py."""

    def __init__(self, raw: Raw, encoding: Encoding) -> None:
        self._raw = raw
        self._opcode = encoding.opcode

    async def send(self, fragments: Sequence[str | bytes], ping: bytes | None = None) -> None:
        for place, part in enumerate(fragments):
            if place and ping is not None:
                await self._raw.send(frames.PING, ping)
            await self._raw.send(
                frames.CONT if place else self._opcode,
                part.encode() if isinstance(part, str) else part,
                fin=place == len(fragments) - 1,
            )

    async def put(self, data: bytes) -> None:
        await self._raw.stream.send_all(data)

    async def message(self) -> bytes:
        while True:
            opcode, payload = await self._raw.frame()
            if opcode < frames.CLOSE:
                assert opcode == self._opcode
                return payload

    async def ping(self, payload: bytes) -> None:
        await self._raw.send(frames.PING, payload)
        while await self._raw.frame() != (frames.PONG, payload):
            pass

    async def close(self, code: int, reason: str) -> Close:
        await self._raw.send(frames.CLOSE, code.to_bytes(2, "big") + reason.encode())
        opcode, payload = await self._raw.frame()
        assert opcode == frames.CLOSE
        assert await self._raw.rest() == b"", "the server ends the stream first"
        return frames.parse_close(payload)

    async def closed(self) -> Close:
        return await self._raw.closed()


class TrioWebsocketPeer:
    """trio-websocket, on wsproto."""

    def __init__(
        self, websocket: trio_websocket.WebSocketConnection, stream: trio.SocketStream
    ) -> None:
        self._websocket = websocket
        self._stream = stream

    async def send(self, fragments: Sequence[str | bytes], ping: bytes | None = None) -> None:
        for place, part in enumerate(fragments):
            if place and ping is not None:
                await self._websocket.ping(ping)
            kind: Any = TextMessage if isinstance(part, str) else BytesMessage
            whole = place == len(fragments) - 1
            # The library itself never fragments; this is what sends its messages.
            await self._websocket._send(kind(data=part, message_finished=whole))  # noqa: SLF001

    async def put(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def message(self) -> bytes:
        message = await self._websocket.get_message()
        return message.encode() if isinstance(message, str) else bytes(message)

    async def ping(self, payload: bytes) -> None:
        await self._websocket.ping(payload)

    async def close(self, code: int, reason: str) -> Close:
        await self._websocket.aclose(code, reason)
        return self._how()

    async def closed(self) -> Close:
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                await self._websocket.get_message()
        return self._how()

    def _how(self) -> Close:
        how = self._websocket.closed
        assert how is not None
        return how.code, how.reason or ""


class WebsocketsPeer:
    """The client half of `websockets`, sans I/O, on a trio stream."""

    def __init__(self, stream: trio.SocketStream, encoding: Encoding, port: int) -> None:
        self._stream = stream
        self._opcode = encoding.opcode
        self._got: list[Frame] = []
        self.protocol = ClientProtocol(
            parse_uri(f"ws://127.0.0.1:{port}/ws"),
            subprotocols=[Subprotocol(encoding.subprotocol)],
            logger=_SILENT,
        )

    async def shake_hands(self) -> None:
        self.protocol.send_request(self.protocol.connect())
        await self._flush()
        while not self.protocol.handshake_exc and self.protocol.state.name == "CONNECTING":
            await self._fill()
        assert self.protocol.handshake_exc is None, self.protocol.handshake_exc

    async def send(self, fragments: Sequence[str | bytes], ping: bytes | None = None) -> None:
        protocol = self.protocol
        for place, part in enumerate(fragments):
            if place and ping is not None:
                await self.ping(ping)
            data = part.encode() if isinstance(part, str) else part
            fin = place == len(fragments) - 1
            if place:
                protocol.send_continuation(data, fin)
            elif isinstance(part, str):
                protocol.send_text(data, fin)
            else:
                protocol.send_binary(data, fin)
            await self._flush()

    async def put(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def message(self) -> bytes:
        frame = await self._frame(lambda one: one.opcode in {Opcode.TEXT, Opcode.BINARY})
        assert frame.opcode == self._opcode
        return bytes(frame.data)

    async def ping(self, payload: bytes) -> None:
        self.protocol.send_ping(payload)
        await self._flush()
        await self._frame(lambda one: one.opcode is Opcode.PONG and bytes(one.data) == payload)

    async def close(self, code: int, reason: str) -> Close:
        self.protocol.send_close(code, reason)
        await self._flush()
        return await self.closed()

    async def closed(self) -> Close:
        with contextlib.suppress(EOFError):
            while True:
                await self._fill()
        assert self.protocol.parser_exc is None or self.protocol.close_rcvd is not None
        return self.protocol.close_code or 0, self.protocol.close_reason or ""

    async def _frame(self, fits: Callable[[Frame], bool]) -> Frame:
        while True:
            for frame in self._got:
                if fits(frame):
                    self._got.remove(frame)
                    return frame
            await self._fill()

    async def _fill(self) -> None:
        try:
            data = await self._stream.receive_some(65_536)
        except trio.BrokenResourceError:
            data = b""
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        self._got += [one for one in self.protocol.events_received() if isinstance(one, Frame)]
        await self._flush()
        if not data:
            raise EOFError

    async def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if data:
                    await self._stream.send_all(data)
                else:
                    await self._stream.send_eof()


@asynccontextmanager
async def raw(server: Live, encoding: Encoding) -> AsyncIterator[Peer]:
    async with server.client(encoding.subprotocol) as client:
        yield RawPeer(client, encoding)


@asynccontextmanager
async def by_trio_websocket(server: Live, encoding: Encoding) -> AsyncIterator[Peer]:
    async with websocket_over_stream(server.port, encoding.subprotocol) as (websocket, stream):
        assert websocket.subprotocol == encoding.subprotocol
        yield TrioWebsocketPeer(websocket, stream)


@asynccontextmanager
async def by_websockets(server: Live, encoding: Encoding) -> AsyncIterator[Peer]:
    async with await server.socket() as stream:
        peer = WebsocketsPeer(stream, encoding, server.port)
        await peer.shake_hands()
        assert peer.protocol.subprotocol == encoding.subprotocol
        yield peer


Connect = Callable[[Live, Encoding], AbstractAsyncContextManager[Peer]]
PEERS: Final[dict[str, Connect]] = {
    "raw": raw,
    "trio-websocket": by_trio_websocket,
    "websockets": by_websockets,
}
