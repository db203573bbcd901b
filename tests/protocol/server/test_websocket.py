"""RFC 6455 on a live connection: fragments, control frames, closing, and breaches."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest
import trio
import trio_websocket

from protocol import frames
from protocol.codec import ENCODINGS, JSON, MSGPACK, Encoding
from protocol.errors import (
    BUSY,
    DRAIN,
    FLOODING,
    NORMAL,
    PROTOCOL_ERROR,
    SERVER_ERROR,
    SESSION_ENDED,
    TAKEN_OVER,
    UNSUPPORTED_DATA,
    RequestError,
)
from protocol.messages import AnyRequest
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.room import RoomSend
from protocol.messages.session import Ping, SessionOpen
from protocol.server.websocket import Connection
from tests.protocol.live import Echo, live, masked

PING = MSGPACK.encode(Ping(ref=1))

both = pytest.mark.parametrize("encoding", [MSGPACK, JSON], ids=repr)


@both
async def test_trio_websocket_is_served(encoding: Encoding) -> None:
    async with live() as server:
        url = f"ws://127.0.0.1:{server.port}/ws"
        async with trio_websocket.open_websocket_url(
            url, subprotocols=[encoding.subprotocol]
        ) as client:
            assert client.subprotocol == encoding.subprotocol
            for ref in range(100):
                payload = encoding.encode(Ping(ref=ref))
                await client.send_message(payload if encoding is MSGPACK else payload.decode())
                reply = encoding.decode_server(await client.get_message())
                assert isinstance(reply, Ok)
                assert reply.ref == ref
            await client.ping(b"are you there")
        handler = await server.handler()
        await handler.gone.wait()
        assert handler.ended == [(1000, "")]


@both
async def test_many_messages_in_one_read_are_answered_in_order(encoding: Encoding) -> None:
    async with live() as server, server.client(encoding.subprotocol) as client:
        await client.stream.send_all(
            b"".join(masked(encoding.opcode, encoding.encode(Ping(ref=ref))) for ref in range(1000))
        )
        for ref in range(1000):
            assert (await client.message(encoding)).ref == ref


@both
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1000, 65_400])
async def test_messages_of_all_lengths_arrive(encoding: Encoding, size: int) -> None:
    padding = "é" if size == 1000 else "x"
    if encoding is MSGPACK:
        text = (padding * size).encode()
        payload = PING.replace(b"\x82", b"\x83", 1) + b"\xa3pad\xda" + struct.pack("!H", len(text))
        payload += text
    else:
        payload = ('{"op":"ping","ref":1,"pad":"%s"}' % (padding * size)).encode()
    async with live() as server, server.client(encoding.subprotocol) as client:
        await client.send(encoding.opcode, payload)
        assert (await client.message(encoding)).data == {"time": len(payload)}


async def test_fragments_are_one_message_with_control_frames_between() -> None:
    async with live() as server, server.client(JSON.subprotocol) as client:
        payload = '{"op":"ping","ref":1,"pad":"héllo wörld €"}'.encode()
        for place in range(len(payload)):  # every fragment one byte: UTF-8 split everywhere
            await client.send(
                frames.TEXT if place == 0 else frames.CONT, payload[place : place + 1], fin=False
            )
            if place % 10 == 0:
                await client.send(frames.PING, b"%d" % place)
                assert await client.frame() == (frames.PONG, b"%d" % place)
        await client.send(frames.CONT, b"")
        assert (await client.message(JSON)).ref == 1


async def test_pings_are_answered_with_their_payload_and_pongs_are_not() -> None:
    async with live() as server, server.client() as client:
        await client.send(frames.PONG, b"unasked")
        for payload in (b"", b"x", b"y" * 125):
            await client.send(frames.PING, payload)
            assert await client.frame() == (frames.PONG, payload)
        await client.pong()


async def test_a_binary_frame_on_json_is_closed() -> None:
    async with live() as server, server.client(JSON.subprotocol) as client:
        await client.send(frames.BINARY, PING)
        code, reason = await client.closed()
        assert code == UNSUPPORTED_DATA.code
        assert "text" in reason


async def test_messages_before_a_breach_are_answered() -> None:
    async with live() as server, server.client() as client:
        await client.stream.send_all(masked(frames.BINARY, PING) + masked(3, b""))
        assert (await client.message()).ref == 1
        assert (await client.closed())[0] == PROTOCOL_ERROR.code


async def test_what_is_no_request_is_answered_and_does_not_disconnect() -> None:
    async with live() as server, server.client() as client:
        for payload in (b"", b"\xc1", MSGPACK.encode(Ping()) + b"x", b"\x91" * 60_000):
            await client.send(frames.BINARY, payload)
            reply = await client.message()
            assert isinstance(reply, ErrorReply)
            assert reply.code == "bad_message"
        await client.pong()


class Shedding(Echo):
    """Refuses every room.send, together with those that were read along with it."""

    turns = 0

    def received(self, request: AnyRequest) -> Awaitable[None] | None:
        if isinstance(request, RoomSend):
            self.connection.shed(_BUSY, request.ref, frozenset({"room.send"}), self.read_next_in)
            return None
        return super().received(request)

    def read_next_in(self, now: float) -> float:
        self.turns += 1
        assert now == pytest.approx(trio.current_time())
        return 0.01


_BUSY = RequestError(BUSY)


def _say(ref: int | None, body: str = "x") -> bytes:
    return masked(frames.BINARY, MSGPACK.encode(RoomSend(ref=ref, room="r", body=body)))


async def test_what_is_shed_is_answered_together_and_all_else_as_ever() -> None:
    handlers: list[Shedding] = []

    def accept(connection: Connection) -> Shedding:
        handlers.append(Shedding(connection, lambda _: None))
        return handlers[-1]

    async with live(accept=accept) as server, server.client() as client:
        await client.stream.send_all(
            b"".join(_say(ref) for ref in range(10, 14))
            + masked(frames.BINARY, MSGPACK.encode(Ping(ref=1)))
            + _say(20)
            + masked(frames.BINARY, b"\xc1")
            + b"".join(_say(ref) for ref in range(30, 200))
            + masked(frames.PING, b"still here")
        )
        refs: list[int] = []
        messages: list[Any] = []
        while len(refs) < 175:
            opcode, payload = await client.frame()
            if opcode == frames.PONG:
                continue
            messages.append(message := MSGPACK.decode_server(payload))
            if isinstance(message, ErrorReply) and message.code == BUSY.code:
                each = list(message.each())
                assert all((one.code, one.retry) == (BUSY.code, True) for one in each)
                refs += [one.ref for one in each if one.ref is not None]
        assert refs == [*range(10, 14), 20, *range(30, 200)]
        assert len(messages) < 12
        assert [message.ref for message in messages][:3] == [10, 1, 20]
        (handler,) = handlers
        behind = sum(count for count, _ in handler.shed_behind)
        assert behind == 175 - sum(isinstance(one, ErrorReply) for one in messages) + 1
        await client.pong()
        assert handler.turns < len(messages)


_ENDS = {
    "close": masked(frames.CLOSE, struct.pack("!H", 1000)),
    "breach": masked(3, b""),
    "text": masked(frames.TEXT, b"{}"),
    "pings": masked(frames.PING, b"") * 1001,
}


@pytest.mark.parametrize("end", list(_ENDS))
async def test_what_is_shed_is_answered_before_the_close_that_was_read_with_it(end: str) -> None:
    def accept(connection: Connection) -> Shedding:
        return Shedding(connection, lambda _: None)

    async with live(accept=accept) as server, server.client() as client:
        await client.stream.send_all(_say(10) + _say(11) + _ENDS[end])
        opcode, payload = await client.frame()
        while opcode == frames.PONG:
            opcode, payload = await client.frame()
        reply = MSGPACK.decode_server(payload)
        assert isinstance(reply, ErrorReply)
        assert [one.ref for one in reply.each()] == [10, 11]


async def test_behind_what_is_shed_a_client_has_no_longer_turn_than_others() -> None:
    handlers: list[Shedding] = []
    most = 0
    handled = 0

    def accept(connection: Connection) -> Shedding:
        handlers.append(Shedding(connection, lambda _: None))
        return handlers[-1]

    class Passes(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            nonlocal most, handled
            for handler in handlers:
                most = max(most, len(handler.requests) - handled)
                handled = len(handler.requests)

    async with live(accept=accept) as server, server.client() as client:
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        pings = [masked(frames.BINARY, MSGPACK.encode(Ping(ref=ref))) for ref in range(1000, 1500)]
        await client.stream.send_all(b"".join([_say(ref) for ref in range(100)] + pings))
        answered = 0
        while answered < 500:
            answered += isinstance(await client.message(), Ok)
        trio.lowlevel.remove_instrument(passes)
    assert 0 < most <= 64


@pytest.mark.parametrize("wrong", [-1, 2**53, "1", 1.5, True, [1]])
async def test_a_ref_that_is_none_is_not_shed_along_with_others(wrong: Any) -> None:
    def accept(connection: Connection) -> Shedding:
        return Shedding(connection, lambda _: None)

    strange = msgspec.msgpack.encode({"op": "room.send", "room": "r", "body": "x", "ref": wrong})
    async with live(accept=accept) as server, server.client() as client:
        await client.stream.send_all(_say(10) + masked(frames.BINARY, strange) + _say(11))
        replies = [await client.message() for _ in range(3)]
        assert [reply.ref for reply in replies] == [10, None, 11]
        assert replies[1].code == "bad_message"
        await client.pong()


@pytest.mark.parametrize("first", [10, None])
async def test_what_bears_no_ref_is_shed_with_the_others_and_not_answered(
    first: int | None,
) -> None:
    handlers: list[Shedding] = []

    def accept(connection: Connection) -> Shedding:
        handlers.append(Shedding(connection, lambda _: None))
        return handlers[-1]

    async with live(accept=accept) as server, server.client() as client:
        await client.stream.send_all(_say(first) + _say(None) + _say(11) + _say(None))
        reply = await client.message()
        assert [one.ref for one in reply.each()] == ([11] if first is None else [10, 11])
        await client.pong()
        assert [count for count, _ in handlers[0].shed_behind] == [3]
        assert len(handlers[0].requests) == 1  # the ping


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999, None])
async def test_a_clients_close_is_echoed_and_reported(code: int | None) -> None:
    payload = b"" if code is None else struct.pack("!H", code) + b"bye"
    async with live() as server, server.client() as client:
        await client.stream.send_all(masked(frames.BINARY, PING) + masked(frames.CLOSE, payload))
        assert (await client.message()).ref == 1
        opcode, echoed = await client.frame()
        assert (opcode, echoed) == (frames.CLOSE, payload[:2])
        with pytest.raises(EOFError):  # the server ends the stream first
            await client.frame()
        await client.stream.aclose()
        handler = await server.handler()
        await handler.gone.wait()
        assert handler.ended == [(code or frames.NO_STATUS, "bye" if code else "")]


async def test_nothing_is_heeded_after_a_close_frame() -> None:
    async with live() as server, server.client() as client:
        await client.stream.send_all(
            masked(frames.CLOSE, b"") + masked(frames.BINARY, PING) + masked(frames.PING, b"")
        )
        assert await client.frame() == (frames.CLOSE, b"")
        assert await client.rest() == b""
        assert (await server.handler()).requests == []


async def test_the_servers_close_comes_after_what_was_queued_and_before_nothing() -> None:
    def close(echo: Echo) -> None:
        for ref in range(100):
            echo.connection.reply(Ok(ref))
        echo.connection.close(SESSION_ENDED, "goodbye")
        echo.connection.close(TAKEN_OVER)
        assert echo.connection.closed
        echo.connection.reply(Ok(100))

    async with live(opened=close) as server, server.client() as client:
        await client.stream.send_all(
            masked(frames.BINARY, MSGPACK.encode(SessionOpen(name="ada")))
            + masked(frames.BINARY, PING)
        )
        for ref in range(100):
            assert (await client.message()).ref == ref
        assert await client.closed() == (SESSION_ENDED.code, "session_ended: goodbye")
        handler = await server.handler()
        await handler.gone.wait()
        assert handler.ended == [(SESSION_ENDED, "goodbye")]
        assert len(handler.requests) == 1


async def test_a_client_that_never_answers_a_close_is_cut_off() -> None:
    async with (
        live(
            opened=lambda echo: echo.connection.close(SESSION_ENDED), close_timeout_s=0.05
        ) as server,
        server.client() as client,
    ):
        await client.request(SessionOpen(name="ada"))
        opcode, _ = await client.frame()
        assert opcode == frames.CLOSE
        handler = await server.handler()
        await handler.gone.wait()
        assert handler.ended == [(SESSION_ENDED, "")]


async def test_a_half_closed_client_gets_what_was_queued_and_a_close() -> None:
    async with live() as server, server.client() as client:
        await client.stream.send_all(masked(frames.BINARY, PING))
        assert isinstance(client.stream, trio.SocketStream)
        await client.stream.send_eof()
        assert (await client.message()).ref == 1
        assert (await client.closed())[0] == NORMAL.code
        handler = await server.handler()
        await handler.gone.wait()
        assert [close for close, _ in handler.ended] == [frames.ABNORMAL]


async def test_a_reset_is_reported_once_and_disturbs_nobody() -> None:
    async with live() as server, server.client() as bystander, server.client() as client:
        await client.pong()
        assert isinstance(client.stream, trio.SocketStream)
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()
        handler = await server.handler(1)
        await handler.gone.wait()
        assert [close for close, _ in handler.ended] == [frames.ABNORMAL]
        handler.connection.reply(Ok(1))  # who has not noticed yet may go on
        handler.connection.close(DRAIN)
        await bystander.pong()


async def test_an_error_of_the_handler_is_its_connections_only() -> None:
    def fail(_: Echo) -> None:
        raise RuntimeError("a bug")

    async with live(opened=fail) as server, server.client() as bystander:
        async with server.client() as client:
            await client.request(SessionOpen(name="ada"))
            assert (await client.closed())[0] == SERVER_ERROR.code
        await bystander.pong()


async def test_an_error_of_accept_is_its_connections_only() -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("a bug")

    async with live(accept=refuse) as server:
        for _ in range(3):
            async with server.client() as client:
                assert await client.rest() == b""
        assert server.gateway.statistics().sockets == 0


async def test_a_handler_that_is_full_holds_the_client_back() -> None:
    room = trio.Event()
    async with live(opened=lambda _: room.wait()) as server, server.client() as client:
        await client.stream.send_all(
            masked(frames.BINARY, MSGPACK.encode(SessionOpen(name="ada")))
            + masked(frames.BINARY, PING)
        )
        handler = await server.handler()
        while not handler.requests:
            await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()
        assert len(handler.requests) == 1
        room.set()
        assert (await client.message()).ref == 1


async def test_a_connection_that_is_held_back_can_be_closed() -> None:
    async with live(opened=lambda _: trio.sleep_forever()) as server, server.client() as client:
        await client.request(SessionOpen(name="ada"))
        handler = await server.handler()
        while not handler.requests:
            await trio.sleep(0.001)
        handler.connection.close(TAKEN_OVER)
        assert (await client.closed())[0] == TAKEN_OVER.code
        await handler.gone.wait()


async def test_a_flood_of_control_frames_is_closed() -> None:
    async with (
        live(keepalive_s=1000.0, control_frames_per_s=0.1) as server,
        server.client() as client,
    ):
        await client.stream.send_all(masked(frames.PONG, b"") * 101)
        assert (await client.closed())[0] == FLOODING.code


async def test_frames_that_end_no_message_are_told_to_the_handler() -> None:
    async with live() as server, server.client() as client:
        await client.stream.send_all(masked(frames.BINARY, b"", fin=False))
        await client.stream.send_all(masked(frames.CONT, b"", fin=False) * 1000)
        await client.send(frames.CONT, MSGPACK.encode(Ping(ref=1)))
        assert (await client.message()).ref == 1
        assert (await server.handler()).fragments_read == 1001


async def test_a_client_that_sends_on_after_it_was_closed_is_read_from_slowly() -> None:
    async with live(close_timeout_s=0.3) as server, server.client() as client:
        handler = await server.handler()
        connection = handler.connection
        began = trio.current_time()
        connection.close(FLOODING)
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await client.stream.send_all(bytes(65_536))
        await handler.gone.wait()
        pauses = (trio.current_time() - began) / 0.05
        assert 8 < connection.last_reads <= 9 + pauses


async def test_a_flood_of_requests_does_not_keep_others_waiting() -> None:
    async with live() as server, server.client() as bystander, server.client() as client:
        burst = masked(frames.BINARY, MSGPACK.encode(Ping())) * 1000
        with trio.move_on_after(60) as flood:
            async with trio.open_nursery() as nursery:

                async def flooding() -> None:
                    while True:
                        await client.stream.send_all(burst)

                nursery.start_soon(flooding)
                for ref in range(50):
                    await bystander.pong(ref)
                nursery.cancel_scope.cancel()
        assert not flood.cancelled_caught


def test_the_subprotocols_are_the_documented_ones() -> None:
    assert set(ENCODINGS) == {"greenroom.v1.msgpack", "greenroom.v1.json"}
