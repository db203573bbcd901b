from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from persistence.reconnect import Reconnect


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_attempt_never_waits() -> None:
    assert not Reconnect(1.0, 8.0, clock=Clock()).waiting


def test_pauses_double_up_to_the_longest_and_start_over_after_a_success() -> None:
    clock = Clock()
    reconnect = Reconnect(1.0, 5.0, clock=clock)
    for pause_s in (1.0, 2.0, 4.0, 5.0, 5.0):
        reconnect.failed("refused")
        clock.now += pause_s - 0.01
        assert reconnect.waiting
        clock.now += 0.02
        assert not reconnect.waiting
    assert reconnect.reason == "refused"
    reconnect.succeeded()
    reconnect.failed("again")
    clock.now += 1.0
    assert not reconnect.waiting


@given(st.lists(st.booleans(), max_size=60))
def test_no_pause_is_ever_longer_than_the_longest(outcomes: list[bool]) -> None:
    clock = Clock()
    reconnect = Reconnect(0.1, 3.0, clock=clock)
    for succeeds in outcomes:
        if succeeds:
            reconnect.succeeded()
        else:
            reconnect.failed("x")
            clock.now += 3.0
        assert not reconnect.waiting
