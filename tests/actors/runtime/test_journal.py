"""Group commit over a store in memory, on a mock clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import msgspec
import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.runtime.commit_queue import Writer
from actors.runtime.errors import Fenced, JournalClosed, StoreBusy, Unstorable
from actors.runtime.future import Future
from actors.runtime.journal import Journal
from actors.runtime.journal_settings import JournalSettings
from actors.runtime.memory import MemoryEventStore
from actors.runtime.restart import Backoff
from actors.runtime.stores import EventRow


class Answering(MemoryEventStore):
    """A store whose appends return futures, like those of a store in a thread."""

    nursery: trio.Nursery
    appends = 0

    def append(self, rows: Sequence[EventRow]) -> Future[Any]:  # type: ignore[override]  # awaitable
        self.appends += 1
        answer: Future[Any] = Future()
        self.nursery.start_soon(self._append, list(rows), answer)
        return answer

    async def _append(self, rows: Sequence[EventRow], answer: Future[Any]) -> None:
        try:
            answer.set(await super().append(rows))
        except Exception as error:
            answer.set_exception(error)


@pytest.fixture(params=[MemoryEventStore, Answering])
def store(request: pytest.FixtureRequest) -> MemoryEventStore:
    made: MemoryEventStore = request.param()
    return made


@asynccontextmanager
async def running(store: MemoryEventStore, **overrides: Any) -> AsyncIterator[Journal]:
    journal = Journal(store, JournalSettings(**overrides), now_us=lambda: 7, rng=random.Random(1))
    async with trio.open_nursery() as nursery:
        if isinstance(store, Answering):
            store.nursery = nursery
        nursery.start_soon(journal.run)
        yield journal
        nursery.cancel_scope.cancel()


def persist(journal: Journal, writer: Writer, reply: Any = None, size: int = 1) -> Future[Any]:
    journal.admit(writer, size)
    return journal.queue_event(writer, "E", bytes(size), reply)


@contextmanager
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


async def test_a_future_resolves_to_its_reply_only_after_the_commit(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    store.delay_s = 1.0
    async with running(store) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=4)
        future = persist(journal, writer, reply="kept")
        await trio.sleep(0.9)
        assert not future.done
        assert store.rows("k", "a") == []
        assert await future == "kept"
        assert store.rows("k", "a") == [("k", "a", 5, 1, "E", b"\0", 7)]
        assert trio.current_time() == pytest.approx(1.0)


async def test_what_comes_while_an_append_is_on_its_way_goes_together_as_the_next(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    store.delay_s = 1.0
    async with running(store) as journal:
        writers = [journal.open_writer("k", str(n), epoch=1, seq=0) for n in range(10)]
        first = persist(journal, writers[0])
        await trio.sleep(0.5)
        rest = [persist(journal, writer) for writer in writers for _ in range(3)]
        await first
        assert not any(future.done for future in rest)
        for future in rest:
            await future
        assert store.batches == [1, 30]


async def test_a_batch_is_no_larger_than_its_bound(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    async with running(store, max_batch_events=4) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        for future in [persist(journal, writer) for _ in range(10)]:
            await future
    assert store.batches == [4, 4, 2]


async def test_past_its_bound_in_events_the_journal_is_busy(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    store.away = True
    async with running(store, max_events=3) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        futures = [persist(journal, writer) for _ in range(3)]
        with pytest.raises(StoreBusy, match="3 events"):
            persist(journal, writer)
        assert journal.statistics().busy == 1
        store.away = False
        for future in futures:
            await future
        await persist(journal, writer)
    assert [row[2] for row in store.rows("k", "a")] == [1, 2, 3, 4]


async def test_past_its_bound_in_bytes_the_journal_is_busy(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    async with running(store, max_bytes=10_000) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        future = persist(journal, writer, size=9_000)
        with pytest.raises(StoreBusy):
            persist(journal, writer, size=1_000)
        await future
        await persist(journal, writer, size=1_000)


async def test_a_store_that_comes_back_has_everything_in_order(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    store.away = True
    with logged() as entries:
        async with running(store) as journal:
            writer = journal.open_writer("k", "a", epoch=1, seq=0)
            futures = []
            for _ in range(50):
                futures.append(persist(journal, writer))
                await trio.sleep(0.1)
            assert not any(future.done for future in futures)
            store.away = False
            for future in futures:
                await future
    assert [row[2] for row in store.rows("k", "a")] == list(range(1, 51))
    assert journal.statistics().retries > 3
    # The back-off bounds the lines: about one a second once it has grown.
    assert len([entry for entry in entries if entry["event"] == "event_store_failed"]) < 15
    assert [entry["event"] for entry in entries][-1] == "event_store_is_back"


async def test_an_append_that_never_returns_is_sent_again(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    store.delay_s = 1e6
    async with running(store, append_timeout_s=5.0) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        future = persist(journal, writer)
        await trio.sleep(4.0)
        store.delay_s = 0.0
        await future
        assert 5.0 <= trio.current_time() < 6.0


async def test_an_append_that_begins_late_has_its_whole_time(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    async with running(store, append_timeout_s=5.0) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        await persist(journal, writer)
        await trio.sleep(4.9)
        store.delay_s = 4.9
        persist(journal, writer)
        await trio.sleep(1.0)
        store.delay_s = 1e6
        late = persist(journal, writer)
        await trio.sleep(4.0)
        assert journal.statistics().committed == 2
        sent = trio.current_time()
        store.delay_s = 0.0
        with logged() as entries:
            await late
        assert 4.8 <= trio.current_time() - sent < 5.5
        assert [entry["event"] for entry in entries] == [
            "event_store_failed",
            "event_store_is_back",
        ]


@pytest.mark.parametrize("number", range(12))  # how a pass goes, trio draws
async def test_a_failure_that_comes_in_time_is_backed_off_from(
    mock_clock: trio.testing.MockClock, number: int
) -> None:
    del number
    store = Answering()
    async with running(store, append_timeout_s=5.0) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        store.delay_s = 4.9999
        store.fail_next = 1
        with logged() as entries:
            persist(journal, writer)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(5.0001)
            await trio.testing.wait_all_tasks_blocked()
        assert journal.statistics().retries == 1
        assert [entry["event"] for entry in entries] == ["event_store_failed"]
        assert store.appends == 1


@pytest.mark.parametrize("number", range(12))  # which of the two comes first, trio draws
async def test_an_answer_in_the_very_pass_of_its_time_out_is_dealt_with_once(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore, number: int
) -> None:
    store.delay_s = 5.0
    store.fail_next = number % 2
    async with running(store, append_timeout_s=5.0) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        futures = [persist(journal, writer, reply=1)]
        await trio.sleep(2.0)
        futures.append(persist(journal, writer, reply=2))
        await trio.sleep(3.5)
        store.delay_s = 0.0
        assert [await future for future in futures] == [1, 2]
    assert [row[2] for row in store.rows("k", "a")] == [1, 2]


async def test_a_fenced_writer_fails_with_all_it_has_queued_and_nobody_else_does(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    await store.activate("k", "a")
    fences: list[str] = []
    with logged() as entries:
        async with running(store, max_batch_events=2) as journal:
            writer = journal.open_writer(
                "k", "a", epoch=1, seq=0, on_fenced=lambda: fences.append("a")
            )
            other = journal.open_writer("k", "b", epoch=1, seq=0)
            await persist(journal, writer)
            await store.activate("k", "a")  # another incarnation, on another node
            lost = [persist(journal, writer) for _ in range(3)]
            kept = persist(journal, other, reply="kept")
            assert await kept == "kept"
            for future in lost:
                with pytest.raises(Fenced):
                    await future
            with pytest.raises(Fenced):
                persist(journal, writer)
    assert fences == ["a"]
    assert [row[2] for row in store.rows("k", "a")] == [1]
    assert journal.statistics().fenced == 1
    assert [entry["event"] for entry in entries] == ["fenced"]


async def test_settled_waits_for_what_an_earlier_incarnation_has_on_its_way(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    store.delay_s = 1.0
    async with running(store) as journal:
        await journal.settled("k", "a")
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        persist(journal, writer)
        journal.release(writer)
        await journal.settled("k", "a")
        assert len(store.rows("k", "a")) == 1
        assert trio.current_time() == pytest.approx(1.0)
        successor = journal.open_writer("k", "a", epoch=2, seq=1)
        journal.release(successor)
        assert not journal.writers


async def test_drain_waits_for_everything_and_close_fails_what_is_left(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    store.delay_s = 1.0
    async with running(store) as journal:
        await journal.drain()
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        futures = [persist(journal, writer) for _ in range(3)]
        await journal.drain()
        assert all(future.done for future in futures)
        store.away = True
        left = persist(journal, writer)
        with trio.move_on_after(10.0) as scope:
            await journal.drain()
        assert scope.cancelled_caught
        assert journal.close() == 1
        with pytest.raises(JournalClosed):
            await left
        with pytest.raises(StoreBusy, match="stopping"):
            persist(journal, writer)
        await journal.settled("k", "a")


async def test_a_callback_that_raises_costs_nobody_else_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def bad(_future: Future[Any]) -> None:
        raise ValueError("callback")

    with logged() as entries:
        async with running(MemoryEventStore()) as journal:
            writer = journal.open_writer("k", "a", epoch=1, seq=0)
            persist(journal, writer).on_done(bad)
            assert await persist(journal, writer, reply=2) == 2
    assert [entry["event"] for entry in entries] == ["callback_failed"]


class Squeamish(MemoryEventStore):
    """A store that always refuses one event, as a database refuses a value that it cannot hold."""

    class Refused(Exception):  # noqa: N818 - it is one
        permanent = True

    async def append(self, rows: list[EventRow]) -> Any:  # type: ignore[override]  # a list it is
        if any(len(row[5]) == 13 for row in rows):
            raise self.Refused("13 bytes")
        return await super().append(rows)


async def test_events_that_keep_coming_share_commits_and_a_first_one_waits_for_nothing(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    async with running(store, pace_s=0.01) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        for _ in range(20):
            began = trio.current_time()
            await persist(journal, writer)
            assert trio.current_time() == began
            await trio.sleep(0.02)
        assert journal.statistics().batches == 20
        for _ in range(20):
            persist(journal, writer)
            await trio.sleep(0.001)
        assert 22 <= journal.statistics().batches <= 23


async def test_an_event_that_can_never_be_stored_fails_its_own_actor_only(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    store = Squeamish()
    fences: list[str] = []
    with logged() as entries:
        async with running(store, pace_s=0.0) as journal:
            good = journal.open_writer("k", "good", epoch=1, seq=0)
            bad = journal.open_writer(
                "k", "bad", epoch=1, seq=0, on_fenced=lambda: fences.append("bad")
            )
            kept = [persist(journal, good), persist(journal, bad)]
            lost = [persist(journal, bad, size=13), persist(journal, bad)]
            kept += [persist(journal, good) for _ in range(5)]
            for future in kept:
                await future
            for future in lost:
                with pytest.raises(Unstorable):
                    await future
            assert trio.current_time() == 0
    assert fences == ["bad"]
    assert len(store.rows("k", "good")) == 6
    assert len(store.rows("k", "bad")) == 1
    assert "event_unstorable" in [entry["event"] for entry in entries]


async def test_what_a_turn_wrote_is_with_the_store_when_the_turn_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked: list[int] = []

    class Counting(Answering):
        def append(self, rows: Sequence[EventRow]) -> Future[Any]:  # type: ignore[override]
            asked.append(len(rows))
            return super().append(rows)

    async with running(Counting(), pace_s=0.01) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        await trio.testing.wait_all_tasks_blocked()
        with journal:
            futures = [persist(journal, writer) for _ in range(3)]
            assert asked == []
        assert asked == [3]
        with journal:
            futures.append(persist(journal, writer))
        assert asked == [3]  # one at a time
        for future in futures:
            await future
        assert asked == [3, 1]
        assert trio.current_time() == pytest.approx(0.01)


class Noting:
    """A turn that notes when it begins and ends."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def __enter__(self) -> None:
        self._notes.append("turn")

    def __exit__(self, *_: object) -> None:
        self._notes.append("end")


class Prompt:
    """A store that has answered when it returns, from the second batch on."""

    def __init__(self) -> None:
        self.first: Future[Any] | None = None

    def append(self, _rows: Sequence[EventRow]) -> Future[Any]:
        answer: Future[Any] = Future()
        if self.first is None:
            self.first = answer
        else:
            answer.set([])
        return answer


@pytest.mark.parametrize("events", [6, 4000])
async def test_however_soon_a_store_answers_owners_are_told_in_order_and_all_of_them(
    autojump_clock: trio.testing.MockClock, events: int
) -> None:
    store: Any = Prompt()
    told: list[int] = []
    async with running(store, pace_s=0.0, max_batch_events=2) as journal:
        await trio.testing.wait_all_tasks_blocked()
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        futures = [persist(journal, writer, reply=number) for number in range(events)]
        for future in futures:
            future.on_done(lambda done: told.append(done.result()))
        await trio.testing.wait_all_tasks_blocked()
        assert store.first is not None
        store.first.set([])
        await futures[-1]
    assert told == list(range(events))


async def test_what_those_do_who_are_told_of_a_commit_is_part_of_the_turn_that_tells_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    notes: list[str] = []
    async with trio.open_nursery() as nursery:
        store = Answering()
        store.nursery = nursery
        journal = Journal(store, turn=Noting(notes))
        nursery.start_soon(journal.run)
        await trio.testing.wait_all_tasks_blocked()
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        answers: list[Future[Any]] = [Future(), Future()]
        for answer, reply in zip(answers, ("first", "second"), strict=True):
            answer.follow(persist(journal, writer, reply))
            answer.on_done(lambda done: notes.append(done.result()))
        await answers[-1]
        nursery.cancel_scope.cancel()
    assert notes == ["turn", "first", "second", "end"]


async def test_a_journal_closed_while_it_paces_sends_nothing(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    async with running(store, pace_s=0.5) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        await persist(journal, writer)
        late = persist(journal, writer)
        await trio.sleep(0.1)
        assert journal.close() == 1
        await trio.sleep(1)
        with pytest.raises(JournalClosed):
            await late
    assert store.batches == [1]


async def test_a_store_that_raises_where_it_is_asked_is_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Rude(Answering):
        left = 3

        def append(self, rows: Sequence[EventRow]) -> Future[Any]:  # type: ignore[override]
            self.left -= 1
            if self.left > 0:
                raise OSError("not now")
            return super().append(rows)

    with logged() as entries:
        async with running(Rude()) as journal:
            writer = journal.open_writer("k", "a", epoch=1, seq=0)
            await trio.testing.wait_all_tasks_blocked()
            with journal:
                future = persist(journal, writer, reply="kept")
            assert await future == "kept"
    events = [entry["event"] for entry in entries]
    assert events == ["event_store_failed", "event_store_failed", "event_store_is_back"]


class Step(msgspec.Struct, frozen=True):
    writer: int
    events: int
    fail: int
    lose: int
    wait_s: float
    turn: bool


STEPS = st.lists(
    st.builds(
        Step,
        writer=st.integers(0, 2),
        events=st.integers(0, 7),
        fail=st.integers(0, 3),
        lose=st.integers(0, 3),
        wait_s=st.sampled_from([0.0, 0.001, 0.01, 0.3]),
        turn=st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    delay_s=st.sampled_from([0.0, 0.005]),
    max_batch=st.integers(1, 5),
    kind=st.sampled_from([MemoryEventStore, Answering]),
)
def test_whatever_the_store_does_nothing_is_lost_doubled_or_acknowledged_too_early(
    steps: list[Step], delay_s: float, max_batch: int, kind: type[MemoryEventStore]
) -> None:
    async def scenario() -> None:
        store = kind()
        store.delay_s = delay_s
        early: list[str] = []

        async with running(store, max_batch_events=max_batch) as journal:
            writers = [journal.open_writer("k", str(n), epoch=1, seq=0) for n in range(3)]
            acked: dict[str, list[int]] = {writer.key: [] for writer in writers}

            def check(future: Future[Any]) -> None:
                key, seq = future.result()
                acked[key].append(seq)
                if not any(row[2] == seq for row in store.rows("k", key)):
                    early.append(f"{key}#{seq}")

            for step in steps:
                store.fail_next += step.fail
                store.lose_next += step.lose
                writer = writers[step.writer]
                with journal if step.turn else nullcontext():
                    for _ in range(step.events):
                        reply = (writer.key, writer.queued + 1)
                        persist(journal, writer, reply=reply).on_done(check)
                await trio.sleep(step.wait_s)
            await journal.drain()
            assert not early
            for writer in writers:
                expected = list(range(1, writer.queued + 1))
                assert acked[writer.key] == expected
                assert [row[2] for row in store.rows("k", writer.key)] == expected

    with structlog.testing.capture_logs():
        trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_back_off_of_the_store_is_bounded() -> None:
    rng = random.Random(3)
    delays = [JournalSettings().backoff.delay_s(attempt, rng) for attempt in range(2, 100)]
    assert max(delays) <= 1.0
    assert delays[0] <= 0.05
    assert isinstance(JournalSettings().backoff, Backoff)


async def test_it_says_that_nothing_can_be_stored_once_that_has_lasted(
    autojump_clock: trio.testing.MockClock, store: MemoryEventStore
) -> None:
    async with running(store, failing_after_s=5.0) as journal:
        writer = journal.open_writer("k", "a", epoch=1, seq=0)
        assert journal.failing() is None
        store.fail_next = 1_000
        waiting = persist(journal, writer)
        await trio.sleep(4.0)
        assert journal.failing() is None
        await trio.sleep(2.0)
        failing = journal.failing()
        assert failing is not None
        assert failing.startswith("nothing stored for 6 s: ")
        store.fail_next = 0
        await waiting
        assert journal.failing() is None
        store.fail_next = 1
        await persist(journal, writer)
        await trio.sleep(60.0)
        assert journal.failing() is None
