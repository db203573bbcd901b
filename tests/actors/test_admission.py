"""Load shedding: how many requests a node takes up at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.admission import FLOOR, LOOK_EVERY_S, TARGET_S, Admission


def _answer(admission: Admission, now: float, took_s: float) -> None:
    admission.begin()
    admission.end(now - took_s, now)


def test_beyond_the_limit_nothing_is_taken_up() -> None:
    admission = Admission(2, lambda: 0)
    admission.begin()
    assert not admission.full()
    admission.begin()
    assert admission.full()
    admission.end(0.0, 0.1)
    assert not admission.full()


def test_slow_answers_make_the_bound_fall_and_quick_ones_raise_it_again() -> None:
    admission, now = Admission(4096, lambda: 0), 0.0
    for _ in range(100):
        now += LOOK_EVERY_S
        _answer(admission, now, 2 * TARGET_S)
    assert admission.allowed == FLOOR
    for _ in range(100):
        now += LOOK_EVERY_S
        _answer(admission, now, TARGET_S / 100)
    assert admission.allowed == 4096


def test_one_slow_answer_among_many_changes_nothing() -> None:
    admission = Admission(4096, lambda: 0)
    for number in range(2000):
        _answer(admission, number / 1000, 5.0 if number % 100 == 0 else 0.01)
    assert admission.allowed == 4096


@given(st.integers(1, 5000), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 60)), max_size=200))
def test_some_are_always_taken_up_and_never_more_than_the_limit(
    limit: int, answers: list[tuple[float, float]]
) -> None:
    admission, now = Admission(limit, lambda: 0), 0.0
    for pause, took_s in answers:
        now += pause
        _answer(admission, now, took_s)
        assert min(FLOOR, limit) <= admission.allowed <= limit
    assert admission.under_way == 0


def test_what_was_handed_on_counts_until_the_turn_is_over() -> None:
    admission = Admission(3, lambda: 0)
    admission.begin()
    with admission:
        admission.handed += 2
        assert admission.full(to_come=True)
        assert not admission.full()
    assert not admission.full(to_come=True)


def test_the_more_clients_there_are_the_less_often_a_refused_one_is_read_from() -> None:
    clients = 200
    admission = Admission(1, lambda: clients)
    _answer(admission, 0.0, 0.0)
    assert admission.pause() == 0.0  # nothing is under way: it was the client's own bound
    admission.begin()
    assert admission.pause() == 0.2
    clients = 100_000
    admission.end(LOOK_EVERY_S, LOOK_EVERY_S)
    admission.begin()
    assert admission.pause() == 0.5
