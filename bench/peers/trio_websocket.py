"""A broadcaster on trio-websocket, as one might write it in an afternoon.

The path of a connection names its room. What a member sends goes to every member of the room; on
the echo path it goes back to the sender. The server decodes nothing, stores nothing and checks
nothing, so it does less than a game server must.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from bench.peers.plain import ECHO, PlainClient

COMMAND = ["-m", "bench.peers.trio_websocket"]

rooms: defaultdict[str, set[WebSocketConnection]] = defaultdict(set)


class Driver(PlainClient):
    """The client of this broadcaster."""


async def serve(request: WebSocketRequest) -> None:
    """Serve one connection until it closes."""
    connection = await request.accept()
    if request.path == ECHO:
        await echo(connection)
    else:
        await broadcast(connection, rooms[request.path])


async def echo(connection: WebSocketConnection) -> None:
    """Send back what comes."""
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        pass


async def broadcast(connection: WebSocketConnection, room: set[WebSocketConnection]) -> None:
    """Send what comes to everyone in the room."""
    room.add(connection)
    try:
        while True:
            message = await connection.get_message()
            for other in tuple(room):
                try:
                    await other.send_message(message)
                except ConnectionClosed:
                    room.discard(other)
    except ConnectionClosed:
        pass
    finally:
        room.discard(connection)


async def main() -> None:
    """Listen on a free port of the loopback and print the address."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
        sys.stdout.write(f"listening on ws://127.0.0.1:{server.port}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main)
