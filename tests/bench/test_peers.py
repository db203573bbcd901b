"""The drivers of peers: those of Python against their servers, Nakama's against its documentation.

Socket.IO and Colyseus need Node.js and a registry of packages, which a test does not ask for.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import hypercorn.asyncio
import hypercorn.config
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.client import Client
from bench.peers import PEERS, serving
from bench.peers.nakama import Driver as Nakama
from bench.peers.picows import Driver as Picows
from bench.peers.trio_websocket import Driver as TrioWebSocket
from bench.peers.web import post, unchunked
from bench.tally import Tally

LENGTH = 60


async def until(tally: Tally, series: str, count: int) -> None:
    async with asyncio.timeout(10):
        while tally[series].done < count:
            await asyncio.sleep(0.005)


async def two_in_a_room(driver: type[Client], url: str) -> Tally:
    """Check that two in a room get what one says, that nobody else does, and that echo works."""
    tally = Tally()
    now = time.monotonic_ns()
    tally.open(now - 10**9, now + 60 * 10**9)
    clients = [driver(tally, f"tester-{number:03}") for number in range(3)]
    for client, room in zip(clients, ("one", "one", "two"), strict=True):
        await client.open(url, room)
    alone = driver(tally, "tester-alone")
    await alone.open(url)
    due = time.monotonic_ns()
    clients[0].say("one", due, LENGTH)
    alone.echo(tally["replies"], due)
    await until(tally, "deliveries", 2)
    await until(tally, "replies", 1)
    await asyncio.sleep(0.05)  # in which a third delivery would come
    assert tally["deliveries"].done == 2
    tally.over = True
    for client in (*clients, alone):
        client.disconnect()
    await asyncio.sleep(0.05)
    return tally


@pytest.mark.parametrize(
    ("peer", "driver"), [("trio-websocket", TrioWebSocket), ("picows", Picows)]
)
def test_a_broadcaster_reaches_the_room_and_echoes(peer: str, driver: type[Client]) -> None:
    with serving(peer, None) as server:
        tally = asyncio.run(two_in_a_room(driver, server.url))
    assert tally.errors == {}


def test_nakama_is_not_started_for_one() -> None:
    with pytest.raises(RuntimeError, match="--peer-url"), serving("nakama", None):
        pass


def test_every_peer_is_there() -> None:
    assert set(PEERS) == {"trio-websocket", "picows", "socketio", "colyseus", "nakama"}


class DocumentedNakama:
    """A server with the part of Nakama's API for logins, pings and chat, by its documentation."""

    def __init__(self) -> None:
        self.channels: dict[str, set[WebSocket]] = {}

    async def authenticate(self, request: Request) -> JSONResponse:
        assert request.headers["authorization"] == "Basic ZGVmYXVsdGtleTo="
        device = (await request.json())["id"]
        assert 10 <= len(device) <= 128
        return JSONResponse({"token": device})

    async def connect(self, client: WebSocket) -> None:
        assert client.query_params["token"]
        await client.accept()
        with suppress(WebSocketDisconnect):
            while True:
                await self.answer(client, msgspec.json.decode(await client.receive_text()))

    async def answer(self, client: WebSocket, request: dict[str, dict[str, object]]) -> None:
        cid = request["cid"]
        if "ping" in request:
            answer: dict[str, object] = {"pong": {}}
        elif "channel_join" in request:
            channel = f"2...{request['channel_join']['target']}"
            self.channels.setdefault(channel, set()).add(client)
            answer = {"channel": {"id": channel}}
        else:
            sent = request["channel_message_send"]
            channel = str(sent["channel_id"])
            for member in self.channels[channel]:
                push = {"channel_message": {"channel_id": channel, "content": sent["content"]}}
                await member.send_text(msgspec.json.encode(push).decode())
            answer = {"channel_message_ack": {"channel_id": channel}}
        await client.send_text(msgspec.json.encode({"cid": cid, **answer}).decode())


def test_nakama_is_spoken_to_as_documented() -> None:
    nakama = DocumentedNakama()
    routes = [
        Route("/v2/account/authenticate/device", nakama.authenticate, methods=["POST"]),
        WebSocketRoute("/ws", nakama.connect),
    ]

    async def run() -> Tally:
        listener = socket.create_server(("127.0.0.1", 0))
        config = hypercorn.config.Config()
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        config.bind = [f"fd://{listener.detach()}"]
        config.loglevel = "CRITICAL"
        over = asyncio.Event()
        serving = asyncio.create_task(
            hypercorn.asyncio.serve(Starlette(routes=routes), config, shutdown_trigger=over.wait)  # type: ignore[arg-type]  # as its documentation shows
        )
        try:
            return await two_in_a_room(Nakama, url)
        finally:
            over.set()
            await serving

    tally = asyncio.run(run())
    assert tally.errors == {}
    assert tally["acks"].done == 1


def test_what_is_not_ok_is_an_error() -> None:
    async def run() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConnectionError, match="401"):
                await post(f"ws://127.0.0.1:{port}", "/login", {"a": 1})

    asyncio.run(run())


def test_a_body_in_chunks_is_put_together() -> None:
    assert unchunked(b'4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n') == b'{"a":1}'
    assert unchunked(b"") == b""
