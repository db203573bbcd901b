"""Clients that do not read what waits for them, or too slowly for all of them together."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import MSGPACK
from protocol.errors import SLOW_CONSUMER
from protocol.frames import PONG
from protocol.messages.room import RoomMessage
from protocol.server.backlog import Backlog, WaitingBytes, slow_clients
from protocol.server.flusher import Flusher
from protocol.server.outbox import Outbox
from protocol.server.settings import WireSettings
from protocol.server.websocket import Connection
from tests.protocol.live import live

FRAME = MSGPACK.frame(RoomMessage(room="r", offset=1, user="u", name="n", body="x" * 1000, at=1))


class Line:
    """A transport that notes why it is closed."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self.reason = ""

    def send(self, data: bytes | memoryview) -> int:
        return len(data)

    async def wait_writable(self) -> None: ...
    def overflowed(self) -> None: ...
    def fell_behind(self, reason: str) -> None:
        self.reason = reason

    def broken(self, error: OSError) -> None: ...
    def sent_all(self) -> None: ...


def waiting(size: int, address: str | None = None, since: float = 0.0) -> WaitingBytes:
    return WaitingBytes(Outbox(MSGPACK, 1, Flusher(), Line()), address, size, since)


def sizes(ones: list[WaitingBytes], settings: WireSettings, now: float = 0.0) -> list[int]:
    return [one.size for one, _ in slow_clients(ones, now, settings)]


def test_whoever_has_read_nothing_for_long_has_to_go_however_little_waits() -> None:
    ones = [waiting(1, since=0.0), waiting(2, since=0.1), waiting(3, since=29.0)]
    assert sizes(ones, WireSettings(), now=29.9) == []
    assert sizes(ones, WireSettings(), now=30.0) == [1]
    assert sizes(ones, WireSettings(), now=30.1) == [1, 2]


def test_of_an_address_that_holds_too_much_those_with_the_most_have_to_go() -> None:
    settings = WireSettings(address_backlog_bytes=100)
    ones = [waiting(60, "a"), waiting(50, "b"), waiting(70, "a"), waiting(20, "a"), waiting(900)]
    assert sizes(ones, settings) == [70]
    assert sizes(ones, WireSettings(address_backlog_bytes=0)) == []


def test_of_all_that_hold_too_much_those_with_the_most_have_to_go() -> None:
    settings = WireSettings(backlog_bytes=100, address_backlog_bytes=0)
    assert sizes([waiting(60, "a"), waiting(50, "b"), waiting(30)], settings) == [60]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from([None, "a", "b"]), st.floats(0, 60))),
    st.integers(1, 200),
    st.integers(0, 100),
)
def test_what_stays_is_within_every_bound_and_nobody_goes_twice(
    drawn: list[tuple[int, str | None, float]], most: int, of_address: int
) -> None:
    settings = WireSettings(backlog_bytes=most, address_backlog_bytes=of_address)
    ones = [waiting(*one) for one in drawn]
    gone = [one for one, _ in slow_clients(ones, 60.0, settings)]
    assert len(gone) == len(set(gone))
    stay = [one for one in ones if one not in gone]
    assert all(60.0 - one.since < settings.stalled_s for one in stay)
    assert sum(one.size for one in stay) <= most
    if of_address:
        for address in "ab":
            assert sum(one.size for one in stay if one.address == address) <= of_address


async def test_a_client_that_reads_a_little_now_and_then_stays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    backlog, lines = Backlog(), [Line(), Line()]
    still, moving = (Outbox(MSGPACK, 1000, Flusher(), line) for line in lines)
    async with trio.open_nursery() as nursery:
        await nursery.start(backlog.keep, WireSettings())
        for outbox in (still, moving):
            outbox.push(b"some")
            backlog.add(outbox)
        for _ in range(3):
            await trio.sleep(20)
            backlog.moved(moving)
        backlog.remove(still)
        nursery.cancel_scope.cancel()
    assert [bool(line.reason) for line in lines] == [True, False]


async def test_a_client_that_answers_pings_and_reads_nothing_leaves_as_a_slow_consumer() -> None:
    async with (
        live(narrow=True, stalled_s=0.5, close_timeout_s=0.2) as server,
        server.client() as bystander,
        server.client(receive_buffer=4096) as client,
    ):
        handler = await server.handler(1)
        _push(handler.connection, 100)  # more than the sockets take, and far from an outbox's bound
        while not handler.gone.is_set():
            await client.send(PONG, b"")
            with trio.move_on_after(0.05):
                await handler.gone.wait()
        assert [close for close, _ in handler.ended] == [SLOW_CONSUMER]
        assert server.gateway.statistics().too_slow == 1
        await bystander.pong()


@pytest.mark.parametrize("key", ["address_backlog_bytes", "backlog_bytes"])
async def test_clients_that_together_hold_too_much_are_closed_until_they_do_not(key: str) -> None:
    bounds: dict[str, Any] = {key: 250_000}
    async with (
        live(narrow=True, trusted_proxies=(), close_timeout_s=0.2, **bounds) as server,
        server.client(receive_buffer=4096),
        server.client(receive_buffer=4096),
        server.client(receive_buffer=4096),
    ):
        handlers = [await server.handler(number) for number in range(3)]
        for handler, count in zip(handlers, (100, 220, 140), strict=True):
            _push(handler.connection, count)
        await handlers[1].gone.wait()
        assert [close for close, _ in handlers[1].ended] == [SLOW_CONSUMER]
        held = [handler.connection.outbox.queued_bytes for handler in handlers]
        assert 0 < sum(held) <= 250_000
        assert not handlers[0].gone.is_set()


def _push(connection: Connection, count: int) -> None:
    for _ in range(count):
        connection.outbox.push(FRAME)
