"""A client that requests much and does not read the answers."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections import Counter
from urllib.parse import urlsplit

import msgpack
import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

RECEIVE_BYTES = 131_072
"""Of the socket, or the kernel would read some MiB in the client's stead."""
LONG = 30
"""Messages of 4,000 bytes that it sends first, so that answers are of 100 KiB and more."""
MANY = 300
"""Requests: their answers are far more than socket buffers and an outbox hold together, and what
they cost is not so far over a session's rate that it would be closed as flooding."""
_GONE = (ConnectionClosed, OSError, trio.BrokenResourceError)
JOIN_WITHIN_S = 8.0
"""A room that comes back from its log may take its time: longer than the server's own deadline."""


class Deaf(msgspec.Struct):
    """What became of the client."""

    code: int = 0
    """The close code that the server had sent, 1006 if it cut the line without one, 0 if it still
    holds the connection."""
    read_bytes: int = 0
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    """Refusals among what it read, by code. They are short, and so no reason to be closed."""

    def __str__(self) -> str:
        refused = ", ".join(f"{count} {code}" for code, count in self.errors.most_common())
        return (
            f"closed with {self.code}, having read {self.read_bytes:,} bytes "
            f"(refused: {refused or 'none'})"
        )


async def stop_reading(url: str, room: str, *, for_s: float) -> Deaf | None:
    """Ask for a room's history again and again, and read only `for_s` seconds later, to the end.

    Returns None if the room could not be joined. The server cuts the line `wire.close_timeout_s`
    after the close frame, whatever is unread: `for_s` is to be less.
    """
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    stream = await trio.open_tcp_stream(where.hostname, where.port)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    deaf = Deaf()
    async with stream, trio.open_nursery() as nursery:
        # The library reads one message ahead of whoever calls get_message, and no more.
        client = await wrap_client_stream(
            nursery, stream, where.netloc, where.path,
            subprotocols=["greenroom.v1.msgpack"], message_queue_size=1,
        )  # fmt: skip
        joined = False
        # With a time of its own: it reads, and what it waits for says nothing of the deaf.
        with contextlib.suppress(*_GONE), trio.move_on_after(JOIN_WITHIN_S):
            joined = await _join(client, room)
        if joined:
            # Found out while sending; the reason is behind what was not read.
            with contextlib.suppress(*_GONE), trio.move_on_after(for_s):
                await _ask_on(client, room)
            await _read_on(client, deaf, for_s)
        nursery.cancel_scope.cancel()
    return deaf if joined else None


async def _read_on(client: WebSocketConnection, deaf: Deaf, for_s: float) -> None:
    try:
        with trio.move_on_after(for_s):
            while True:
                message = await client.get_message()
                deaf.read_bytes += len(message)
                answer = msgpack.unpackb(message)
                if answer["op"] == "error":
                    deaf.errors[answer["code"]] += 1
    except ConnectionClosed as closed:
        deaf.code = int(closed.reason.code) if closed.reason is not None else 1006


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
