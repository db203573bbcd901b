"""Old history is deleted in small steps; what stays has no gap and can be recovered from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pykka import ActorRef

from persistence import PostgresSettings, RowRefused
from persistence.log import LogPosition, LogReader
from persistence.postgres import EventKeeper
from persistence.requests import (
    Activate,
    AppendEvents,
    DropEnded,
    Epoch,
    FindMarked,
    ReadEvents,
    RewriteEvents,
    Step,
    StoreCheck,
    TrimLogs,
)
from persistence.rows import EventRow
from tests.persistence.asking import ask, event

Ref = ActorRef[Any]
AT = 1_700_000_000_000_000  # of event 0, as `event` has it
ALL = 2**62


@pytest.fixture
def keeper(postgres: PostgresSettings) -> Iterator[Ref]:
    ref = EventKeeper.start(postgres)
    yield ref
    ref.stop()


def write(writer: Ref, kind: str, key: str, count: int) -> None:
    epoch = ask(writer, Activate(kind, key))
    ask(writer, AppendEvents([event(kind, key, seq, epoch) for seq in range(1, count + 1)]))


def seqs(reader: Ref, kind: str, key: str) -> list[int]:
    return [row[2] for row in ask(reader, ReadEvents(kind, key, 0, 10_000))]


def test_what_is_old_goes_and_the_newest_of_a_name_stays(
    writer: Ref, reader: Ref, keeper: Ref, unique: str
) -> None:
    for key in ("a", "b"):
        write(writer, unique, key, 10)
    assert ask(keeper, TrimLogs(unique, "", 10, ALL, AT + 8, 100)) == Step("b", 14)
    assert seqs(reader, unique, "a") == [8, 9, 10]
    assert ask(keeper, TrimLogs(unique, "", 10, ALL, AT + 99, 100)) == Step("b", 4)
    assert seqs(reader, unique, "a") == seqs(reader, unique, "b") == [10]
    assert ask(keeper, TrimLogs(unique, "b", 10, ALL, AT + 99, 100)) == Step(None, 0)


def test_the_last_so_many_stay(writer: Ref, reader: Ref, keeper: Ref, unique: str) -> None:
    write(writer, unique, "a", 10)
    write(writer, unique, "b", 3)
    assert ask(keeper, TrimLogs(unique, "", 10, 4, 0, 100)) == Step("b", 6)
    assert seqs(reader, unique, "a") == [7, 8, 9, 10]
    assert seqs(reader, unique, "b") == [1, 2, 3]


def test_a_step_is_small_and_the_next_goes_on_where_it_ended(
    writer: Ref, reader: Ref, keeper: Ref, unique: str
) -> None:
    for key in ("a", "b", "c"):
        write(writer, unique, key, 10)
    after, steps, deleted = "", 0, 0
    while True:
        step = ask(keeper, TrimLogs(unique, after, 2, 2, 0, 5))
        assert step.deleted <= 5
        steps, deleted = steps + 1, deleted + step.deleted
        assert steps < 50
        if step.reached is None:
            break
        after = step.reached
    assert deleted == 24
    assert seqs(reader, unique, "c") == [9, 10]


def test_a_clock_that_was_set_back_makes_no_gap(
    writer: Ref, reader: Ref, keeper: Ref, unique: str
) -> None:
    epoch = ask(writer, Activate(unique, "a"))
    times = {1: 10, 2: 900, 3: 20, 4: 30, 5: 1000}
    rows = [(*event(unique, "a", seq, epoch)[:6], at) for seq, at in times.items()]
    ask(writer, AppendEvents(rows))
    ask(keeper, TrimLogs(unique, "", 10, ALL, 500, 100))
    assert seqs(reader, unique, "a") == [2, 3, 4, 5]


def test_what_ended_long_ago_leaves_nothing_at_all(
    writer: Ref, reader: Ref, keeper: Ref, unique: str
) -> None:
    for key in ("a", "b", "c"):
        write(writer, unique, key, 3)
    for key, seq in (("a", 4), ("b", 40)):
        row = event(unique, key, 4, 1)
        ask(writer, AppendEvents([(*row[:4], "Ended", row[5], AT + seq)]))
    assert ask(keeper, DropEnded(unique, "Ended", "", 10, AT + 10)) == Step("c", 1)
    assert seqs(reader, unique, "a") == []
    assert ask(reader, Epoch(unique, "a")) == 0
    assert len(seqs(reader, unique, "b")) == 4  # not long ago
    assert len(seqs(reader, unique, "c")) == 3  # it runs
    assert ask(reader, Epoch(unique, "c")) == 1


def test_a_request_for_another_is_refused(keeper: Ref) -> None:
    with pytest.raises(RowRefused, match="not for a keeper"):
        ask(keeper, StoreCheck())


def marked(keeper: Ref, kind: str, mark: bytes, most: int, max_bytes: int) -> list[list[str]]:
    """Return what each step of a search finds."""
    steps, after = [], ("", 0)
    while True:
        found = ask(keeper, FindMarked(kind, mark, after, most, max_bytes))
        steps.append([f"{row[1]}{row[2]}" for row in found.rows])
        assert all(row[0] == kind and mark in row[5] for row in found.rows)
        if found.reached is None:
            return steps
        after = found.reached


@pytest.fixture
def marks(writer: Ref, unique: str) -> str:
    """Write a kind with two names of six events.

    Every third event holds a mark of awkward bytes.
    """
    for key in ("a", "b"):
        epoch = ask(writer, Activate(unique, key))
        rows = [
            event(unique, key, seq, epoch, b"...\0%_\xff\\..." if seq % 3 == 0 else b"......")
            for seq in range(1, 7)
        ]
        ask(writer, AppendEvents(rows))
    return unique


def test_marked_events_are_found_in_steps_that_look_at_so_many(keeper: Ref, marks: str) -> None:
    mark = b"\0%_\xff\\"
    assert marked(keeper, marks, mark, 100, 10_000) == [["a3", "a6", "b3", "b6"]]
    assert marked(keeper, marks, mark, 4, 10_000) == [["a3"], ["a6"], ["b3", "b6"], []]
    assert marked(keeper, marks, mark, 1, 10_000)[:4] == [[], [], ["a3"], []]
    assert marked(keeper, marks, mark, 100, 12) == [["a3", "a6"], ["b3", "b6"], []]
    assert marked(keeper, marks, mark, 100, 1) == [["a3"], ["a6"], ["b3"], ["b6"], []]
    assert marked(keeper, marks, b"nowhere", 100, 1) == [[]]
    assert marked(keeper, f"{marks}?", mark, 100, 100) == [[]]


def test_a_rewritten_event_keeps_its_place_in_every_order(
    writer: Ref, reader: Ref, keeper: Ref, marks: str, postgres: PostgresSettings
) -> None:
    before = ask(reader, ReadEvents(marks, "a", 0, 100))
    log = LogReader(postgres)
    positions = {row[1:3]: row for row in read_all(log) if row[0] == marks}
    rows = [(*row[:5], b"new", row[6]) for row in before if row[2] in {3, 4}]
    away = event(marks, "a", 99, 1, b"new")
    assert ask(keeper, RewriteEvents([*rows, away])) == 2
    expected = [rows[row[2] - 3] if row[2] in {3, 4} else row for row in before]
    assert ask(reader, ReadEvents(marks, "a", 0, 100)) == expected
    again = [row for row in read_all(log) if row[0] == marks]
    assert [row[1:3] for row in again] == list(positions)
    log.close()
    # Its incarnation goes on after it, and sends a row again without harm.
    assert ask(writer, AppendEvents([before[5], event(marks, "a", 7, before[0][3])])) == []
    assert ask(keeper, RewriteEvents([])) == 0


def read_all(log: LogReader) -> list[EventRow]:
    rows: list[EventRow] = []
    position = LogPosition()
    while (page := log.read(position)).events:
        rows += page.events
        position = page.position
    return rows
