"""The server of the HTTP API on a real port: what it lets through, and what it bounds."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from protocol.http.api_server import ApiServer
from protocol.http.api_settings import ApiSettings
from protocol.http.cors import Cors
from protocol.http.exchange import HttpRequest, HttpResponse
from protocol.server.listener import listen

LIMIT_S = 60.0
POST = b"POST /v1/rpc/x HTTP/1.1\r\nhost: x\r\n"


class Echo:
    """Answers with what it was asked; `gate` holds answers back."""

    def __init__(self) -> None:
        self.seen: list[HttpRequest] = []
        self.gate = trio.Event()
        self.gate.set()

    async def handle(self, request: HttpRequest) -> HttpResponse:
        self.seen.append(request)
        await self.gate.wait()
        if request.path == "/fails":
            raise LookupError("not for the client to see")
        return HttpResponse(200, request.body)


class Client:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._read = b""

    async def answer(self, *, bodiless: bool = False) -> tuple[int, str, bytes]:
        """The next answer: status, head in small letters, body."""
        with trio.fail_after(LIMIT_S):
            while b"\r\n\r\n" not in self._read:
                await self._more()
            head, _, self._read = self._read.partition(b"\r\n\r\n")
            text = head.decode().lower()
            found = re.search(r"content-length: (\d+)", text)
            length = 0 if bodiless or found is None else int(found[1])
            while len(self._read) < length:
                await self._more()
            body, self._read = self._read[:length], self._read[length:]
            return int(text.split()[1]), text, body

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        assert data, f"closed after {self._read!r}"
        self._read += data

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def refused(self, data: bytes) -> tuple[int, str]:
        """Send what is refused; status and code. The connection is closed then."""
        await self.send(data)
        status, head, body = await self.answer()
        assert "connection: close" in head
        await self.closed()
        return status, msgspec.json.decode(body)["code"]

    async def closed(self) -> None:
        with trio.fail_after(LIMIT_S):
            while data := await self.stream.receive_some():
                assert not data


@asynccontextmanager
async def served(
    echo: Echo, settings: ApiSettings | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[ApiServer, int]]:
    server = ApiServer(echo.handle, settings or ApiSettings(), tls_context=tls)
    listeners = listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listeners)
        yield server, listeners[0].getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(echo: Echo | None = None, **settings: object) -> AsyncIterator[Client]:
    chosen = msgspec.convert(settings, ApiSettings)
    async with (
        served(echo or Echo(), chosen) as (_, port),
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        yield Client(stream)


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with client() as one:
        for body in (b"first", b"", b"third"):
            await one.send(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
            status, head, answered = await one.answer()
            assert (status, answered) == (200, body)
            assert "connection: close" not in head
            assert "cache-control: no-store" in head


async def test_requests_that_come_together_are_answered_in_order() -> None:
    async with client() as one:
        await one.send(b"".join(POST + b"content-length: 1\r\n\r\n%d" % n for n in range(5)))
        assert [(await one.answer())[2] for _ in range(5)] == [b"%d" % n for n in range(5)]


async def test_a_body_in_chunks_is_one_body() -> None:
    async with client() as one:
        await one.send(POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert (await one.answer())[2] == b"abcde"


async def test_a_client_that_asks_whether_to_go_on_is_told_so() -> None:
    async with client() as one:
        await one.send(POST + b"content-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert (await one.answer())[0] == 100
        await one.send(b"ok")
        assert (await one.answer())[2] == b"ok"


async def test_a_head_request_is_answered_without_a_body() -> None:
    async with client() as one:
        await one.send(b"HEAD /x HTTP/1.1\r\nhost: x\r\n\r\n" + POST + b"content-length: 0\r\n\r\n")
        assert (await one.answer(bodiless=True))[0] == 200
        assert (await one.answer())[0] == 200


async def test_a_handler_that_fails_is_an_internal_error_without_its_text() -> None:
    async with client() as one:
        await one.send(b"GET /fails HTTP/1.1\r\nhost: x\r\n\r\n")
        status, _, body = await one.answer()
        assert (status, msgspec.json.decode(body)["code"]) == (500, "internal")
        assert b"not for the client" not in body


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_message"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_message"),
        (b"GET  HTTP/1.1\r\nhost: x\r\n\r\n", 400, "bad_message"),
        (b"GET x HTTP/1.1\r\nhost: x\r\n\r\n", 400, "bad_message"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n", 400, "bad_message"),
        (POST + b"content-length: -1\r\n\r\n", 400, "bad_message"),
        (POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400, "bad_message"),
        (POST + b"content-length: 9\r\ntransfer-encoding: chunked\r\n\r\n", 400, "bad_message"),
        (POST + b"transfer-encoding: gzip\r\n\r\n", 501, "bad_message"),
        (POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\n", 400, "bad_message"),
        (POST + b"content-length: 101\r\n\r\n", 413, "body_too_big"),
        (POST + b"content-length: 99999999999999999999\r\n\r\n", 413, "body_too_big"),
        (POST + b"content-length: 99999999999999999999999\r\n\r\n", 400, "bad_message"),
        (POST + b"transfer-encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, 413, "body_too_big"),
        (b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 431, "head_too_big"),
        (POST + b"a: b\r\n" * 400 + b"\r\n", 431, "head_too_big"),
    ],
)
async def test_what_is_malformed_or_too_big_is_refused_and_ends_the_connection(
    sent: bytes, status: int, code: str
) -> None:
    async with client(max_head_bytes=1000, max_body_bytes=100) as one:
        assert await one.refused(sent) == (status, code)


@given(st.binary(max_size=300))
async def test_no_bytes_break_the_server(sent: bytes) -> None:
    async with served(Echo()) as (_, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(sent)
            await stream.send_eof()
            await Client(stream).stream.receive_some()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(POST + b"content-length: 2\r\n\r\nok")
            assert (await Client(stream).answer())[2] == b"ok"


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nhost: x\r\n", POST + b"content-length: 5\r\n\r\nab"]
)
async def test_a_client_that_sends_too_slowly_is_told_and_closed(sent: bytes) -> None:
    async with client(head_timeout_s=0.05, body_timeout_s=0.05) as one:
        assert await one.refused(sent) == (408, "too_slow")


async def test_a_connection_without_a_request_is_closed_without_a_word() -> None:
    async with client(head_timeout_s=0.05) as one:
        await one.closed()
    async with client(idle_timeout_s=0.05) as one:
        await one.send(POST + b"content-length: 0\r\n\r\n")
        assert (await one.answer())[0] == 200
        await one.closed()


async def test_an_answer_that_takes_too_long_is_a_timeout() -> None:
    echo = Echo()
    echo.gate = trio.Event()
    async with client(echo, answer_timeout_s=0.05) as one:
        await one.send(POST + b"content-length: 0\r\n\r\n")
        status, _, body = await one.answer()
        assert (status, msgspec.json.decode(body)["code"]) == (504, "timeout")


async def test_more_connections_than_allowed_are_told_and_closed() -> None:
    async with served(Echo(), ApiSettings(max_connections=1)) as (server, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as first:
            await first.send_all(POST + b"content-length: 0\r\n\r\n")
            assert (await Client(first).answer())[0] == 200
            async with await trio.open_tcp_stream("127.0.0.1", port) as second:
                assert (await Client(second).answer())[0] == 503
        assert server.dropped == 1


async def test_who_is_turned_away_is_told_even_if_it_sends_much_before_it_reads() -> None:
    async with served(Echo(), ApiSettings(max_connections=0)) as (server, port):
        for number, size in enumerate((0, 1_000, 300_000), 1):
            async with await trio.open_tcp_stream("127.0.0.1", port) as one:
                await one.send_all(POST + b"content-length: %d\r\n\r\n" % size)
                while server.dropped < number:
                    await trio.lowlevel.checkpoint()
                for _ in range(size // 1000):
                    await one.send_all(bytes(1000))
                assert (await Client(one).answer())[0] == 503


async def test_a_drain_ends_idle_connections_and_waits_for_answers() -> None:
    echo = Echo()
    echo.gate = trio.Event()
    async with served(echo) as (server, port):
        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as busy,
            await trio.open_tcp_stream("127.0.0.1", port) as idle,
            trio.open_nursery() as nursery,
        ):
            await busy.send_all(POST + b"content-length: 2\r\n\r\nok")
            while not echo.seen or server.connections < 2:
                await trio.sleep(0.01)
            nursery.start_soon(server.drain)
            await Client(idle).closed()
            while server.connections > 1:
                await trio.sleep(0.01)
            echo.gate.set()
            asked = Client(busy)
            status, head, body = await asked.answer()
            assert (status, body) == (200, b"ok")
            assert "connection: close" in head
            await asked.closed()
        assert server.connections == 0


@pytest.mark.parametrize(
    ("trusted", "address"), [(("127.0.0.0/8",), "192.0.2.7"), ((), "127.0.0.1")]
)
async def test_only_a_trusted_proxy_says_who_the_client_is(
    trusted: tuple[str, ...], address: str
) -> None:
    echo = Echo()
    async with client(echo, trusted_proxies=trusted) as one:
        await one.send(
            b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.9\r\n"
            b"x-forwarded-for: 192.0.2.7\r\nforwarded: for=198.51.100.1\r\n\r\n"
        )
        await one.answer()
    assert [seen.address for seen in echo.seen] == [address]


async def test_it_speaks_tls() -> None:
    authority = trustme.CA()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    async with served(Echo(), tls=theirs) as (_, port):
        plain = await trio.open_tcp_stream("127.0.0.1", port)
        async with trio.SSLStream(
            plain, ours, server_hostname="localhost", https_compatible=True
        ) as stream:
            one = Client(stream)
            await one.send(POST + b"content-length: 2\r\n\r\nok")
            assert (await one.answer())[2] == b"ok"


PREFLIGHT = {"access-control-request-method": "POST", "origin": "https://game.example"}


def asked(method: str = "POST", **headers: str) -> HttpRequest:
    return HttpRequest(
        method=method,
        path="/v1/rpc/ping",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def test_a_browser_is_told_what_pages_on_the_list_may_send() -> None:
    cors = Cors(["https://game.example"])
    request = HttpRequest(method="OPTIONS", path="/v1/rpc/ping", headers=PREFLIGHT)
    told = cors.preflight(request, ["POST"])
    assert told is not None
    headers = dict(told.headers)
    assert headers["access-control-allow-origin"] == "https://game.example"
    assert headers["access-control-allow-methods"] == "POST"
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("origins", [[], ["https://other.example"]])
def test_a_page_that_is_not_on_the_list_is_told_nothing(origins: list[str]) -> None:
    cors = Cors(origins)
    request = HttpRequest(method="OPTIONS", path="/v1/rpc/ping", headers=PREFLIGHT)
    told = cors.preflight(request, ["POST"])
    assert told is not None
    assert not [name for name, _ in told.headers if name.startswith("access-control")]
    assert not [
        name
        for name, _ in cors.headers(asked(origin="https://game.example"))
        if name.startswith("access-control")
    ]
