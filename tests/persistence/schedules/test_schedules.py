from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

from persistence import (
    PostgresSettings,
    RowRefused,
    ScheduleSettings,
    StoreUnavailable,
    TooManySchedules,
)
from persistence.postgres import migrate
from persistence.postgres.connection import connect
from persistence.schedules import Claimed, ScheduleStore, ScheduleWorker, Settled
from persistence.schedules.requests import CancelSchedule, SetSchedule
from tests.persistence.asking import ask, hanging_up
from tests.persistence.schedules.in_loop import START_US, InLoop

SETTINGS = ScheduleSettings(of_target=3, payload_bytes=10)
S = 1_000_000


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    """A schema of its own, because a look finds what is due in the whole table."""
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings)
    return settings


class Clock:
    """A clock in microseconds, which a test sets."""

    def __init__(self) -> None:
        self.now_us = START_US

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard() -> list[int]:
    return []


@pytest.fixture
def store(settings: PostgresSettings, clock: Clock, heard: list[int]) -> Iterator[ScheduleStore]:
    worker = InLoop(settings, SETTINGS, clock)
    yield ScheduleStore(worker, SETTINGS, heard.append)
    worker.close()


async def claimed(store: ScheduleStore, room: int = 100) -> list[Claimed]:
    return list((await store.claim(room, claim_s=10.0)).rows)


async def test_a_schedule_is_claimed_when_it_is_due_and_not_before(
    store: ScheduleStore, clock: Clock, heard: list[int]
) -> None:
    id_ = await store.set("match", "1", "end", b"draw", after_s=5.0)
    assert heard == [START_US + 5 * S]
    early = await store.claim(100, claim_s=10.0)
    assert (early.rows, early.now_us, early.later_us) == ([], START_US, START_US + 5 * S)
    clock.now_us += 5 * S - 1
    assert await claimed(store) == []
    clock.now_us += 1
    assert await claimed(store) == [Claimed("match", "1", "end", id_, START_US + 5 * S, 1, b"draw")]


async def test_a_claim_lapses_and_the_next_one_tells_that_it_is_another_attempt(
    store: ScheduleStore, clock: Clock
) -> None:
    await store.set("match", "1", "end", at_us=START_US)
    (first,) = await claimed(store)
    clock.now_us += 10 * S - 1
    assert await claimed(store) == []
    clock.now_us += 1
    assert await claimed(store) == [first._replace(attempt=2)]


async def test_what_is_settled_is_gone_and_what_is_to_be_tried_again_comes_then(
    store: ScheduleStore, clock: Clock
) -> None:
    for name in ("done", "failed", "kept"):
        await store.set("match", "1", name, at_us=START_US)
    rows = {row.name: row for row in await claimed(store)}
    left = await store.settle(
        [
            Settled(rows["done"]),
            Settled(rows["failed"], 2 * S),
            Settled(rows["kept"], 1 * S, kept=True),
        ]
    )
    assert left == []
    clock.now_us += 1 * S
    assert await claimed(store) == [rows["kept"]]
    clock.now_us += 1 * S
    assert await claimed(store) == [rows["failed"]._replace(attempt=2)]
    clock.now_us += 100 * S
    assert {row.name for row in await claimed(store)} == {"failed", "kept"}


@pytest.mark.parametrize("change", ["set", "move"])
async def test_one_that_is_changed_while_it_is_delivered_is_not_over_with_it(
    store: ScheduleStore, clock: Clock, change: str
) -> None:
    old = await store.set("match", "1", "end", at_us=START_US)
    (row,) = await claimed(store)
    if change == "set":
        new = await store.set("match", "1", "end", after_s=3.0)
    else:
        moved = await store.move("match", "1", "end", after_s=3.0)
        assert moved is not None
        new = moved
    assert new != old
    assert await store.settle([Settled(row)]) == []
    assert await store.settle([Settled(row, 0)]) == []
    clock.now_us += 3 * S
    (again,) = await claimed(store)
    assert (again.id, again.attempt) == (new, 1)


async def test_what_another_has_claimed_since_is_left_to_it_unless_it_is_over(
    store: ScheduleStore, clock: Clock
) -> None:
    await store.set("match", "1", "end", at_us=START_US)
    (mine,) = await claimed(store)
    clock.now_us += 10 * S
    (others,) = await claimed(store)
    await store.settle([Settled(mine, 0)])
    assert await claimed(store) == [], "the other one's claim has not been shortened"
    await store.settle([Settled(mine)])
    clock.now_us += 100 * S
    assert await claimed(store) == []
    assert others.attempt == 2


async def test_cancel_says_whether_it_was_there_and_with_an_id_only_once(
    store: ScheduleStore,
) -> None:
    first = await store.set("match", "1", "end", at_us=START_US)
    second = await store.set("match", "1", "end", at_us=START_US)
    assert not await store.cancel("match", "1", "end", id=first)
    assert await store.cancel("match", "1", "end", id=second)
    assert not await store.cancel("match", "1", "end", id=second)
    assert not await store.cancel("match", "1", "end")
    await store.set("match", "1", "end", at_us=START_US)
    assert await store.cancel("match", "1", "end")
    assert await store.move("match", "1", "end", after_s=1.0) is None
    assert await claimed(store) == []


async def test_a_target_has_so_many_and_no_more(store: ScheduleStore) -> None:
    for name in ("a", "b", "c"):
        await store.set("match", "1", name, after_s=1.0)
    with pytest.raises(TooManySchedules, match="match/1 has 3 schedules"):
        await store.set("match", "1", "d", after_s=1.0)
    await store.set("match", "1", "c", after_s=2.0)
    await store.set("match", "2", "d", after_s=1.0)
    await store.cancel("match", "1", "a")
    await store.set("match", "1", "d", after_s=1.0)


async def test_what_no_row_may_hold_is_refused_before_it_is_asked(store: ScheduleStore) -> None:
    for name, payload in (("n", bytes(11)), ("n" * 2001, b""), ("\0", b""), ("\ud800", b"")):
        with pytest.raises(RowRefused):
            await store.set("match", "1", name, payload, after_s=1.0)
    for after_s in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="duration"):
            await store.set("match", "1", "n", after_s=after_s)
    with pytest.raises(ValueError, match="at_us must be"):
        await store.move("match", "1", "n", at_us=2**63)
    with pytest.raises(ValueError, match="either"):
        await store.set("match", "1", "n")
    await store.set("m" * 1000, "k" * 900, "n" * 100, after_s=2.0**42)


async def test_room_bounds_a_look_and_the_first_due_come_first(
    store: ScheduleStore, clock: Clock
) -> None:
    for n in range(5):
        await store.set("match", str(n), "end", at_us=START_US + n)
    clock.now_us += 10
    page = await store.claim(2, claim_s=10.0)
    assert [row.key for row in page.rows] == ["0", "1"]
    assert page.later_us == START_US + 2, "more are due"
    assert (await store.claim(0, claim_s=10.0)).rows == []
    assert [row.key for row in await claimed(store)] == ["2", "3", "4"]


async def test_two_who_look_at_once_never_get_the_same_row(
    settings: PostgresSettings, store: ScheduleStore, clock: Clock
) -> None:
    """Many rows, two threads and two connections, and each row comes up once."""
    with connect(settings) as connection:
        connection.execute(
            f"INSERT INTO {settings.schema}.schedules"
            " SELECT 'match', n, 'end', n, 0, 0, 0, '' FROM generate_series(1, 2000) AS n"
        )
    workers = [InLoop(settings, SETTINGS, clock) for _ in range(2)]
    found: list[Claimed] = []

    def take(worker: InLoop) -> None:
        other = ScheduleStore(worker, SETTINGS)

        async def all_there_are() -> None:
            while rows := await claimed(other, 50):
                found.extend(rows)

        trio.run(all_there_are)

    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(trio.to_thread.run_sync, take, worker)
    for worker in workers:
        worker.close()
    assert len(found) == 2000
    assert len({row.key for row in found}) == 2000
    assert await claimed(store) == []


async def test_a_row_that_somebody_works_on_is_passed_over_and_waits_for_nobody(
    settings: PostgresSettings, store: ScheduleStore
) -> None:
    await store.set("match", "1", "end", at_us=START_US)
    await store.set("match", "2", "end", at_us=START_US)
    rows = await claimed(store)
    await store.set("match", "3", "end", at_us=START_US)
    with connect(settings) as other, other.transaction():
        other.execute(f"SELECT FROM {settings.schema}.schedules WHERE key <> '2' FOR UPDATE")
        settled = [Settled(row) for row in rows]
        assert await store.settle(settled) == [one for one in settled if one.claimed.key == "1"]
        look = await store.claim(100, claim_s=10.0)
        assert (look.rows, look.later_us) == ([], START_US)
    assert await store.settle(settled) == []
    assert [row.key for row in await claimed(store)] == ["3"]


async def test_nothing_is_set_while_postgresql_is_away(store: ScheduleStore) -> None:
    with hanging_up() as hanger:
        away = PostgresSettings(url=f"postgresql://127.0.0.1:{hanger.port}/x")
        worker = InLoop(away, SETTINGS)
        with pytest.raises(StoreUnavailable):
            await ScheduleStore(worker, SETTINGS).set("match", "1", "end", after_s=1.0)
    assert await claimed(store) == []


def test_requests_that_have_queued_up_are_done_in_order_by_postgresqls_clock(
    settings: PostgresSettings,
) -> None:
    """With a thread of its own, as in a server."""
    ref: Any = ScheduleWorker.start(settings, SETTINGS)
    try:
        with connect(settings) as connection:
            query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            (before,) = connection.execute(query).fetchone() or (0,)
            futures = [
                ref.ask(request, block=False)
                for key in ("2", "1")
                for request in (
                    SetSchedule("match", key, "end", 1, None, 5 * S, b""),
                    SetSchedule("match", key, "end", 2, None, 6 * S, b""),
                    CancelSchedule("match", key, "end", 1),
                    SetSchedule("match", key, "other", 3, 77, None, b""),
                )
            ]
            first, second, cancelled, other = [future.get(timeout=60) for future in futures][:4]
            (after,) = connection.execute(query).fetchone() or (0,)
        assert before + 5 * S <= first <= after + 5 * S
        assert before + 6 * S <= second <= after + 6 * S
        assert not cancelled
        assert other == 77
        assert ask(ref, CancelSchedule("match", "1", "end", 2))
    finally:
        ref.stop()


def test_a_look_reads_what_is_due_and_not_what_waits(settings: PostgresSettings) -> None:
    """That holds whatever the planner does with a table that has grown."""
    schema = settings.schema
    read = (
        f"SELECT pg_stat_get_xact_tuples_fetched('{schema}.schedules'::regclass),"
        f" pg_stat_get_xact_tuples_returned('{schema}.schedules'::regclass),"
        f" (SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index"
        f"  WHERE indrelid = '{schema}.schedules'::regclass)"
    )
    with connect(settings) as connection:
        connection.execute(
            f"INSERT INTO {schema}.schedules SELECT 'match', n, 'end', n, n, n, 0, ''"
            " FROM generate_series(1, 20000) AS n"
        )
        connection.execute(f"ANALYZE {schema}.schedules")
        with connection.transaction():
            found = connection.execute(
                f"SELECT * FROM {schema}.claim_schedules(500, 1, 10)"
            ).fetchall()
            counts = connection.execute(read).fetchone()
        assert len(found) == 11
        assert counts is not None
        assert all(count < 100 for count in counts), counts
