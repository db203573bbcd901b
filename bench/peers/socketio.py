"""Socket.IO 4 on Node, with the room from its documentation (socketio.mjs).

The client speaks Engine.IO 4 over WebSocket, without the usual start over HTTP:
https://socket.io/docs/v4/socket-io-protocol/
"""

from __future__ import annotations

import asyncio

import msgspec
from picows import WSFrame, WSTransport

from bench.client import Client, mark_in, marked
from bench.peers import node
from bench.tally import Series, Tally

serving = node.serving("socketio.mjs")

OPEN, PING, PONG = b"0", b"2", "3"
CONNECT, CONNECTED = "40", b"40"
EVENT, ACK = "42", b"43"


class Driver(Client):
    """Text frames of Engine.IO's type, Socket.IO's type, the id of an ack, and JSON."""

    def __init__(self, tally: Tally, name: str) -> None:
        super().__init__(tally, name)
        self.ref = 0
        self.waiting: dict[int, tuple[Series, int] | asyncio.Future[None]] = {}

    async def address(self, url: str, room: str | None) -> str:
        del room
        return url + "/socket.io/?EIO=4&transport=websocket"

    async def enter(self, room: str | None) -> None:
        await self.opened
        if room is not None:
            joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.emit(joined, "join", room)
            await joined

    def emit(self, waiting: tuple[Series, int] | asyncio.Future[None], *event: str) -> None:
        """Send an event that is to be acknowledged."""
        self.ref += 1
        self.waiting[self.ref] = waiting
        self.send_text(f"{EVENT}{self.ref}{msgspec.json.encode(event).decode()}")

    def echo(self, series: Series, scheduled_ns: int) -> None:
        series.expect(scheduled_ns)
        self.emit((series, scheduled_ns), "echo", "ping")

    def say(self, room: str, scheduled_ns: int, length: int) -> None:
        self.send_text(f'{EVENT}["say","{room}","{marked(scheduled_ns, length)}"]')

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        due = mark_in(payload)
        if due is not None:
            self.delivered.end(due)
        elif payload.startswith(ACK):
            waiting = self.waiting.pop(int(payload[2 : payload.index(b"[")]))
            if isinstance(waiting, tuple):
                waiting[0].end(waiting[1])
            else:
                waiting.set_result(None)
        elif payload.startswith(CONNECTED):
            self.opened.set_result(None)
        elif payload.startswith(OPEN):
            self.send_text(CONNECT)
        elif payload == PING:
            self.send_text(PONG)
