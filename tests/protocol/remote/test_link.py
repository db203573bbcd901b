"""How a connection is made, or fails: addresses, TLS, handshakes."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from protocol.client import CannotConnect, connect
from protocol.codec import MSGPACK
from protocol.messages.session import SessionClose, SessionOpen
from protocol.remote.link import Endpoint, open_link
from tests.protocol.scripted import Peer, opened, scripted


def target(url: str, timeout_s: float = 30.0) -> Endpoint:
    return Endpoint(
        url=url,
        encoding=MSGPACK,
        tls=None,
        timeout_s=timeout_s,
        close_timeout_s=0.2,
        max_message_bytes=4096,
    )


@asynccontextmanager
async def tcp(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Run a TCP server; yields a WebSocket address that leads to it."""
    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(
            lambda task_status: trio.serve_tcp(serve, 0, host="127.0.0.1", task_status=task_status)
        )
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/ws"
        nursery.cancel_scope.cancel()


def answers(reply: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(reply)

    return serve


async def refusal(url: str, timeout_s: float = 30.0) -> CannotConnect:
    with trio.fail_after(60), pytest.raises(CannotConnect) as failed:
        async with open_link(target(url, timeout_s)):
            pass
    return failed.value


async def test_a_server_that_hangs_up_in_the_handshake_is_told_at_once() -> None:
    async with tcp(answers(b"")) as url:
        failed = await refusal(url)
    assert "hung up" in failed.why
    assert not failed.permanent


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with tcp(silent) as url:
        failed = await refusal(url, timeout_s=0.1)
    assert "no answer within 0.1 s" in failed.why


@pytest.mark.parametrize(
    ("status", "permanent"), [(404, True), (403, True), (400, True), (429, False), (503, False)]
)
async def test_a_refusal_of_http_bears_its_status_and_text(status: int, permanent: bool) -> None:
    reply = f"HTTP/1.1 {status} No\r\nContent-Length: 10\r\n\r\nthe reason".encode()
    async with tcp(answers(reply)) as url:
        failed = await refusal(url)
    assert failed.why == f"refused with HTTP {status}: the reason"
    assert failed.permanent is permanent


async def test_a_refusal_without_a_body_is_one_too() -> None:
    async with tcp(answers(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")) as url:
        assert "HTTP 403" in (await refusal(url)).why


async def test_what_is_no_http_is_no_server_of_ours() -> None:
    async with tcp(answers(b"SSH-2.0-OpenSSH_9.6\r\n")) as url:
        await refusal(url)


async def test_wss_to_a_plain_port_is_told() -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    async with tcp(answers(late)) as url:
        failed = await refusal(url.replace("ws://", "wss://"))
    assert failed.why == "what came back is not TLS; is it ws:// there?"
    assert failed.permanent

    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with tcp(silent) as url:
        failed = await refusal(url.replace("ws://", "wss://"), timeout_s=0.1)
    assert failed.why == "no answer within 0.1 s to the beginning of TLS; is it ws:// there?"
    assert not failed.permanent, "a server that is merely slow is tried again"


async def test_ws_to_a_port_with_tls_is_told() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.SSLStream(stream, context, server_side=True) as tls:
            with contextlib.suppress(trio.BrokenResourceError):
                await tls.do_handshake()

    async with tcp(serve) as url:
        failed = await refusal(url)
    assert "is it wss:// there?" in failed.why


async def test_a_name_that_does_not_exist_is_told() -> None:
    assert not (await refusal("ws://no-such-host.invalid:1/ws")).permanent


async def test_over_tls_the_certificate_is_checked() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(SessionClose)
        await peer.close(1000)

    async with scripted(server, tls=server_context) as url:
        secure = url.replace("ws://127.0.0.1", "wss://localhost")
        failed = await refusal(secure)
        assert failed.why.startswith("certificate not trusted")
        assert failed.permanent
        async with connect(secure, name="ada", tls=client_context) as session:
            assert session.connected
    with pytest.raises(ValueError, match="not wss"):
        async with connect(url, name="ada", tls=client_context):
            pass
