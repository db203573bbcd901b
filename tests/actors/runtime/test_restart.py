from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors import Backoff, RestartWindow


class RestartWindowMachine(RuleBasedStateMachine):
    """The window beside all restarts that it allowed, ever."""

    @initialize(max_restarts=st.integers(0, 4), within_s=st.integers(1, 10))
    def open(self, max_restarts: int, within_s: int) -> None:
        self.window = RestartWindow(max_restarts, float(within_s))
        self.allowed: list[float] = []
        self.now = 0.0

    @rule(seconds=st.integers(0, 6))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def fail(self) -> None:
        recent = [at for at in self.allowed if self.now - at < self.window.within_s]
        before = self.window
        self.window, exceeded = before.record(self.now)
        assert exceeded == (len(recent) >= before.max_restarts)
        if not exceeded:
            self.allowed.append(self.now)

    @invariant()
    def no_window_holds_more_restarts_than_allowed(self) -> None:
        for start in self.allowed:
            inside = [at for at in self.allowed if 0 <= at - start < self.window.within_s]
            assert len(inside) <= self.window.max_restarts

    @invariant()
    def only_what_still_counts_is_kept(self) -> None:
        assert len(self.window.at_s) <= self.window.max_restarts


TestRestartWindow = RestartWindowMachine.TestCase


def test_the_fourth_restart_in_five_seconds_is_one_too_many() -> None:
    window = RestartWindow(3, 5.0)
    for at in (0.0, 1.0, 2.0):
        window, exceeded = window.record(at)
        assert not exceeded
    assert window.record(4.9)[1]
    assert not window.record(5.0)[1]


def test_recording_leaves_the_old_window_as_it_was() -> None:
    window = RestartWindow(1, 5.0)
    window.record(0.0)
    assert window.at_s == ()


def test_the_first_restart_is_immediate_and_later_ones_wait_longer_and_longer() -> None:
    backoff = Backoff(first_s=0.1, factor=2.0, max_s=0.5, jitter=0.0)
    delays = [backoff.delay_s(nth, random.Random(0)) for nth in range(1, 7)]
    assert delays == [0.0, 0.1, 0.2, 0.4, 0.5, 0.5]


@given(
    nth=st.integers(0, 10_000),
    jitter=st.floats(0, 1),
    first_s=st.floats(0.001, 10),
    factor=st.floats(1, 10),
    seed=st.integers(0, 100),
)
def test_no_delay_is_negative_or_above_the_maximum(
    nth: int, jitter: float, first_s: float, factor: float, seed: int
) -> None:
    backoff = Backoff(first_s=first_s, factor=factor, max_s=5.0, jitter=jitter)
    assert 0.0 <= backoff.delay_s(nth, random.Random(seed)) <= 5.0


@given(
    st.builds(
        Backoff,
        first_s=st.floats(0.0, 1e300),
        factor=st.floats(1.0, 1e6),
        max_s=st.floats(0.0, allow_infinity=True),
        jitter=st.floats(0.0, 1.0),
    ),
    st.integers(1, 100_000),
    st.randoms(use_true_random=False),
)
def test_a_delay_is_a_duration_whatever_the_backoff(
    backoff: Backoff, restart: int, rng: random.Random
) -> None:
    assert 0.0 <= backoff.delay_s(restart, rng) <= backoff.max_s
