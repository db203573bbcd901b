"""A server that follows a script, one connection after the other.

It is for things that a client must bear and that a real server cannot be made to do at the right
moment, such as a break between request and answer. The bytes are trio-websocket's own and our
codec's. A script is an async function of one `Peer`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio
import trio_websocket

from protocol.client import ClientSettings, Gap, ReconnectBackoff, Room
from protocol.codec import ENCODINGS, Encoding
from protocol.messages.envelope import Ok, Request
from protocol.messages.room import Member, Message, RoomJoin, RoomMessage, RoomRecovered, RoomState
from protocol.messages.session import SessionClose, SessionOpened

R = TypeVar("R", bound=Request)

MEMBERS = [Member("u1", "ada")]
BOB = Member("u2", "bob")
QUICK = ClientSettings(
    backoff=ReconnectBackoff(first_s=0.01), request_timeout_s=60.0, close_timeout_s=0.2
)


def opened(
    *, resumed: bool = False, keepalive_s: float = 20.0, expires: int | None = None
) -> SessionOpened:
    return SessionOpened(
        session="s1",
        user="u1",
        name="ada",
        token="t1",
        resumed=resumed,
        resume_within_s=60.0,
        keepalive_s=keepalive_s,
        max_message_bytes=65_536,
        expires=expires,
    )


def said(offset: int, body: str = "") -> Message:
    return Message(offset, "u2", "bob", body or f"m{offset}", 1_700_000_000_000 + offset)


def push(message: Message, room: str = "lobby") -> RoomMessage:
    return RoomMessage(
        room=room,
        offset=message.offset,
        user=message.user,
        name=message.name,
        body=message.body,
        at=message.at,
    )


def recovered(*messages: Message, offset: int, epoch: int = 1, whole: bool = True) -> RoomRecovered:
    return RoomRecovered(
        room="lobby",
        recovered=whole,
        epoch=epoch,
        offset=offset,
        members=[*MEMBERS, BOB],
        members_total=2,
        messages=list(messages),
    )


class Peer:
    """The server's end of one connection, as a script uses it."""

    def __init__(
        self,
        websocket: trio_websocket.WebSocketConnection,
        stream: trio.abc.AsyncResource,
        encoding: Encoding,
        end_server: Callable[[], None],
    ) -> None:
        self._websocket = websocket
        self._stream = stream
        self.encoding = encoding
        self.end_server = end_server
        """Cut every connection and listen no more."""

    async def expect(self, kind: type[R]) -> R:
        """Return the next request, which must be of this type."""
        request = self.encoding.decode_request(await self._websocket.get_message())
        assert isinstance(request, kind), f"expected {kind.__name__}, came {request}"
        return request

    async def send(self, *messages: Any) -> None:
        for message in messages:
            payload = self.encoding.encode(message)
            text = self.encoding.name == "json"
            await self._websocket.send_message(payload.decode() if text else payload)

    async def raw(self, payload: bytes) -> None:
        await self._websocket.send_message(payload)

    async def answer(self, kind: type[R], data: Any = None) -> R:
        """Expect a request and answer it with `data`."""
        request = await self.expect(kind)
        assert request.ref is not None
        await self.send(Ok(request.ref, data))
        return request

    async def answer_until(self, kind: type[Request]) -> None:
        """Answer every request without data, up to and including one of this type."""
        while True:
            request = self.encoding.decode_request(await self._websocket.get_message())
            assert request.ref is not None
            await self.send(Ok(request.ref))
            if isinstance(request, kind):
                return

    async def join(self, offset: int = 0, messages: Sequence[Message] = (), epoch: int = 1) -> None:
        """Answer the join of a room that stands at `offset`."""
        request = await self.expect(RoomJoin)
        assert request.ref is not None
        state = RoomState(request.room, epoch, offset, MEMBERS, len(MEMBERS), list(messages))
        await self.send(Ok(request.ref, state))

    async def close(self, code: int, reason: str = "") -> None:
        await self._websocket.aclose(code, reason)

    async def cut(self) -> None:
        """End the TCP connection without a close frame."""
        await trio.aclose_forcefully(self._stream)

    async def silence(self) -> None:
        """Send nothing more until the client has gone."""
        while True:
            await self._websocket.get_message()


async def take(room: Room, count: int) -> list[Message | Gap]:
    with trio.fail_after(60):
        return [await anext(room) for _ in range(count)]


async def part(peer: Peer) -> None:
    """End the script as most do: the client leaves, and the server closes."""
    await peer.answer(SessionClose)
    await peer.close(1000)


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def scripted(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve the scripts, each to one connection, in order; yields the address.

    A connection more than there are scripts fails the test, and so does a script not reached.
    """
    waiting = list(scripts)

    async def serve(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            assert waiting, "one connection too many"
            script = waiting.pop(0)
            (subprotocol,) = request.proposed_subprotocols
            websocket = await request.accept(subprotocol=subprotocol)
            try:
                await script(Peer(websocket, stream, ENCODINGS[subprotocol], scope.cancel))
            except trio_websocket.ConnectionClosed:
                pass  # the client left while the script waited for more
            finally:
                await websocket.aclose()

    scope = trio.CancelScope()

    async def listen(task_status: trio.TaskStatus[int]) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                listening = [listener if tls is None else trio.SSLListener(listener, tls)]
                nursery.start_soon(trio.serve_listeners, serve, listening)
                task_status.started(listener.socket.getsockname()[1])

    async with trio.open_nursery() as nursery:
        port = await nursery.start(listen)
        yield f"ws://127.0.0.1:{port}/ws"
        assert not waiting, f"{len(waiting)} connections were never made"
        scope.cancel()
