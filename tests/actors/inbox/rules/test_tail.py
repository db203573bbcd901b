"""The end of an inbox in memory answers as the whole inbox would, or says that it does not know."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.inbox.rules.tail import Tail, TailEntry, unread

SIZES = st.lists(st.integers(0, 9), max_size=40)


def items(sizes: list[int], first: int = 1) -> list[TailEntry]:
    return [
        TailEntry(offset, "note", f"{offset}", 0, size)
        for offset, size in enumerate(sizes, start=first)
    ]


def grown(before: list[int], after: list[int], recent: int, max_bytes: int) -> Tail:
    """A tail that took over an inbox and grew with it."""
    whole = items(before)
    tail = Tail(len(before), whole[-recent:], recent=recent, max_bytes=max_bytes)
    for item in items(after, first=len(before) + 1):
        tail.append(item)
    return tail


LIMITS = st.tuples(st.integers(1, 12), st.integers(1, 40))


@given(SIZES, SIZES, LIMITS)
def test_it_holds_the_last_ones_within_both_limits(
    before: list[int], after: list[int], limits: tuple[int, int]
) -> None:
    recent, max_bytes = limits
    whole = items(before + after)
    tail = grown(before, after, recent, max_bytes)
    assert tail.newest == len(whole)
    held = tail.last(10**6)
    assert held == whole[len(whole) - len(held) :]
    assert len(held) <= recent
    assert sum(item.size for item in held) <= max_bytes or len(held) == 1
    assert bool(held) == bool(whole)
    assert tail.last(0) == []
    assert tail.last(3) == held[-3:]
    small = tail.last(3, 10)
    assert small == held[len(held) - len(small) :]
    assert sum(item.size for item in small) <= 10
    longer = held[-len(small) - 1 :]
    assert len(longer) == len(small) or len(longer) > 3 or sum(one.size for one in longer) > 10


@given(SIZES, SIZES, LIMITS, st.integers(0, 90))
def test_a_resume_gets_all_that_was_missed_or_is_told_that_it_cannot(
    before: list[int], after: list[int], limits: tuple[int, int], offset: int
) -> None:
    whole = items(before + after)
    tail = grown(before, after, *limits)
    missed = tail.since(offset)
    if missed is None:
        assert offset > len(whole) or offset < tail.held_after
    else:
        assert missed == whole[offset:]


@given(SIZES, SIZES, LIMITS, st.integers(0, 90), st.integers(1, 20))
def test_a_page_from_memory_is_the_page_of_the_whole(
    before: list[int], after: list[int], limits: tuple[int, int], end: int, limit: int
) -> None:
    whole = items(before + after)
    tail = grown(before, after, *limits)
    page = tail.page(end, limit)
    older = whole[: end - 1] if 0 < end <= len(whole) else whole
    if page is None:
        assert len(older) - limit <= tail.held_after
    else:
        assert page.items == older[-limit:]
        assert page.more == (len(older) > limit)


def test_what_is_unread_is_what_came_after_the_mark() -> None:
    assert [unread(7, 0), unread(7, 7), unread(7, 9), unread(0, 0)] == [7, 0, 0, 0]
