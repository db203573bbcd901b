from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import trio
import trio.testing

from protocol.codec import MSGPACK
from protocol.frames import PONG
from protocol.server.flusher import Flusher
from protocol.server.keepalive import NEVER, Wheel
from protocol.server.poller import Poller
from protocol.server.settings import WireSettings
from protocol.server.websocket import Connection
from tests.protocol.live import Echo, masked


class Clocked:
    """A connection that notes when it was visited, and when its deadline came."""

    def __init__(self, id: int, on_visit: Callable[[], None] = lambda: None) -> None:  # noqa: A002
        self.id = id
        self.deadline = NEVER
        self.visits: list[float] = []
        self.expiries: list[float] = []
        self.on_visit = on_visit

    def visit(self) -> None:
        self.visits.append(trio.current_time())
        self.on_visit()

    def expired(self) -> None:
        self.expiries.append(trio.current_time())


async def test_each_is_visited_once_a_round_and_not_all_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = Wheel(keepalive_s=20.0)
    await nursery.start(wheel.run)
    many = [Clocked(number) for number in range(200)]
    start = trio.current_time()
    for one in many:
        wheel.add(one)
    await trio.sleep(100.1)
    times = set()
    for one in many:
        assert len(one.visits) == 5
        gaps = [later - before for before, later in zip(one.visits, one.visits[1:], strict=False)]
        assert gaps == pytest.approx([20.0] * 4)
        times.add(round(one.visits[0] - start, 3))
    assert len(times) == 80


async def test_a_deadline_comes_once_and_no_later_than_a_tick(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = Wheel(keepalive_s=20.0)
    await nursery.start(wheel.run)
    one, moved, lifted = Clocked(1), Clocked(2), Clocked(3)
    start = trio.current_time()
    for each in (one, moved, lifted):
        wheel.add(each)
        wheel.expect(each, 10.0)
    await trio.sleep(5)
    wheel.expect(moved, None)
    wheel.expect(moved, 5.0)
    wheel.expect(moved, 12.0)
    wheel.expect(lifted, None)
    await trio.sleep(30)
    assert [when - start for when in one.expiries] == pytest.approx([10.0], abs=0.3)
    assert [when - start for when in moved.expiries] == pytest.approx([17.0], abs=0.3)
    assert lifted.expiries == []


async def test_who_has_left_is_not_called(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = Wheel(keepalive_s=1.0)
    await nursery.start(wheel.run)
    other = Clocked(16)
    one = Clocked(0, on_visit=lambda: wheel.discard(other))
    other.on_visit = lambda: wheel.discard(one)
    for each in (one, other):  # of one bucket: the first to be visited removes the second
        wheel.add(each)
        wheel.expect(each, 2.0)
    await trio.sleep(10)
    assert sorted([len(one.visits), len(other.visits)]) == [0, 10]
    assert sorted([len(one.expiries), len(other.expiries)]) == [0, 1]
    wheel.discard(one)
    wheel.discard(other)
    wheel.discard(other)


async def test_an_empty_wheel_does_not_wake(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = Wheel(keepalive_s=1.0)
    await nursery.start(wheel.run)
    one = Clocked(1)
    wheel.add(one)
    await trio.sleep(3)
    wheel.discard(one)
    await trio.sleep(3)
    with trio.move_on_after(1000):
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline > 900
        await trio.sleep_forever()
    wheel.add(one)
    await trio.sleep(3)
    assert len(one.visits) >= 5


async def test_a_loop_that_was_blocked_visits_nobody_twice_in_a_row(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wheel = Wheel(keepalive_s=1.0)
    await nursery.start(wheel.run)
    one = Clocked(1)
    wheel.add(one)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(100.0)
    await trio.testing.wait_all_tasks_blocked()
    assert len(one.visits) <= 1


@pytest.mark.parametrize("phase_s", [0.1, 5.0, 12.3, 19.9])
async def test_a_silent_client_is_closed_between_a_minute_and_the_next_ping(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, phase_s: float
) -> None:
    settings = WireSettings()
    wheel = Wheel(settings.keepalive_s)
    await nursery.start(wheel.run)
    poller = Poller(nullcontext())
    await nursery.start(poller.run)
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        async with trio.open_nursery() as reading:
            connection = Connection(
                1, MSGPACK, "nowhere", near, settings=settings, flusher=Flusher(), wheel=wheel
            )
            connection.expect_within(None)
            reading.start_soon(connection.run, Echo(connection, lambda _: None), poller)
            await trio.sleep(40.0 + phase_s)
            far.send(masked(PONG, b""))
            heard_at = trio.current_time()
            while not connection.closed:
                await trio.sleep(0.25)
            silent_s = trio.current_time() - heard_at
            assert 60.0 <= silent_s <= 80.5
            reading.cancel_scope.cancel()
