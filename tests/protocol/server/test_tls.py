"""The same path through TLS."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from pathlib import Path

import pytest
import trio
import trio_websocket
import trustme

from protocol import frames
from protocol.codec import MSGPACK
from protocol.errors import TOO_BIG
from protocol.messages.envelope import Ok
from protocol.messages.session import Ping
from protocol.server.tls import server_context
from tests.protocol.live import LONGEST, Raw, live, masked, upgrade


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        key, chain = Path(folder, "key.pem"), Path(folder, "chain.pem")
        certificate.private_key_pem.write_to_path(str(key))
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(str(chain), append=True)
        server = server_context(chain, key)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def test_tls_serves_trio_websocket(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with live(tls_context=contexts[0]) as server:
        async with trio_websocket.open_websocket_url(
            f"wss://localhost:{server.port}/ws",
            contexts[1],
            subprotocols=[MSGPACK.subprotocol],
        ) as client:
            for ref in range(50):
                await client.send_message(MSGPACK.encode(Ping(ref=ref)))
                assert (MSGPACK.decode_server(await client.get_message())) == Ok(
                    ref, {"time": len(MSGPACK.encode(Ping(ref=ref)))}
                )
        handler = await server.handler()
        await handler.gone.wait()
        assert handler.ended == [(1000, "")]


async def test_tls_carries_a_backlog_and_many_records(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with (
        live(narrow=True, tls_context=contexts[0], outbox_bytes=10_000_000) as server,
        await server.socket(receive_buffer=4096) as tcp,
    ):
        stream = trio.SSLStream(tcp, contexts[1], server_hostname="localhost")
        client = Raw(stream)
        await stream.send_all(upgrade())
        await client.head()
        handler = await server.handler()
        for number in range(2000):
            handler.connection.reply(Ok(number, "x" * 1000))
        for number in range(2000):
            assert (await client.message()).ref == number
        assert server.gateway.statistics().flusher.would_block > 0
        await stream.send_all(masked(frames.BINARY, MSGPACK.encode(Ping(ref=1))) * 5000)
        for _ in range(5000):
            assert (await client.message()).ref == 1
        await client.send(frames.BINARY, b"x" * (LONGEST + 1))
        opcode, payload = await client.frame()
        assert (opcode, frames.parse_close(payload)[0]) == (frames.CLOSE, TOO_BIG.code)


async def test_what_is_no_tls_is_dropped_and_others_come_in(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with live(tls_context=contexts[0], handshake_timeout_s=0.1) as server:
        with contextlib.suppress(trio.BrokenResourceError):  # it may be reset
            assert b"HTTP/" not in await server.http(upgrade())
        async with await server.socket() as silent:
            assert await silent.receive_some(10) == b""
        async with await server.socket() as tcp:
            stream = trio.SSLStream(tcp, contexts[1], server_hostname="localhost")
            client = Raw(stream)
            await stream.send_all(upgrade())
            await client.head()
            await client.pong()
