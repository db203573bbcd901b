"""Clients of the load generator, on picows: the base class of all, and the client for Greenroom.

The Python client in protocol/client.py is for players. This one takes a few microseconds a message,
keeps no history and does not reconnect: the report shows a lost connection as an error.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec
from picows import (
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

from bench.tally import Series, Tally

MARK = b"@t="
DIGITS = 20
"""Digits of a time in nanoseconds. A message has the mark and then the time it was due."""
MIN_BODY = len(MARK) + DIGITS
OPEN_TIMEOUT_S = 60.0
BUFFER_BYTES = 4096  # picows starts with 16 KiB, which for 20,000 clients is 320 MiB


def marked(scheduled_ns: int, length: int) -> str:
    """Return the text of a message that says when it was due."""
    return f"{MARK.decode()}{scheduled_ns:0{DIGITS}d}".ljust(length, ".")


def mark_in(payload: bytes) -> int | None:
    """Return when the message was due, None if it does not say."""
    at = payload.find(MARK)
    return None if at < 0 else int(payload[at + len(MARK) : at + MIN_BODY])


class Client(WSListener):
    """One connection. Subclasses speak the protocol of Greenroom or of a peer.

    Attributes:
        delivered: the series in which messages of the room are counted.
    """

    headers: ClassVar[dict[str, str] | None] = None

    def __init__(self, tally: Tally, name: str) -> None:
        self.tally = tally
        self.name = name
        self.delivered: Series = tally["deliveries"]
        self.transport: WSTransport | None = None
        self.leaving = False
        """Whether the client leaves on purpose, so that the end of its connection is no error."""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def address(self, url: str, room: str | None) -> str:
        """Return the address to connect to for a place in `room`."""
        del room
        return url

    async def open(self, url: str, room: str | None = None) -> None:
        """Connect, open a session and join `room`, by whatever steps the server has for these.

        Raises:
            ConnectionError, TimeoutError, OSError: one of the steps failed.
        """
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            try:
                await ws_connect(
                    lambda: self,
                    await self.address(url, room),
                    extra_headers=self.headers,
                    websocket_handshake_timeout=OPEN_TIMEOUT_S,
                    read_buffer_init_size=BUFFER_BYTES,
                )
            except WSHandshakeError as error:
                raise ConnectionError(f"{self.name}: {error}") from error
            await self.enter(room)

    async def enter(self, room: str | None) -> None:
        """Do what follows the handshake, such as joining `room`."""

    def echo(self, series: Series, scheduled_ns: int) -> None:
        """Send a request whose reply is counted in `series`."""
        raise NotImplementedError

    def say(self, room: str, scheduled_ns: int, length: int) -> None:
        """Send a text of `length` bytes to everyone in the room; arrivals count in `delivered`."""
        raise NotImplementedError

    def disconnect(self) -> None:
        if self.transport is not None:
            self.transport.disconnect()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, _: WSTransport) -> None:
        if not self.tally.over and not self.leaving:
            self.tally.errors["disconnected"] += 1
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"{self.name} was disconnected"))
            self.opened.exception()  # it may be that nobody waits for it

    def send_bytes(self, payload: bytes) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.BINARY, payload)

    def send_text(self, payload: str) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, payload.encode())


class SeenMessage(msgspec.Struct):
    """The fields of a server's message that the load looks at; the others are skipped."""

    op: str
    ref: int | None = None
    code: str = ""
    message: str = ""
    data: msgspec.Raw = msgspec.Raw()
    match: str = ""
    tick: int = 0
    acks: dict[str, int] = {}
    refs: list[int] = []
    """Further requests that failed together with `ref`."""


class RefusedError(ConnectionError):
    """The server answered `error` to a request that the load cannot do without."""


FRAMES = msgspec.msgpack.Decoder(SeenMessage)
ROOM_MESSAGE = b"\xa2op\xacroom.message"
"""The beginning of every `room.message`, after the byte with the number of fields."""
encode = msgspec.msgpack.Encoder().encode


class BenchSession(Client):
    """The client for Greenroom: a session, in a room if one is named."""

    headers: ClassVar[dict[str, str] | None] = {"Sec-WebSocket-Protocol": "greenroom.v1.msgpack"}

    def __init__(self, tally: Tally, name: str) -> None:
        super().__init__(tally, name)
        self.ref = 0
        self.user = ""
        self.waiting: dict[int, tuple[Series, int] | asyncio.Future[msgspec.Raw]] = {}

    async def enter(self, room: str | None) -> None:
        opened = await self.request("session.open", name=self.name)
        self.user = msgspec.msgpack.decode(opened)["user"]
        if room is not None:
            await self.join(room)

    async def join(self, room: str) -> None:
        await self.request("room.join", room=room)

    def request(self, op: str, **fields: Any) -> asyncio.Future[msgspec.Raw]:
        """Send a request; return a future of the `data` in its `ok`.

        The future raises RefusedError if the answer is an error, and ConnectionError if the
        connection ends first.
        """
        reply: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self.ref += 1
        self.waiting[self.ref] = reply
        self.send_bytes(encode({"op": op, "ref": self.ref, **fields}))
        return reply

    def timed(self, series: Series, scheduled_ns: int, op: str, **fields: Any) -> None:
        """Send a request whose reply is counted in `series`."""
        self.ref += 1
        self.waiting[self.ref] = (series, scheduled_ns)
        series.expect(scheduled_ns)
        self.send_bytes(encode({"op": op, "ref": self.ref, **fields}))

    def echo(self, series: Series, scheduled_ns: int) -> None:
        self.timed(series, scheduled_ns, "ping")

    def say(self, room: str, scheduled_ns: int, length: int) -> None:
        body = marked(scheduled_ns, length)
        self.timed(self.tally["acks"], scheduled_ns, "room.send", room=room, body=body)

    def pushed(self, frame: SeenMessage) -> None:
        """Handle a push other than `room.message`. Players of matches override it."""

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        tally = self.tally
        # A broadcast comes to one member after another: reading its mark once for all of them
        # takes the cost of a delivery here from 1.3 to 0.6 us.
        if payload == tally.last_payload:
            self.delivered.end(tally.last_due_ns)
            return
        if frame.msg_type is not WSMsgType.BINARY:
            return
        if payload.startswith(ROOM_MESSAGE, 1):
            due_ns = mark_in(payload)
            if due_ns is not None:
                tally.last_payload, tally.last_due_ns = payload, due_ns
                self.delivered.end(due_ns)
            return
        message = FRAMES.decode(payload)
        if message.ref is None:
            self.pushed(message)
            return
        for ref in (message.ref, *message.refs):
            self._answered(ref, message)

    def _answered(self, ref: int, message: SeenMessage) -> None:
        waiting = self.waiting.pop(ref, None)
        if message.op == "error":
            self.tally.errors[message.code] += 1
            if isinstance(waiting, asyncio.Future) and not waiting.done():
                waiting.set_exception(RefusedError(f"{message.code}: {message.message}"))
        elif isinstance(waiting, tuple):
            waiting[0].end(waiting[1])
        elif waiting is not None and not waiting.done():
            waiting.set_result(message.data)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        super().on_ws_disconnected(transport)
        for waiting in self.waiting.values():
            if isinstance(waiting, asyncio.Future) and not waiting.done():
                waiting.set_exception(ConnectionError(f"{self.name} was disconnected"))
                waiting.exception()
