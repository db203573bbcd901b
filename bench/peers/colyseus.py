"""Colyseus 0.18 on Node, with the room from its documentation (colyseus.mjs).

The client reserves a seat over HTTP, then takes it over WebSocket. A message is a byte for its
kind, then its type and its payload in msgpack (https://docs.colyseus.io/sdk, `Protocol` in its
source).
"""

from __future__ import annotations

from collections import deque

from picows import WSFrame, WSTransport

from bench.client import Client, encode, mark_in, marked
from bench.peers import node
from bench.peers.web import post
from bench.tally import Series, Tally

serving = node.serving("colyseus.mjs")

JOIN_ROOM, ROOM_DATA = 10, 13
SAY = bytes((ROOM_DATA,)) + encode("say")
ECHO = bytes((ROOM_DATA,)) + encode("echo")
NOWHERE = "lobby-of-echoes"


class Driver(Client):
    """One seat in one room. Colyseus has nothing outside rooms, so echoes have a room too."""

    def __init__(self, tally: Tally, name: str) -> None:
        super().__init__(tally, name)
        self.echoing: deque[tuple[Series, int]] = deque()

    async def address(self, url: str, room: str | None) -> str:
        seat = await post(url, "/matchmake/joinOrCreate/chat", {"channel": room or NOWHERE})
        return f"{url}/{seat['processId']}/{seat['roomId']}?sessionId={seat['sessionId']}"

    async def enter(self, _: str | None) -> None:
        await self.opened

    def echo(self, series: Series, scheduled_ns: int) -> None:
        self.echoing.append((series, scheduled_ns))
        series.expect(scheduled_ns)
        self.send_bytes(ECHO + encode("ping"))

    def say(self, _: str, scheduled_ns: int, length: int) -> None:
        self.send_bytes(SAY + encode(marked(scheduled_ns, length)))

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if payload.startswith(SAY):
            due = mark_in(payload)
            if due is not None:
                self.delivered.end(due)
        elif payload.startswith(ECHO):
            series, scheduled_ns = self.echoing.popleft()
            series.end(scheduled_ns)
        elif payload[0] == JOIN_ROOM:
            self.send_bytes(bytes((JOIN_ROOM,)))
            self.opened.set_result(None)
