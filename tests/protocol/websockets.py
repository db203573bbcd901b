"""A WebSocket of the library trio-websocket over a stream that the test has opened itself.

The library keeps its stream to itself. Over a stream of its own a test can break a connection as a
network does, close one direction of it, or send bytes past the library.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream


@asynccontextmanager
async def websocket_over_stream(
    port: int, subprotocol: str
) -> AsyncIterator[tuple[WebSocketConnection, trio.SocketStream]]:
    """Connect to a server on this machine. At the end the socket is closed without a close frame.

    What the block raises is raised as it is, not in a group as the nursery would raise it.
    """
    failure: Exception | None = None
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        async with trio.open_nursery() as nursery:
            websocket = await wrap_client_stream(
                nursery, stream, "127.0.0.1", "/ws", subprotocols=[subprotocol]
            )
            try:
                yield websocket, stream
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
    if failure is not None:
        raise failure
