"""When what was pushed leaves: at once, with the turn, or gathered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from protocol.codec import MSGPACK
from protocol.flusher import Flusher
from protocol.outbox import Outbox

GATHER_S = 0.005


class Line:
    """A transport that notes what was sent, and when."""

    def __init__(self) -> None:
        self.began_at = trio.current_time()
        self.got: list[tuple[float, bytes]] = []

    def send(self, data: bytes | memoryview) -> int:
        ms = round((trio.current_time() - self.began_at) * 1000, 3)
        self.got.append((ms, bytes(data)))
        return len(data)

    async def wait_writable(self) -> None: ...
    def overflowed(self) -> None: ...
    def broken(self, error: OSError) -> None: ...
    def sent_all(self) -> None: ...


@asynccontextmanager
async def flushing(gather_s: float = GATHER_S) -> AsyncIterator[tuple[Flusher, Outbox, Line]]:
    flusher, line = Flusher(gather_s), Line()
    async with trio.open_nursery() as nursery:
        await nursery.start(flusher.run)
        await trio.testing.wait_all_tasks_blocked()
        yield flusher, Outbox(MSGPACK, 1_000_000, flusher, line), line
        nursery.cancel_scope.cancel()


async def test_what_comes_fast_is_gathered_and_the_first_is_not_kept_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (_, outbox, line):
        for frame in (b"a", b"b", b"c", b"d", b"e", b"f", b"g"):
            outbox.push_soon(frame)
            await trio.sleep(0.0021)
        await trio.sleep(1)
        outbox.push_soon(b"h")
        await trio.sleep(1)
    assert line.got == [(0, b"a"), (5, b"bc"), (10, b"de"), (15, b"fg"), (1014.7, b"h")]


async def test_whatever_may_not_wait_takes_along_what_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (_, outbox, line):
        outbox.push_soon(b"a")
        await trio.sleep(0.001)
        outbox.push_soon(b"b")
        outbox.push(b"reply")
        outbox.push_soon(b"c")
        await trio.sleep(0.001)
        outbox.push_soon(b"d")
        await trio.sleep(1)
    assert [sent for _, sent in line.got] == [b"a", b"breplyc", b"d"]
    assert [at for at, _ in line.got][:2] == [0, 1]


async def test_a_turn_sends_on_leaving_what_is_due_and_the_rest_in_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (flusher, outbox, line):
        with flusher:
            outbox.push_soon(b"a")
            outbox.push_soon(b"b")
            assert line.got == []
        assert line.got == [(0, b"ab")]
        await trio.sleep(0.002)
        with flusher:
            outbox.push_soon(b"c")
        assert line.got == [(0, b"ab")]
        await trio.sleep(1)
        assert line.got == [(0, b"ab"), (5, b"c")]


async def test_each_client_waits_for_its_own_last_send(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (flusher, outbox, line):
        other_line = Line()
        other = Outbox(MSGPACK, 1_000_000, flusher, other_line)
        outbox.push_soon(b"a")
        await trio.sleep(0.003)
        with flusher:
            outbox.push_soon(b"b")
            other.push_soon(b"x")
        assert other_line.got == [(3, b"x")]
        await trio.sleep(1)
    assert line.got == [(0, b"a"), (5, b"b")]


async def test_with_nothing_to_gather_for_each_leaves_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing(0.0) as (_, outbox, line):
        for frame in (b"a", b"b", b"c"):
            outbox.push_soon(frame)
            await trio.sleep(0.001)
    assert line.got == [(0, b"a"), (1, b"b"), (2, b"c")]


async def test_what_waits_for_one_that_has_gone_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (flusher, outbox, line):
        outbox.push_soon(b"a")
        await trio.sleep(0.001)
        outbox.push_soon(b"b")
        outbox.abandon()
        await trio.sleep(1)
        assert flusher.statistics().dirty == 0
    assert line.got == [(0, b"a")]
