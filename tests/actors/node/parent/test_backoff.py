"""When a node that ended is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.node.parent.backoff import FIRST_S, HOPELESS, LONGEST_S, STEADY_S, NodeBackoff

CHANCES = st.floats(min_value=0, max_value=1)


def test_pauses_double_up_to_the_longest() -> None:
    backoff, pauses = NodeBackoff(), []
    for _ in range(9):
        backoff = backoff.after(up_s=0.0)
        pauses.append(backoff.pause_s(chance=1.0))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_node_that_was_up_for_long_begins_anew() -> None:
    failing = NodeBackoff(failures=7)
    assert failing.after(up_s=STEADY_S - 1).failures == 8
    assert failing.after(up_s=STEADY_S).failures == 1


@given(failures=st.integers(min_value=1, max_value=100_000), chance=CHANCES)
def test_every_pause_is_bounded_however_often_a_node_fails(failures: int, chance: float) -> None:
    assert FIRST_S / 2 <= NodeBackoff(failures).pause_s(chance) <= LONGEST_S


@given(up_s=st.lists(st.floats(min_value=0, max_value=STEADY_S - 1), max_size=20))
def test_it_is_hopeless_after_so_many_failures_in_a_row(up_s: list[float]) -> None:
    backoff = NodeBackoff()
    for one in up_s:
        backoff = backoff.after(one)
    assert backoff.hopeless == (len(up_s) >= HOPELESS)
