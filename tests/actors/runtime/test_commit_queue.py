"""The journal's decisions, compared with a model that keeps everything in plain lists."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.runtime.commit_queue import ROW_OVERHEAD_BYTES, CommitQueue, Writer
from actors.runtime.stores import EventRow

KEYS = ["a", "b", "c"]


def queue_of(
    max_events: int = 100,
    max_bytes: int = 1 << 20,
    max_batch_events: int = 4,
    max_batch_bytes: int = 1 << 20,
) -> CommitQueue[str]:
    return CommitQueue(
        max_events=max_events,
        max_bytes=max_bytes,
        max_batch_events=max_batch_events,
        max_batch_bytes=max_batch_bytes,
    )


def add(queue: CommitQueue[str], writer: Writer, size: int = 0) -> str:
    seq = writer.queued + 1
    row: EventRow = (writer.kind, writer.key, seq, writer.epoch, "E", bytes(size), 0)
    ticket = f"{writer.key}{seq}"
    queue.add(row, writer, ticket)
    return ticket


def seqs(rows: list[EventRow]) -> list[tuple[str, int]]:
    return [(row[1], row[2]) for row in rows]


class CommitQueueMachine(RuleBasedStateMachine):
    """Whatever succeeds, fails or is fenced: order is kept, nothing is lost, bounds hold."""

    @initialize(
        max_events=st.integers(1, 12),
        max_batch=st.integers(1, 6),
        batch_bytes=st.integers(1, 4 * ROW_OVERHEAD_BYTES),
    )
    def begin(self, max_events: int, max_batch: int, batch_bytes: int) -> None:
        self.max_events = max_events
        self.max_bytes = 8 * ROW_OVERHEAD_BYTES
        self.max_batch = max_batch
        self.batch_bytes = batch_bytes
        self.queue = queue_of(max_events, self.max_bytes, max_batch, batch_bytes)
        self.epochs = dict.fromkeys(KEYS, 1)
        self.writers = {key: Writer("k", key, epoch=1, seq=0) for key in KEYS}
        self.waiting: list[tuple[Writer, str, int]] = []  # the model
        self.in_flight = 0
        self.durable: dict[str, list[int]] = {key: [] for key in KEYS}

    @rule(key=st.sampled_from(KEYS), size=st.integers(0, 2 * ROW_OVERHEAD_BYTES))
    def persist(self, key: str, size: int) -> None:
        writer = self.writers[key]
        total = sum(size for _, _, size in self.waiting)
        room = not self.waiting or (
            len(self.waiting) < self.max_events
            and total + size + ROW_OVERHEAD_BYTES <= self.max_bytes
        )
        assert self.queue.has_room(size) == room
        if room and not writer.fenced:
            ticket = add(self.queue, writer, size)
            self.waiting.append((writer, ticket, size + ROW_OVERHEAD_BYTES))

    @precondition(lambda self: not self.in_flight)
    @rule()
    def take(self) -> None:
        rows = self.queue.next_batch()
        assert bool(rows) == bool(self.waiting)
        assert len(rows) <= self.max_batch
        sizes = [size for _, _, size in self.waiting[: len(rows)]]
        assert len(rows) <= 1 or sum(sizes) <= self.batch_bytes
        assert [key + str(seq) for key, seq in seqs(rows)] == [
            ticket for _, ticket, _ in self.waiting[: len(rows)]
        ]
        self.in_flight = len(rows)

    @precondition(lambda self: self.in_flight)
    @rule()
    def fail(self) -> None:
        self.queue.retry()
        self.in_flight = 0

    @precondition(lambda self: self.in_flight)
    @rule(fenced=st.sets(st.sampled_from(KEYS), max_size=2))
    def commit(self, fenced: set[str]) -> None:
        batch, rest = self.waiting[: self.in_flight], self.waiting[self.in_flight :]
        lost = {writer for writer, _, _ in batch if writer.key in fenced}
        outcome = self.queue.commit([("k", key) for key in fenced])
        assert outcome.durable == [t for writer, t, _ in batch if writer not in lost]
        assert outcome.refused == [t for writer, t, _ in batch + rest if writer in lost]
        assert set(outcome.fenced) == lost
        assert set(outcome.advanced) == {writer for writer, _, _ in batch} - lost
        for ticket in outcome.durable:
            self.durable[ticket[0]].append(int(ticket[1:]))
        self.waiting = [entry for entry in rest if entry[0] not in lost]
        self.in_flight = 0
        for writer in lost:
            assert writer.fenced
            assert writer.settled
            self.epochs[writer.key] += 1
            self.writers[writer.key] = Writer(
                "k",
                writer.key,
                epoch=self.epochs[writer.key],
                seq=len(self.durable[writer.key]),
            )

    @invariant()
    def what_is_durable_is_contiguous(self) -> None:
        for key in KEYS:
            assert self.durable[key] == list(range(1, len(self.durable[key]) + 1))
            assert self.writers[key].committed == len(self.durable[key])

    @invariant()
    def counts_are_right(self) -> None:
        assert self.queue.events == len(self.waiting) <= max(1, self.max_events)
        assert self.queue.bytes == sum(size for _, _, size in self.waiting)
        for key, writer in self.writers.items():
            queued = sum(1 for owner, _, _ in self.waiting if owner is writer)
            assert writer.queued - writer.committed == queued, key


TestCommitQueue = CommitQueueMachine.TestCase
TestCommitQueue.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_a_failed_batch_goes_back_to_the_front_and_is_halved_until_one_row_is_alone() -> None:
    queue, writer = queue_of(max_batch_events=4), Writer("k", "a", epoch=1, seq=0)
    for _ in range(6):
        add(queue, writer)
    lengths = []
    for _ in range(4):
        rows = queue.next_batch()
        assert rows[0][2] == 1
        lengths.append(len(rows))
        queue.retry()
    assert lengths == [4, 2, 1, 1]


def test_the_batch_size_comes_back_after_success() -> None:
    queue, writer = queue_of(max_batch_events=4), Writer("k", "a", epoch=1, seq=0)
    for _ in range(20):
        add(queue, writer)
    for _ in range(3):
        queue.next_batch()
        queue.retry()
    lengths = []
    for _ in range(4):
        lengths.append(len(queue.next_batch()))
        queue.commit(())
    assert lengths == [1, 2, 4, 4]


def test_one_event_is_taken_however_large_it_is() -> None:
    queue = queue_of(max_bytes=1000, max_batch_bytes=1000)
    writer = Writer("k", "a", epoch=1, seq=0)
    assert queue.has_room(1 << 20)
    add(queue, writer, 1 << 20)
    assert not queue.has_room(0)
    assert len(queue.next_batch()) == 1


def test_a_writer_calls_back_when_a_seq_is_committed() -> None:
    queue, writer = queue_of(), Writer("k", "a", epoch=1, seq=0)
    called: list[int] = []
    writer.when_committed(0, lambda: called.append(0))
    assert called == [0]
    add(queue, writer)
    add(queue, writer)
    writer.when_committed(1, lambda: called.append(1))
    writer.when_committed(9, lambda: called.append(9))
    queue.next_batch()
    for advanced in queue.commit(()).advanced:
        for callback in advanced.ready():
            callback()
    assert called == [0, 1]
    assert not writer.ready()


def test_a_fenced_writer_releases_everyone_who_waits() -> None:
    queue, writer = queue_of(max_batch_events=1), Writer("k", "a", epoch=1, seq=0)
    add(queue, writer)
    add(queue, writer)
    called: list[int] = []
    writer.when_committed(2, lambda: called.append(2))
    queue.next_batch()
    outcome = queue.commit([("k", "a")])
    assert outcome.refused == ["a1", "a2"]
    for callback in writer.ready():
        callback()
    assert called == [2]
    assert queue.events == queue.bytes == 0


def test_taking_twice_is_a_mistake() -> None:
    queue, writer = queue_of(max_batch_events=1), Writer("k", "a", epoch=1, seq=0)
    add(queue, writer)
    queue.next_batch()
    with pytest.raises(AssertionError, match="on its way"):
        queue.next_batch()


def test_giving_up_returns_the_batch_on_its_way_and_the_rest_in_order() -> None:
    queue, writer = queue_of(max_batch_events=2), Writer("k", "a", epoch=1, seq=0)
    tickets = [add(queue, writer) for _ in range(3)]
    queue.next_batch()
    assert queue.clear() == tickets
    assert queue.events == queue.bytes == 0
