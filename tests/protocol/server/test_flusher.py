"""When pushes are sent: at once, at the end of a turn, or gathered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from protocol.codec import MSGPACK
from protocol.server.flusher import Flusher
from protocol.server.gathering import Window
from protocol.server.outbox import Outbox

GATHER_S = 0.005


class Line:
    """A transport that notes what was sent, and when."""

    def __init__(self) -> None:
        self.address: str | None = None
        self.began_at = trio.current_time()
        self.got: list[tuple[float, bytes]] = []

    def send(self, data: bytes | memoryview) -> int:
        ms = round((trio.current_time() - self.began_at) * 1000, 3)
        self.got.append((ms, bytes(data)))
        return len(data)

    async def wait_writable(self) -> None: ...
    def overflowed(self) -> None: ...
    def fell_behind(self, reason: str) -> None: ...
    def broken(self, error: OSError) -> None: ...
    def sent_all(self) -> None: ...


class Fixed(Window):
    """A window of fixed length."""

    def __init__(self, s: float) -> None:
        super().__init__(s)
        self.present_s = s

    def look(self, now: float, busy_s: float, sends: int) -> None: ...


@asynccontextmanager
async def flushing(gather_s: float = GATHER_S) -> AsyncIterator[tuple[Flusher, Outbox, Line]]:
    flusher, line = Flusher(Fixed(gather_s)), Line()
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


async def test_what_is_pushed_again_in_one_turn_leaves_with_the_rest_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing(0.0) as (flusher, outbox, line):
        with flusher:
            for frame in (b"a", b"b", b"c"):
                flusher.broadcast(frame, [outbox])
            assert line.got == [(0, b"a")]
        assert line.got == [(0, b"a"), (0, b"bc")]
        await trio.sleep(0.001)
        with flusher:
            flusher.broadcast(b"d", [outbox])
        assert line.got[2:] == [(1, b"d")]


async def test_a_busy_room_is_gathered_for_only_while_the_loop_is_busy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    window = Window(GATHER_S)
    flusher, line = Flusher(window), Line()
    outbox = Outbox(MSGPACK, 1_000_000, flusher, line)

    async def chat(busy_s: float) -> float:
        """Messages 1 ms apart, each of which takes so long; what part of them was a send."""
        before, count = len(line.got), 1000
        for _ in range(count):
            with flusher:
                flusher.broadcast(b"x", [outbox])
                autojump_clock.jump(busy_s)
            await trio.sleep(0.001 - busy_s)
        return (len(line.got) - before) / count

    async with trio.open_nursery() as nursery:
        await nursery.start(flusher.run)
        assert await chat(busy_s=0.0001) == 1.0
        assert window.present_s == 0
        assert await chat(busy_s=0.0008) < 0.4
        assert window.present_s == GATHER_S
        await chat(busy_s=0.00001)
        assert await chat(busy_s=0.00001) == 1.0
        nursery.cancel_scope.cancel()


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


class Full(Line):
    """A socket that takes so many bytes until it is emptied."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.emptied = trio.Event()
        self.overflows = 0
        self.errors: list[OSError] = []
        self.failure: OSError | None = None

    def send(self, data: bytes | memoryview) -> int:
        if self.failure is not None:
            raise self.failure
        if not self.room:
            raise BlockingIOError
        count = super().send(data[: self.room])
        self.room -= count
        return count

    async def wait_writable(self) -> None:
        await self.emptied.wait()

    def empty(self) -> None:
        self.room = 1_000_000
        self.emptied.set()

    def overflowed(self) -> None:
        self.overflows += 1

    def fell_behind(self, reason: str) -> None: ...

    def broken(self, error: OSError) -> None:
        self.errors.append(error)

    def stream(self) -> bytes:
        return b"".join(data for _, data in self.got)


async def test_a_broadcast_leaves_at_once_where_nothing_waits_and_in_order_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (flusher, outbox, line):
        other_line = Line()
        other = Outbox(MSGPACK, 1_000_000, flusher, other_line)
        with flusher:
            other.push(b"reply")
            flusher.broadcast(b"a", [outbox, other])
            assert line.got == [(0, b"a")]
            assert other_line.got == []
            flusher.broadcast(b"b", [outbox, other])
        assert other_line.got == [(0, b"replyab")]
        await trio.sleep(1)
    assert line.got == [(0, b"a"), (5, b"b")]
    assert flusher.statistics().sends == 3
    assert flusher.statistics().bytes_sent == 9


async def test_while_pushes_are_gathered_who_has_had_none_waits_for_the_end_of_the_turn_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (flusher, busy, busy_line):
        quiet_line = Line()
        quiet = Outbox(MSGPACK, 1_000_000, flusher, quiet_line)
        with flusher:
            flusher.broadcast(b"a", [busy])
            flusher.broadcast(b"b", [busy])
            flusher.broadcast(b"c", [busy, quiet])
            flusher.broadcast(b"d", [busy, quiet])
        assert quiet_line.got == [(0, b"cd")]
        await trio.sleep(1)
    assert busy_line.got == [(0, b"a"), (5, b"bcd")]


async def test_a_state_is_broadcast_at_once_and_replaces_the_one_that_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (flusher, outbox, line):
        with flusher:
            flusher.broadcast(b"1", [outbox], "match")
            flusher.broadcast(b"2", [outbox], "match")
            outbox.push(b"event")
            flusher.broadcast(b"3", [outbox], "match")
        assert [sent for _, sent in line.got] == [b"1", b"2", b"event3"]


@pytest.mark.parametrize("room", range(8))
async def test_what_a_full_socket_does_not_take_goes_first_and_nothing_is_lost(
    room: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with flushing() as (flusher, _, _line):
        line = Full(room)
        outbox = Outbox(MSGPACK, 1_000_000, flusher, line)
        flusher.broadcast(b"abc", [outbox])
        flusher.broadcast(b"def", [outbox])
        flusher.broadcast(b"g", [outbox], "slot")
        await trio.sleep(1)
        assert outbox.queued_bytes == max(0, 7 - room)
        line.empty()
        await trio.sleep(1)
        flusher.broadcast(b"h", [outbox])
        assert line.stream() == b"abcdefgh"
        assert outbox.queued_bytes == 0
        assert flusher.statistics().bytes_sent == 8


async def test_a_state_that_a_socket_has_refused_once_is_sent_before_newer_ones(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """TLS has encrypted the state by then.

    If anything else were sent next, the client could not read on.
    """
    async with flushing() as (flusher, _, _line):
        line = Full(0)
        outbox = Outbox(MSGPACK, 1_000_000, flusher, line)
        outbox.replace("match", b"[1]")
        await trio.sleep(1)
        outbox.replace("match", b"[2]")
        outbox.replace("match", b"[3]")
        line.empty()
        await trio.sleep(1)
        assert line.stream() == b"[1][3]"


async def test_a_broadcast_over_the_bound_and_to_a_broken_socket_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (flusher, good, line):
        narrow, broken = Full(1), Full(9)
        broken.failure = ConnectionResetError()
        outboxes = [
            Outbox(MSGPACK, 4, flusher, narrow),
            Outbox(MSGPACK, 4, flusher, broken),
            good,
        ]
        flusher.broadcast(b"abcdef", outboxes)
        assert narrow.overflows == 1
        assert broken.errors == [broken.failure]
        assert line.got == [(0, b"abcdef")]


@pytest.mark.parametrize("number", range(12))  # in which order tasks end, trio draws
async def test_full_sockets_are_given_up_once_nobody_sends_any_more(
    autojump_clock: trio.testing.MockClock, number: int
) -> None:
    del number
    stuck, good = Full(0), Line()
    errors: list[OSError] = []

    async def broadcasting(flusher: Flusher) -> None:
        with trio.CancelScope(shield=True):
            for _ in range(8):
                full = Full(1)
                outboxes = [Outbox(MSGPACK, 1_000, flusher, line) for line in (full, good)]
                flusher.broadcast(b"abc", outboxes)
                errors.extend(full.errors)
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        flusher = Flusher()
        await nursery.start(flusher.run)
        flusher.broadcast(b"abc", [Outbox(MSGPACK, 1_000, flusher, stuck)])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(broadcasting, flusher)
        nursery.cancel_scope.cancel()
    assert good.got == [(0, b"abc")] * 8
    assert errors
    assert {type(error) for error in errors} == {BrokenPipeError}


async def test_beyond_a_turn_a_broadcast_leaves_in_turns(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with flushing() as (flusher, _, _line):
        lines = [Line() for _ in range(1000)]
        outboxes = [Outbox(MSGPACK, 1_000, flusher, line) for line in lines]
        flusher.broadcast(b"a", outboxes)
        assert sum(len(line.got) for line in lines) == 256
        await trio.sleep(1)
        assert all([sent for _, sent in line.got] == [b"a"] for line in lines)
