"""When pushes are gathered: only while the loop is busy, and only where it saves something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.server.gathering import BUSY_SHARE, LOOK_S, Window

LONGEST_S = 0.005
PUSH_S, SEND_S = 0.6e-6, 6e-6  # about what they cost
STEP_S = LOOK_S * 1.01


class Loop:
    """A node that pushes `per_s` times a second to each of `clients`, and does `other` beside."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self.window = Window(longest_s)
        self.now = 1000.0
        self.loads: list[float] = []

    def run(self, for_s: float, clients: int, per_s: float, other: float = 0.0) -> None:
        window = self.window
        for _ in range(round(for_s / STEP_S)):
            self.now += STEP_S
            pushes = clients * per_s * STEP_S
            sends = clients * STEP_S * min(per_s, 1 / (window.present_s + 1 / per_s))
            window.pushed(1 / per_s, round(pushes))
            self.loads.append(min(1.0, (pushes * PUSH_S + sends * SEND_S) / STEP_S + other))
            assert window.due(self.now)
            window.look(self.now, self.loads[-1] * STEP_S, round(sends))
            assert 0 <= window.present_s <= window.longest_s


def test_an_idle_loop_gathers_nothing() -> None:
    loop = Loop()
    loop.run(5.0, clients=100, per_s=500)
    assert loop.window.present_s == 0


def test_a_busy_loop_gathers_until_it_is_not() -> None:
    loop = Loop()
    loop.run(2.0, clients=100, per_s=1500)
    assert loop.window.present_s > 0
    assert loop.loads[-1] <= BUSY_SHARE < loop.loads[0]
    loop.run(2.0, clients=100, per_s=12_000)
    assert loop.window.present_s == LONGEST_S


def test_what_the_window_saves_does_not_end_it() -> None:
    loop = Loop()
    loop.run(1.0, clients=100, per_s=6000)
    assert loop.loads[-1] < loop.loads[0] / 2
    for _ in range(20):
        before = loop.window.present_s
        loop.run(0.5, clients=100, per_s=6000)
        assert loop.window.present_s == before > 0


def test_once_there_is_less_to_do_it_ends() -> None:
    loop = Loop()
    loop.run(2.0, clients=100, per_s=6000)
    loop.run(2.0, clients=100, per_s=250)
    assert loop.window.present_s == 0


@pytest.mark.parametrize("clients", [100, 10_000])
def test_clients_that_get_little_are_not_kept_waiting_however_busy_the_loop_is(
    clients: int,
) -> None:
    loop = Loop()
    loop.run(5.0, clients=clients, per_s=200, other=0.8)
    assert loop.window.present_s == 0


def test_a_pause_between_bursts_does_not_end_it() -> None:
    loop = Loop()
    loop.run(1.0, clients=100, per_s=6000)
    before = loop.window.present_s
    for _ in range(20):
        loop.now += 0.1  # nothing comes, so nothing is looked at
        loop.run(STEP_S, clients=1, per_s=1.0)
        loop.run(0.1, clients=100, per_s=6000)
    assert loop.window.present_s >= before > 0


def test_none_is_never() -> None:
    loop = Loop(0.0)
    loop.run(2.0, clients=1000, per_s=6000)
    assert loop.window.present_s == 0


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(1, 10_000), st.floats(0, 1))))
def test_it_stays_within_its_bounds(phases: list[tuple[int, float, float]]) -> None:
    loop = Loop()
    for clients, per_s, other in phases:
        loop.run(0.2, clients, per_s, other)
