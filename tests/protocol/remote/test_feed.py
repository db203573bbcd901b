from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from protocol.remote.feed import Feed


def count(dropped: str | None, item: int | str) -> str:
    return f"{int(dropped or 0) + (int(item) if isinstance(item, str) else 1)}"


async def drain(feed: Feed[int, str]) -> list[int | str]:
    feed.close()
    return [item async for item in feed]


async def test_items_come_in_order_and_the_end_after_the_last() -> None:
    feed: Feed[int, str] = Feed(8, count)
    for item in range(3):
        feed.put(item)
    assert await drain(feed) == [0, 1, 2]


async def test_an_error_comes_after_what_was_there() -> None:
    feed: Feed[int, str] = Feed(8, count)
    feed.put(1)
    feed.close(LookupError("gone"))
    assert await feed.next() == 1
    with pytest.raises(LookupError):
        await feed.next()


async def test_a_full_feed_drops_the_oldest_and_says_so_first() -> None:
    feed: Feed[int, str] = Feed(3, count)
    for item in range(10):
        feed.put(item)
    assert feed.dropped == 7
    assert await drain(feed) == ["7", 7, 8, 9]


async def test_a_newer_item_takes_the_place_of_one_of_its_slot() -> None:
    feed: Feed[int, str] = Feed(8, count)
    for item in (1, 2):
        feed.put(item, slot="state")
    feed.put(3)
    feed.put(4, slot="state")
    assert await drain(feed) == [3, 4]
    assert feed.conflated == 2


async def test_a_waiting_reader_is_woken_by_an_item_and_by_the_end(autojump_clock: object) -> None:
    feed: Feed[int, str] = Feed(8, count)
    got: list[int | str] = []

    async def read() -> None:
        got.extend([item async for item in feed])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.sleep(1)
        feed.put(1)
        await trio.sleep(1)
        assert got == []  # still collecting
        feed.close()
    assert got == [1]


async def test_several_readers_share_a_feed_and_all_see_the_end(autojump_clock: object) -> None:
    feed: Feed[int, str] = Feed(8, count)
    got: list[int | str] = []

    async def read() -> None:
        async for item in feed:
            got.append(item)  # noqa: PERF401 - a comprehension would hide who got what when

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read)
        await trio.sleep(1)
        for item in range(5):
            feed.put(item)
        await trio.sleep(1)
        feed.close()
    assert sorted(got, key=int) == [0, 1, 2, 3, 4]


async def test_what_comes_after_the_end_is_not_kept() -> None:
    feed: Feed[int, str] = Feed(8, count)
    feed.close()
    feed.put(1)
    assert len(feed) == 0


@given(st.integers(1, 5), st.lists(st.sampled_from([None, "a", "b"])))
def test_never_more_than_its_capacity_and_every_item_is_accounted_for(
    capacity: int, slots: list[str | None]
) -> None:
    feed: Feed[int, str] = Feed(capacity, count)
    for item, slot in enumerate(slots):
        feed.put(item, slot=slot)
        assert len(feed) <= capacity
    assert len(feed) + feed.dropped + feed.conflated == len(slots)

    left = trio.run(drain, feed)
    if feed.dropped:
        assert left.pop(0) == str(feed.dropped)
    assert left == sorted(left, key=int)
    if slots:
        assert left[-1] == len(slots) - 1
