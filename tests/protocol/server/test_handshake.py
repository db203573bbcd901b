from __future__ import annotations

import base64
import errno
import hashlib
import json
import socket
from typing import Any

import pytest
import trio

from protocol.codec import ENCODINGS, JSON, MSGPACK
from protocol.messages.session import Ping
from protocol.server.listener import listen
from protocol.server.origin import with_own_ports
from protocol.server.settings import WireSettings
from tests.protocol.live import KEY, Raw, live, masked, upgrade


async def status_of(request: bytes, **settings: Any) -> tuple[int, str]:
    async with live(**settings) as server:
        answer = await server.http(request)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Connection: close" in head
        assert f"Content-Length: {len(body)}".encode() in head
        async with server.client() as bystander:  # and others come in as before
            await bystander.pong()
        return int(head.split(b" ")[1]), head.decode() + body.decode()


@pytest.mark.parametrize("subprotocol", ENCODINGS)
async def test_a_client_with_a_subprotocol_comes_in(subprotocol: str) -> None:
    async with live() as server, server.client(subprotocol) as client:
        accept = base64.b64encode(
            hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        )
        lines = client.response.split(b"\r\n")
        assert b"Sec-WebSocket-Accept: " + accept in lines
        assert f"Sec-WebSocket-Protocol: {subprotocol}".encode() in lines
        await client.pong(encoding=ENCODINGS[subprotocol])


async def test_the_server_prefers_msgpack_and_offers_no_extension() -> None:
    request = upgrade(
        f"chat, {JSON.subprotocol}, {MSGPACK.subprotocol}",
        path="/ws?from=here",
        Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
    )
    async with live() as server, await server.socket() as stream:
        client = Raw(stream)
        await stream.send_all(request)
        head = await client.head()
        assert f"Sec-WebSocket-Protocol: {MSGPACK.subprotocol}".encode() in head
        assert b"Sec-WebSocket-Extensions" not in head
        await client.pong()


@pytest.mark.parametrize("subprotocol", ["chat", "greenroom.v2.msgpack"])
async def test_an_unknown_subprotocol_is_told_the_known_ones(subprotocol: str) -> None:
    status, text = await status_of(upgrade(subprotocol))
    assert status == 400
    assert all(name in text for name in ENCODINGS)


async def test_a_missing_subprotocol_is_told_the_known_ones() -> None:
    status, text = await status_of(upgrade(Sec_WebSocket_Protocol=None))
    assert status == 400
    assert all(name in text for name in ENCODINGS)


async def test_another_path_is_not_found_and_told_the_right_one() -> None:
    status, text = await status_of(upgrade(path="/socket"))
    assert status == 404
    assert "/ws" in text


@pytest.mark.parametrize("path", ["/", "/ws", "/favicon.ico"])
async def test_a_plain_get_is_told_what_this_port_is(path: str) -> None:
    status, text = await status_of(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status == 426
    assert "Upgrade: websocket" in text
    assert "/ws" in text
    assert MSGPACK.subprotocol in text


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://game.example", True),
        ("https://GAME.example:443/", True),
        ("https://game.example:8443", False),
        ("http://game.example", False),
        ("https://game.example.evil.example", False),
        ("https://evil.example", False),
        ("http://localhost:3000", True),
        ("null", False),
        (None, True),
    ],
)
@pytest.mark.parametrize(
    "listed",
    [
        ("https://game.example", "http://localhost:3000"),
        ("HTTPS://Game.Example/", "http://LOCALHOST:3000/"),
        ("https://game.example:443", "http://localhost:3000"),
    ],
)
async def test_only_listed_origins_come_in(
    listed: tuple[str, ...], origin: str | None, allowed: bool
) -> None:
    async with live(origins=listed) as server:
        async with await server.socket() as stream:
            await stream.send_all(upgrade(Origin=origin))
            head = await Raw(stream).head()
        assert int(head.split(b" ")[1]) == (101 if allowed else 403)


@pytest.mark.parametrize(
    "origin",
    ["*", "game.example", "https://game.example/play", "https://", "https://a b", "", "://x"],
)
def test_what_no_browser_would_send_cannot_be_listed(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        WireSettings(origins=(origin,))


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://127.0.0.1:7351", "127.0.0.1:7350", True),
        ("http://localhost:7351", "localhost:7350", True),
        ("HTTP://LocalHost:7351", "LOCALHOST:7350", True),
        ("http://[::1]:7351", "[::1]:7350", True),
        ("http://192.168.1.7:7351", "192.168.1.7:7350", True),
        (None, "127.0.0.1:7350", True),
        ("http://127.0.0.1:8080", "127.0.0.1:7350", False),  # another program's page
        ("http://127.0.0.1", "127.0.0.1:7350", False),
        ("https://127.0.0.1:7351", "127.0.0.1:7350", False),
        ("http://localhost:7351", "127.0.0.1:7350", False),
        ("http://192.168.1.8:7351", "192.168.1.7:7350", False),
        # A name that its owner had lead here for a moment (DNS rebinding).
        ("http://evil.example:7351", "evil.example:7350", False),
        ("http://localhost.evil.example:7351", "localhost.evil.example:7350", False),
        ("http://127.0.0.1.evil.example:7351", "127.0.0.1.evil.example:7350", False),
        ("https://evil.example", "127.0.0.1:7350", False),
        ("http://127.0.0.1:7351@evil.example", "127.0.0.1:7350", False),
        ("null", "127.0.0.1:7350", False),
        ("", "127.0.0.1:7350", False),
    ],
)
async def test_by_default_only_the_servers_own_page_comes_in(
    origin: str | None, host: str, allowed: bool
) -> None:
    origins = with_own_ports(WireSettings().origins, [7351])
    async with live(origins=origins) as server, await server.socket() as stream:
        await stream.send_all(upgrade(Origin=origin, Host=host))
        head = await Raw(stream).head()
    assert int(head.split(b" ")[1]) == (101 if allowed else 403)


async def test_a_server_without_a_page_lets_no_page_in_by_default() -> None:
    origins = with_own_ports(WireSettings().origins, [])
    assert origins == ("self",)
    async with live(origins=origins) as server, await server.socket() as stream:
        await stream.send_all(upgrade(Origin="http://127.0.0.1:7351", Host="127.0.0.1:7350"))
        assert (await Raw(stream).head()).startswith(b"HTTP/1.1 403 ")


async def test_pages_at_the_same_address_and_a_port_that_is_named_come_in() -> None:
    async with live(origins=("self:5173",)) as server, await server.socket() as stream:
        await stream.send_all(upgrade(Origin="http://localhost:5173", Host="localhost:7350"))
        assert (await Raw(stream).head()).startswith(b"HTTP/1.1 101 ")


async def test_with_an_empty_list_any_origin_comes_in() -> None:
    async with live(origins=()) as server, await server.socket() as stream:
        await stream.send_all(upgrade(Origin="https://any.example"))
        assert (await Raw(stream).head()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /ws HTTP/3\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (upgrade().replace(b"HTTP/1.1", b"HTTP/1.2"), 505),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"POST /ws HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"GET /ws HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (upgrade().replace(b"GET", b"PUT"), 405),
        (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (upgrade(Host=None), 400),
        (upgrade().replace(b"Upgrade:", b"Host: other\r\nUpgrade:", 1), 400),
        (upgrade(Sec_WebSocket_Version="8"), 426),
        (upgrade(Sec_WebSocket_Version=None), 426),
        (upgrade(Sec_WebSocket_Key=None), 400),
        (upgrade(Sec_WebSocket_Key="short"), 400),
        (upgrade(Connection="keep-alive"), 426),
        (upgrade(Upgrade="h2c"), 426),
        (upgrade(X_Many="x" * 9000), 431),
        (b"GET /" + b"x" * 9000, 414),
        (upgrade(path="/" + "x" * 9000), 414),
    ],
)  # fmt: skip
async def test_what_is_no_handshake_has_its_status(request_: bytes, expected: int) -> None:
    status, _ = await status_of(request_)
    assert status == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "c" * 9_000},
        {f"X-{number}": "y" for number in range(500)},
        {"Cookie": "c" * 9_000, "Host": "other"},
    ],
)
async def test_a_head_of_the_size_that_is_allowed_comes_in(headers: dict[str, str]) -> None:
    async with live(max_header_bytes=32_768) as server, await server.socket() as stream:
        await stream.send_all(upgrade(**headers))
        client = Raw(stream)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        await client.pong()


async def test_another_version_of_websocket_is_told_ours() -> None:
    for version in ("8", "14", None):
        _, text = await status_of(upgrade(Sec_WebSocket_Version=version))
        assert "\r\nSec-WebSocket-Version: 13" in text


async def test_a_first_line_beyond_the_librarys_limit_has_its_status() -> None:
    request = upgrade(path="/" + "x" * 9000)
    status, _ = await status_of(request, max_header_bytes=20_000)
    assert status == 414


async def test_a_handshake_may_come_byte_by_byte_with_messages_behind_it() -> None:
    first = masked(MSGPACK.opcode, MSGPACK.encode(Ping(ref=1)))
    async with live() as server, await server.socket() as stream:
        for byte in upgrade():
            await stream.send_all(bytes([byte]))
        client = Raw(stream)
        await client.head()
        await client.pong()
    async with live() as server, await server.socket() as stream:
        await stream.send_all(upgrade() + first + first[:5])
        client = Raw(stream)
        await client.head()
        assert (await client.message()).ref == 1
        await stream.send_all(first[5:])
        assert (await client.message()).ref == 1


@pytest.mark.parametrize("begun", [b"", b"GET /ws HTTP/1.1\r\n"])
async def test_a_handshake_that_takes_too_long_times_out(begun: bytes) -> None:
    status, _ = await status_of(begun, handshake_timeout_s=0.1)
    assert status == 408


async def test_who_leaves_within_the_handshake_disturbs_nobody() -> None:
    async with live() as server:
        for part in (b"", upgrade()[:20]):
            stream = await server.socket()
            if part:
                await stream.send_all(part)
            await stream.aclose()
        async with server.client() as bystander:
            await bystander.pong()
        assert server.gateway.statistics().opened == 1


async def test_beyond_the_limit_a_client_is_told_to_retry() -> None:
    async with live(max_connections=2) as server:
        async with server.client() as one, server.client() as two:
            answer = await server.http(upgrade())
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: " in answer
            await one.pong()
            await two.pong()
        while server.gateway.statistics().connections:
            await trio.sleep(0.001)
        async with server.client() as three:
            await three.pong()
        assert server.gateway.statistics().refused == {503: 1}


async def test_far_beyond_the_limit_sockets_are_told_so_unread() -> None:
    async with (
        live(max_connections=1, spare_handshakes=1) as server,
        server.client() as one,
        await server.socket(),
    ):
        while server.gateway.statistics().sockets < 2:
            await trio.sleep(0.001)
        async with await server.socket() as third:
            assert (await Raw(third).head()).startswith(b"HTTP/1.1 503 ")
        assert server.gateway.statistics().dropped == 1
        await one.pong()


async def test_one_port_serves_many_listeners_that_share_it() -> None:
    first = listen("127.0.0.1", 0, reuse_port=True)
    port = first[0].getsockname()[1]
    second = listen("127.0.0.1", port, reuse_port=True)
    for sock in (*first, *second):
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
        sock.close()


@pytest.mark.parametrize("host", ["::", ""])
def test_every_address_means_ipv4_too(host: str) -> None:
    listeners = listen(host, 0)
    port = listeners[0].getsockname()[1]
    for sock in listeners:
        there = "127.0.0.1" if sock.family == socket.AF_INET else "::1"
        with socket.create_connection((there, port), timeout=60):
            pass
        sock.close()
    assert socket.AF_INET in [sock.family for sock in listeners]


def test_a_machine_without_ipv6_listens_on_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutIPv6(socket.socket):
        def __init__(self, family: int, *rest: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *rest)

    monkeypatch.setattr(socket, "socket", WithoutIPv6)
    (listener,) = listen("::", 0)
    assert listener.family == socket.AF_INET
    listener.close()
    with pytest.raises(OSError, match="not supported"):
        listen("::1", 0)


async def test_a_taken_port_is_named() -> None:
    taken = listen("127.0.0.1", 0)
    port = taken[0].getsockname()[1]
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        listen("127.0.0.1", port)
    taken[0].close()


async def test_json_clients_and_msgpack_clients_share_a_port() -> None:
    async with live() as server, server.client(JSON.subprotocol) as one, server.client() as two:
        await one.request(Ping(ref=5), JSON)
        opcode, payload = await one.frame()
        assert opcode == JSON.opcode
        assert json.loads(payload)["ref"] == 5
        await two.pong()
