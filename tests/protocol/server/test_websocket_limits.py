"""Clients that do not read, do not speak, or vanish."""

from __future__ import annotations

import contextlib

import trio

from protocol import frames
from protocol.codec import MSGPACK
from protocol.errors import KEEPALIVE_TIMEOUT, NO_SESSION_IN_TIME, SLOW_CONSUMER
from protocol.messages.envelope import Ok
from protocol.messages.room import RoomMessage
from protocol.messages.session import SessionOpen
from protocol.server.websocket import Connection
from tests.protocol.live import Echo, live

FRAME = MSGPACK.frame(RoomMessage(room="r", offset=1, user="u", name="n", body="x" * 1000, at=1))


async def test_a_client_that_never_reads_leaves_as_a_slow_consumer() -> None:
    async with (
        live(narrow=True, outbox_bytes=100_000, close_timeout_s=0.2) as server,
        server.client() as bystander,
        server.client(receive_buffer=4096) as client,
    ):
        handler = await server.handler(1)
        connection = handler.connection
        while not connection.closed:
            connection.outbox.push(FRAME)
            assert connection.outbox.queued_bytes <= 101_000
            await trio.lowlevel.checkpoint()
        await bystander.pong()
        await handler.gone.wait()  # though the client reads nothing to the end
        assert [close for close, _ in handler.ended] == [SLOW_CONSUMER]
        assert connection.outbox.queued_bytes == 0
        await bystander.pong()
        # What had begun to leave is whole frames up to the cut, and never a part in between.
        with contextlib.suppress(EOFError, trio.BrokenResourceError):
            while True:
                assert await client.frame() == (frames.BINARY, FRAME[4:])


async def test_a_slow_consumer_that_reads_again_learns_why() -> None:
    async with (
        live(narrow=True, outbox_bytes=100_000) as server,
        server.client(receive_buffer=4096) as client,
    ):
        handler = await server.handler()
        while not handler.connection.closed:
            handler.connection.outbox.push(FRAME)
            await trio.lowlevel.checkpoint()
        code, reason = await client.closed()
        assert code == SLOW_CONSUMER.code
        assert reason.startswith("slow_consumer")


async def test_a_slow_client_gets_a_big_backlog_whole_and_in_order() -> None:
    count = 3000
    async with (
        live(narrow=True, outbox_bytes=10_000_000) as server,
        server.client(receive_buffer=4096) as client,
    ):
        handler = await server.handler()
        for number in range(count):
            handler.connection.reply(Ok(number, "x" * 1000))
        for number in range(count):
            assert (await client.message()).ref == number
        statistics = server.gateway.statistics().flusher
        assert statistics.would_block > 0
        await client.pong(count)
        assert server.gateway.statistics().flusher.writers == 0
        assert handler.connection.outbox.queued_bytes == 0


async def test_a_slow_client_gets_the_newest_state_only() -> None:
    async with (
        live(narrow=True, outbox_bytes=3_000_000) as server,
        server.client(receive_buffer=4096) as client,
    ):
        outbox = (await server.handler()).connection.outbox
        while not server.gateway.statistics().flusher.writers:
            outbox.push(FRAME)
            await trio.lowlevel.checkpoint()
        while outbox.queued_bytes < 1_000_000:  # more than the kernel finds room for meanwhile
            outbox.push(FRAME)
        for tick in range(1000):
            outbox.replace("m", MSGPACK.frame(Ok(tick, "state")))
            await trio.lowlevel.checkpoint()
        outbox.push(MSGPACK.frame(Ok(0, "ended")))
        states = []
        while (message := await client.message()).__class__ is not Ok or message.data != "ended":
            if isinstance(message, Ok):
                states.append(message.ref)
        assert states == [999]


async def test_all_that_a_pass_produced_leaves_in_one_send() -> None:
    def answer(echo: Echo) -> None:
        for ref in range(50):
            echo.connection.reply(Ok(ref))

    async with live(opened=answer) as server, server.client() as client:
        await client.request(SessionOpen(name="ada"))
        for ref in range(50):
            assert (await client.message()).ref == ref
        assert server.gateway.statistics().flusher.sends == 1


async def test_a_client_that_says_nothing_is_closed_in_time() -> None:
    async with (
        live(patient=False, first_message_timeout_s=0.05, keepalive_s=1.0) as server,
        server.client() as client,
    ):
        assert await client.closed() == (NO_SESSION_IN_TIME.code, "no_session_in_time")
        handler = await server.handler()
        await handler.gone.wait()
        assert handler.ended == [(NO_SESSION_IN_TIME, "")]


async def test_the_limit_may_be_lifted_before_anything_is_read() -> None:
    def accept(connection: Connection) -> Echo:
        if connection.id == 1:
            connection.expect_within(None)
        return Echo(connection, lambda _: None)

    async with (
        live(accept=accept, patient=False, first_message_timeout_s=0.1, keepalive_s=1.0) as server,
        server.client() as client,
        server.client() as silent,
    ):
        assert (await silent.closed())[0] == NO_SESSION_IN_TIME.code
        await client.pong()


async def test_a_client_with_a_session_may_be_silent() -> None:
    def opened(echo: Echo) -> None:
        echo.connection.expect_within(None)

    # The bystander's limit, started later, shows that the session's has passed.
    async with (
        live(opened=opened, patient=False, first_message_timeout_s=0.2, keepalive_s=1.0) as server,
        server.client() as client,
    ):
        await client.request(SessionOpen(name="ada"))
        await client.pong()
        async with server.client() as silent:
            assert (await silent.closed())[0] == NO_SESSION_IN_TIME.code
        await client.pong()


async def test_a_client_that_answers_no_ping_has_vanished() -> None:
    async with (
        live(keepalive_s=0.05, keepalive_timeout_s=0.15, close_timeout_s=0.1) as server,
        server.client() as client,
    ):
        handler = await server.handler()
        await handler.gone.wait()
        assert [close for close, _ in handler.ended] == [KEEPALIVE_TIMEOUT]
        got = [await client.frame() for _ in range(4)]
        assert got[:3] == [(frames.PING, b"")] * 3
        assert frames.parse_close(got[3][1])[0] == KEEPALIVE_TIMEOUT.code


async def test_a_client_that_answers_pings_stays() -> None:
    async with live(keepalive_s=0.05, keepalive_timeout_s=0.5) as server, server.client() as client:
        for _ in range(20):
            assert await client.frame() == (frames.PING, b"")
            await client.send(frames.PONG, b"")
        await client.pong()
