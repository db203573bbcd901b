"""A client that asks for much and does not read the answers."""

from __future__ import annotations

import secrets
import socket
from urllib.parse import urlsplit

import msgpack
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

RECEIVE_BYTES = 131_072
"""Of the socket, or the kernel would read some MiB in the client's stead."""
LONG = 30
"""Messages of 4,000 bytes that it sends first, so that answers are of 100 KiB and more."""
MANY = 1_000
"""Requests: their answers are far more than socket buffers and an outbox hold together."""


async def stop_reading(url: str, room: str, *, for_s: float) -> int | None:
    """Ask for a room's history again and again, and read only `for_s` seconds later, to the end.

    Returns the close code that the server had sent, 1006 if it cut the line without one, 0 if it
    still holds the connection, None if the room could not be joined. It cuts the line
    `wire.close_timeout_s` after the close frame, whatever is unread: `for_s` is to be less.
    """
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    stream = await trio.open_tcp_stream(where.hostname, where.port)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    code = 0
    async with stream, trio.open_nursery() as nursery:
        # The library reads one message ahead of whoever calls get_message, and no more.
        client = await wrap_client_stream(
            nursery, stream, where.netloc, where.path,
            subprotocols=["greenroom.v1.msgpack"], message_queue_size=1,
        )  # fmt: skip
        try:
            with trio.move_on_after(for_s):
                if not await _join(client, room):
                    nursery.cancel_scope.cancel()
                    return None
                await _ask_on(client, room)
        except (ConnectionClosed, OSError, trio.BrokenResourceError):
            pass  # found out while sending; the reason is behind what was not read
        try:
            with trio.move_on_after(for_s):
                while True:
                    await client.get_message()
        except ConnectionClosed as closed:
            code = int(closed.reason.code) if closed.reason is not None else 1006
        nursery.cancel_scope.cancel()
    return code


async def _join(client: WebSocketConnection, room: str) -> bool:
    await client.send_message(msgpack.packb({"op": "session.open", "ref": 1, "name": "deaf"}))
    await client.send_message(msgpack.packb({"op": "room.join", "ref": 2, "room": room}))
    while True:
        message = msgpack.unpackb(await client.get_message())
        if message.get("ref") == 2:
            return bool(message["op"] == "ok")


async def _ask_on(client: WebSocketConnection, room: str) -> None:
    """Ask, until cancelled."""
    for _ in range(LONG):
        body = secrets.token_hex(2000)
        await client.send_message(msgpack.packb({"op": "room.send", "room": room, "body": body}))
    for ref in range(3, MANY):
        asked = {"op": "room.history", "ref": ref, "room": room, "limit": 100}
        await client.send_message(msgpack.packb(asked))
    await trio.sleep_forever()
