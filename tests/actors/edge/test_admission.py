"""Load shedding: how many requests a node takes up at once."""

from __future__ import annotations

import heapq
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.edge.admission import FLOOR, LONGEST_PAUSE_S, LOOK_EVERY_S, TARGET_S, Admission


def _answer(admission: Admission, now: float, took_s: float) -> None:
    admission.begin()
    admission.end(now - took_s, now)


def test_beyond_the_limit_nothing_is_taken_up() -> None:
    admission = Admission(2)
    admission.begin()
    assert not admission.full()
    admission.begin()
    assert admission.full()
    admission.end(0.0, 0.1)
    assert not admission.full()


def test_slow_answers_make_the_bound_fall_and_quick_ones_raise_it_again() -> None:
    admission, now = Admission(4096), 0.0
    for _ in range(100):
        now += LOOK_EVERY_S
        _answer(admission, now, 2 * TARGET_S)
    assert admission.allowed == FLOOR
    for _ in range(100):
        now += LOOK_EVERY_S
        _answer(admission, now, TARGET_S / 100)
    assert admission.allowed == 4096


def test_one_slow_answer_among_many_changes_nothing() -> None:
    admission = Admission(4096)
    for number in range(2000):
        _answer(admission, number / 1000, 5.0 if number % 100 == 0 else 0.01)
    assert admission.allowed == 4096


@given(st.integers(1, 5000), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 60)), max_size=200))
def test_some_are_always_taken_up_and_never_more_than_the_limit(
    limit: int, answers: list[tuple[float, float]]
) -> None:
    admission, now = Admission(limit), 0.0
    for pause, took_s in answers:
        now += pause
        _answer(admission, now, took_s)
        assert min(FLOOR, limit) <= admission.allowed <= limit
    assert admission.under_way == 0


def test_what_was_handed_on_counts_until_the_turn_is_over() -> None:
    admission = Admission(3)
    admission.begin()
    with admission:
        admission.handed += 2
        assert admission.full(to_come=True)
        assert not admission.full()
    assert not admission.full(to_come=True)


def test_refused_clients_are_read_from_in_turn_and_each_before_long() -> None:
    admission = Admission(1)
    assert admission.read_next_in(7.0) == 0.0  # nothing is under way: it was the client's own bound
    admission.begin()
    turns = [admission.read_next_in(7.0) for _ in range(3000)]
    assert turns[:4] == pytest.approx([0.0, 0.001, 0.002, 0.003])
    assert max(turns) <= LONGEST_PAUSE_S
    assert admission.read_next_in(7.4) == pytest.approx(0.1, abs=0.002)
    assert admission.read_next_in(8.0) == 0.0


@pytest.mark.parametrize("clients", [400, 600, 1000, 3000])
def test_those_who_are_refused_together_do_not_come_back_together(clients: int) -> None:
    admission = Admission(1, random.Random(1))
    admission.begin()
    due = [(0.0, number) for number in range(clients)]
    reads = Counter[int]()
    while due[0][0] < 5.0:
        now, number = heapq.heappop(due)
        reads[int(now / 0.05)] += 1
        heapq.heappush(due, (now + admission.read_next_in(now) + 1e-6, number))
    later = [reads[slot] for slot in range(20, 100)]  # from the second second on
    assert max(later) < 1.5 * sum(later) / len(later)
