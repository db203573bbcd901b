"""The baseline of `bench.rooms`: a broadcaster as one writes it in an afternoon on trio-websocket.

The path of a connection is its room; whatever a member sends goes to every member of the room. It
decodes nothing, stores nothing and checks nothing, so it does less than a chat server must.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

rooms: defaultdict[str, set[WebSocketConnection]] = defaultdict(set)


async def member(request: WebSocketRequest) -> None:
    """Serve one connection until it closes."""
    room = rooms[request.path]
    connection = await request.accept()
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
    """Listen on a free port of the loopback and say on which."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, member, "127.0.0.1", 0, None)
        sys.stdout.write(f"listening on ws://127.0.0.1:{server.port}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main)
