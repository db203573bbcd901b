from __future__ import annotations

from typing import Any

import pytest
from pykka import ActorRef

from persistence import PostgresSettings, RowRefused, StoreUnavailable
from persistence.postgres import EventReader
from persistence.requests import (
    Activate,
    AppendEvents,
    LastSeq,
    ReadEvents,
    ReadEventsBefore,
    StoreCheck,
)
from tests.persistence.asking import ask, event

Ref = ActorRef[Any]


@pytest.fixture
def kind(writer: Ref, unique: str) -> str:
    """A kind whose actor "a" has events 1 to 10, and "b" one."""
    ask(writer, AppendEvents([event(unique, "a", seq) for seq in range(1, 11)]))
    ask(writer, AppendEvents([event(unique, "b", 1)]))
    return unique


def seqs(rows: Any) -> list[int]:
    return [row[2] for row in rows]


def test_read_goes_on_after_a_seq_up_to_its_limit(reader: Ref, kind: str) -> None:
    assert seqs(ask(reader, ReadEvents(kind, "a", 0, 4))) == [1, 2, 3, 4]
    assert seqs(ask(reader, ReadEvents(kind, "a", 8, 4))) == [9, 10]
    assert ask(reader, ReadEvents(kind, "a", 10, 4)) == []


def test_read_before_gives_the_last_ones_ascending(reader: Ref, kind: str) -> None:
    assert seqs(ask(reader, ReadEventsBefore(kind, "a", 0, 3))) == [8, 9, 10]
    assert seqs(ask(reader, ReadEventsBefore(kind, "a", 3, 5))) == [1, 2]
    assert ask(reader, ReadEventsBefore(kind, "a", 1, 5)) == []


def test_a_page_ends_once_its_bytes_have_come_together(reader: Ref, kind: str) -> None:
    # Each payload is one byte. The one that reaches the bound is in it, so there is always one.
    assert seqs(ask(reader, ReadEvents(kind, "a", 2, 9, 3))) == [3, 4, 5]
    assert seqs(ask(reader, ReadEvents(kind, "a", 2, 2, 3))) == [3, 4]
    assert seqs(ask(reader, ReadEvents(kind, "a", 9, 9, 0))) == [10]
    assert seqs(ask(reader, ReadEventsBefore(kind, "a", 0, 9, 3))) == [8, 9, 10]
    assert seqs(ask(reader, ReadEventsBefore(kind, "a", 3, 9, 0))) == [2]


def test_last_seq_is_the_newest_or_zero(reader: Ref, kind: str) -> None:
    assert ask(reader, LastSeq(kind, "a")) == 10
    assert ask(reader, LastSeq(kind, "nobody")) == 0


def test_many_reads_at_once_each_get_their_own_answer(reader: Ref, kind: str) -> None:
    futures = [reader.ask(ReadEvents(kind, "a", n % 10, 1), block=False) for n in range(500)]
    assert [seqs(future.get(timeout=10)) for future in futures] == [
        [n % 10 + 1] for n in range(500)
    ]


def test_a_read_that_is_refused_spoils_no_other(reader: Ref, writer: Ref, kind: str) -> None:
    futures = [
        reader.ask(message, block=False)
        for message in (
            LastSeq(kind, "a"),
            LastSeq(kind, "nul\0"),
            ReadEvents(kind, "a", 0, -1),
            Activate(kind, "a"),
            LastSeq(kind, "b"),
        )
    ]
    assert (futures[0].get(timeout=10), futures[4].get(timeout=10)) == (10, 1)
    for refused in futures[1:4]:
        with pytest.raises(RowRefused):
            refused.get(timeout=10)


def test_a_database_that_is_not_migrated_is_unavailable_and_says_why(
    postgres_url: str, unique: str
) -> None:
    reader = EventReader.start(PostgresSettings(url=postgres_url, schema=unique))
    try:
        with pytest.raises(StoreUnavailable, match=f'schema "{unique}" does not exist') as caught:
            ask(reader, LastSeq("k", "a"))
        assert "\n" not in str(caught.value)
    finally:
        reader.stop()


def test_a_url_of_its_own_stands_in_for_the_primary(postgres: PostgresSettings) -> None:
    reader = EventReader.start(PostgresSettings(url="host=/nowhere"), url=postgres.url)
    try:
        assert ask(reader, StoreCheck()) is None
    finally:
        reader.stop()
