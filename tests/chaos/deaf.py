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
"""The receive buffer of the socket. By default the kernel would buffer some MiB for the client."""
LONG = 30
"""How many messages of 4,000 bytes it sends first, so that answers have 100 KiB and more."""
MANY = 300
"""How many requests it sends. Their answers are far larger than socket buffers and an outbox
together, and their cost is low enough not to be closed as flooding."""
_GONE = (ConnectionClosed, OSError, trio.BrokenResourceError)
JOIN_WITHIN_S = 8.0
"""The wait for a join. It is longer than the server's own deadline, for rooms read from their
log."""


class Deaf(msgspec.Struct):
    """What became of the client."""

    code: int = 0
    """The close code that the server sent; 1006: it cut the connection without one; 0: it still
    holds the connection."""
    read_bytes: int = 0
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    """How often it read each code of a refusal. Refusals are too short to fill an outbox."""

    def __str__(self) -> str:
        refused = ", ".join(f"{count} {code}" for code, count in self.errors.most_common())
        return (
            f"closed with {self.code}, having read {self.read_bytes:,} bytes "
            f"(refused: {refused or 'none'})"
        )


async def stop_reading(url: str, room: str, *, for_s: float) -> Deaf | None:
    """Ask for a room's history again and again, and read only `for_s` seconds later, to the end.

    Returns None if the room could not be joined. `for_s` must be less than `wire.close_timeout_s`:
    so long after the close frame the server cuts the connection, whatever is unread.
    """
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    stream = await trio.open_tcp_stream(where.hostname, where.port)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    deaf = Deaf()
    async with stream, trio.open_nursery() as nursery:
        # With this size the library reads at most one message ahead of get_message.
        client = await wrap_client_stream(
            nursery, stream, where.netloc, where.path,
            subprotocols=["greenroom.v1.msgpack"], message_queue_size=1,
        )  # fmt: skip
        joined = False
        # The join has a time-out of its own: the client still reads then.
        with contextlib.suppress(*_GONE), trio.move_on_after(JOIN_WITHIN_S):
            joined = await _join(client, room)
        if joined:
            # A send fails once the server has closed. The close frame is behind what was not read.
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
    """Send requests until cancelled."""
    for _ in range(LONG):
        body = secrets.token_hex(2000)
        await client.send_message(msgpack.packb({"op": "room.send", "room": room, "body": body}))
    for ref in range(3, MANY):
        asked = {"op": "room.history", "ref": ref, "room": room, "limit": 100}
        await client.send_message(msgpack.packb(asked))
    await trio.sleep_forever()
