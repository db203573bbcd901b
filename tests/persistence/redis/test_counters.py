from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pykka import ActorRef

import actors
from persistence import RedisSettings, RowRefused, StoreUnavailable
from persistence.counters import Counters, CounterValue
from persistence.redis.connection import connect
from persistence.redis.counters import CounterWorker
from persistence.requests import Increment, LoadSnapshot, StoreCheck
from tests.persistence.asking import ask, hanging_up

Ref = ActorRef[Any]

HOUR_MS = 3_600_000


@pytest.fixture
def counting(redis: RedisSettings) -> Iterator[Ref]:
    ref: Ref = CounterWorker.start(redis)
    yield ref
    ref.stop()


def test_it_counts_up_and_names_stay_apart(counting: Ref, unique: str) -> None:
    totals = [sum(ask(counting, Increment(unique, n, HOUR_MS))[:2]) for n in (1, 2, 3)]
    assert totals == [1, 3, 6]
    assert ask(counting, Increment(f"{unique}:other", 1, HOUR_MS))[0] == 1
    assert ask(counting, StoreCheck()) is None
    with pytest.raises(RowRefused, match="not for a counter"):
        ask(counting, LoadSnapshot("k", "a"))


def test_of_many_at_once_on_several_nodes_each_sees_another_total(
    redis: RedisSettings, unique: str
) -> None:
    nodes: list[Ref] = [CounterWorker.start(redis) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        request = Increment(unique, 1, HOUR_MS)
        totals = list(pool.map(lambda n: sum(ask(nodes[n % 3], request)[:2]), range(90)))
    assert sorted(totals) == list(range(1, 91))
    for node in nodes:
        node.stop()


def test_a_counter_goes_away_by_itself(counting: Ref, redis: RedisSettings, unique: str) -> None:
    ask(counting, Increment(unique, 1, HOUR_MS))
    client: Any = connect(redis)
    assert 0 < client.pttl(f"{redis.prefix}counter:{unique}") <= 2 * HOUR_MS
    client.close()


def test_scripts_that_went_with_a_restart_are_loaded_again(
    counting: Ref, redis: RedisSettings, unique: str
) -> None:
    ask(counting, Increment(unique, 1, HOUR_MS))
    client: Any = connect(redis)
    client.script_flush()
    client.close()
    assert sum(ask(counting, Increment(unique, 1, HOUR_MS))[:2]) == 2


async def test_while_the_store_is_away_a_node_counts_for_itself(unique: str) -> None:
    with hanging_up() as store:
        settings = RedisSettings(url=f"redis://127.0.0.1:{store.port}/0", first_retry_s=1e6)
        async with actors.ActorSystem() as system:
            worker = system.start(CounterWorker, settings)
            counters = Counters(worker, lambda: 0.0, timeout_s=60.0)
            for n in range(1, 4):
                assert (await counters.count(unique, window_s=1e6))[:2] == (n, False)
            assert counters.fallbacks == 3


class Away:
    """A worker that never answers."""

    async def ask(self, message: Any, *, timeout: float | None = None) -> Any:
        raise StoreUnavailable("redis", "away")


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), max_size=60))
def test_a_window_slides(steps: list[tuple[float, int]]) -> None:
    """Never less than came within it; never more than came within it and the one before."""
    now = 1000.0
    counters = Counters(Away(), lambda: now)
    came: list[tuple[float, int]] = []
    for later_s, amount in steps:
        now += later_s
        came.append((now, amount))

        async def add(amount: int = amount) -> float:
            return (await counters.count("n", amount, window_s=2.0)).total

        total = trio.run(add)
        this_window = now - now % 2.0
        assert total >= sum(n for at, n in came if at >= this_window)
        assert total <= sum(n for at, n in came if at > now - 4.0)


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 9.99), st.integers(1, 40))
def test_a_count_says_when_it_has_fallen_to_a_limit(
    present: int, before: int, into_s: float, limit: int
) -> None:
    def total_at(at_s: float) -> float:
        if at_s < 10.0:
            return present + before * (1.0 - at_s / 10.0)
        return max(0.0, present * (1.0 - (at_s - 10.0) / 10.0))

    value = CounterValue(total_at(into_s), True, present, before, into_s, 10.0)
    in_s = value.falls_to(limit)
    assert in_s >= 0.0
    if value.total > limit:
        assert total_at(into_s + in_s) == pytest.approx(limit)
    else:
        assert in_s == 0.0


async def test_a_node_keeps_no_more_names_than_it_may() -> None:
    counters = Counters(Away(), lambda: 0.0, names=2)
    for name, expected in (("a", 1), ("b", 1), ("a", 2), ("c", 1), ("a", 3), ("b", 1)):
        assert (await counters.count(name, window_s=60.0)).total == expected


class NowAndThen:
    """A worker that can be away. Other nodes count 10 for each count that is asked for here."""

    def __init__(self) -> None:
        self.away = False
        self._total = 0

    async def ask(self, message: Increment, *, timeout: float | None = None) -> Any:
        self._total += 10  # the others go on
        if self.away:
            raise StoreUnavailable("redis", "away")
        self._total += message.amount
        return (self._total, 0, 0)


async def test_a_node_has_counted_for_itself_all_along_and_hears_of_others_again() -> None:
    worker = NowAndThen()
    counters = Counters(worker, lambda: 0.0)
    found = []
    for worker.away in (False, False, True, True, False):
        found.append((await counters.count("n", window_s=60.0))[:2])
    assert found == [(11, True), (22, True), (3, False), (4, False), (53, True)]
    assert counters.fallbacks == 2
