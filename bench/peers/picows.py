"""A broadcaster on picows and uvloop: WebSocket in C, without actors, checks or stores.

It shows the most that a Python server can do if it only passes messages on.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.peers.plain import ECHO, PlainClient

COMMAND = ["-m", "bench.peers.picows"]

rooms: defaultdict[str, set[WSTransport]] = defaultdict(set)


class Driver(PlainClient):
    """The client of this broadcaster."""


class Echo(WSListener):
    """Sends back what comes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.BINARY:
            transport.send(WSMsgType.BINARY, frame.get_payload_as_bytes())


class RoomMember(WSListener):
    """Sends what comes to everyone in the room."""

    def __init__(self, room: set[WSTransport]) -> None:
        self.room = room

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.room.add(transport)

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.BINARY:
            payload = frame.get_payload_as_bytes()
            for other in self.room:
                other.send(WSMsgType.BINARY, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.room.discard(transport)


def accept(request: WSUpgradeRequest) -> WSListener:
    """Return the listener of a new connection, whose path names its room."""
    path = request.path.decode()
    return Echo() if path == ECHO else RoomMember(rooms[path])


async def main() -> None:
    """Listen on a free port of the loopback and print the address."""
    server = await ws_create_server(accept, "127.0.0.1", 0)
    sys.stdout.write(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
