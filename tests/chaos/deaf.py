"""A client that requests much and does not read the answers.

What became of it is decided by what the server says of it, or by what it then reads, and never by
how long it took: a busy machine may take its time.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
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
GIVEN_UP_WITHIN_S = 60.0
"""After so long without a word of the server the client counts what there is to read. No server
needs so long, however busy; it only ends the wait for one that does not close."""
PAUSE_S = 0.01
"""Between two requests, or most are refused as too many at once."""
QUIET_S = 15.0
"""Nothing more comes if nothing came for so long, though not all is answered."""
ENOUGH_BYTES = 8 * 2**20
"""More than the buffers of two sockets and an outbox hold. Of less it is not known that the server
was ever kept waiting."""

Ended = Callable[[str], Awaitable[str]]
"""Waits until the server says that it has ended the connection from an address, `host:port`, and
returns the name of the close."""


class Deaf(msgspec.Struct):
    """What became of the client."""

    close: str = ""
    """The name of the close, by the server's log; empty: it still holds the connection."""
    answers: int = 0
    """What it read at last, if the server still held the connection."""
    read_bytes: int = 0
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    """Refusals among the answers, by code. They are short, and so no reason to be closed."""

    @property
    def held(self) -> bool:
        """Whether the server held on to it, though it had much to say to it."""
        return not self.close and self.read_bytes >= ENOUGH_BYTES

    def __str__(self) -> str:
        if self.close:
            return f"closed as {self.close}"
        refused = ", ".join(f"{count} {code}" for code, count in self.errors.most_common())
        return (
            f"not closed, and then read {self.answers} answers of {self.read_bytes:,} bytes "
            f"(refused: {refused or 'none'})"
        )


async def stop_reading(
    url: str, room: str, ended: Ended, *, within_s: float = GIVEN_UP_WITHIN_S
) -> Deaf | None:
    """Ask for a room's history again and again, without reading, until the server gives up.

    Returns None if the room could not be joined. If the server has not given up after `within_s`,
    the client reads all that there is.
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
            nursery.start_soon(_ask_on, client, room)
            host, port = stream.socket.getsockname()
            with trio.move_on_after(within_s):
                deaf.close = await ended(f"{host}:{port}")
            if not deaf.close:
                await _read_on(client, deaf)
        nursery.cancel_scope.cancel()
    return deaf if joined else None


async def _read_on(client: WebSocketConnection, deaf: Deaf) -> None:
    with contextlib.suppress(*_GONE):
        while True:
            with trio.move_on_after(QUIET_S) as quiet:
                message = await client.get_message()
            if quiet.cancelled_caught:
                return
            answer = msgpack.unpackb(message)
            deaf.answers += answer.get("ref") is not None
            deaf.read_bytes += len(message)
            if answer["op"] == "error":
                deaf.errors[answer["code"]] += 1
            if deaf.answers == MANY - 3:
                return


async def _join(client: WebSocketConnection, room: str) -> bool:
    await client.send_message(msgpack.packb({"op": "session.open", "ref": 1, "name": "deaf"}))
    await client.send_message(msgpack.packb({"op": "room.join", "ref": 2, "room": room}))
    while True:
        message = msgpack.unpackb(await client.get_message())
        if message.get("ref") == 2:
            return bool(message["op"] == "ok")


async def _ask_on(client: WebSocketConnection, room: str) -> None:
    """Ask, until all is asked or the connection is gone."""
    with contextlib.suppress(*_GONE):
        for _ in range(LONG):
            said = {"op": "room.send", "room": room, "body": secrets.token_hex(2000)}
            await client.send_message(msgpack.packb(said))
        for ref in range(3, MANY):
            asked = {"op": "room.history", "ref": ref, "room": room, "limit": 100}
            await client.send_message(msgpack.packb(asked))
            await trio.sleep(PAUSE_S)
