from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from pykka import ActorRef

from persistence import PostgresSettings, RowRefused, StoreUnavailable
from persistence.postgres import EventWriter
from persistence.postgres.connection import connect, qualified, transaction
from persistence.requests import Activate, AppendEvents, ReadEvents, StoreCheck
from tests.persistence.asking import ask, end_other_sessions, event, hanging_up, wait_until_held_up

Ref = ActorRef[Any]


def held(reader: Ref, kind: str, key: str) -> list[tuple[int, int]]:
    """Return (seq, epoch) of all rows of the actor."""
    return [(row[2], row[3]) for row in ask(reader, ReadEvents(kind, key, 0, 10_000))]


def test_events_come_back_as_they_were(writer: Ref, reader: Ref, unique: str) -> None:
    rows = [event(unique, "ädä/…", seq, payload=bytes(range(256)) * seq) for seq in (1, 2, 3)]
    assert ask(writer, AppendEvents(rows)) == []
    assert ask(reader, ReadEvents(unique, "ädä/…", 0, 10)) == rows


def test_epochs_count_from_one(writer: Ref, unique: str) -> None:
    assert [ask(writer, Activate(unique, "a")) for _ in range(3)] == [1, 2, 3]
    assert ask(writer, Activate(unique, "b")) == 1


def test_activations_that_wait_together_each_get_an_epoch_of_their_own(
    writer: Ref, unique: str
) -> None:
    futures = [writer.ask(Activate(unique, f"k{n % 7}"), block=False) for n in range(210)]
    epochs = [future.get(timeout=60) for future in futures]
    for key in range(7):
        assert epochs[key::7] == list(range(1, 31))


def test_sending_again_is_no_error_and_changes_nothing(
    writer: Ref, reader: Ref, unique: str
) -> None:
    rows = [event(unique, "a", seq) for seq in (1, 2)]
    longer = [*rows, event(unique, "a", 3)]
    assert ask(writer, AppendEvents(rows)) == []
    assert ask(writer, AppendEvents(rows)) == []
    assert ask(writer, AppendEvents([*longer, *longer])) == []
    assert ask(reader, ReadEvents(unique, "a", 0, 10)) == longer


def test_a_seq_that_another_incarnation_holds_fences(writer: Ref, reader: Ref, unique: str) -> None:
    ask(writer, AppendEvents([event(unique, "a", 1, epoch=1)]))
    # Not even its rows at free places are written, and everyone else's are.
    batch = [
        event(unique, "a", 1, epoch=2),
        event(unique, "a", 2, epoch=2),
        event(unique, "b", 1, epoch=1),
    ]
    assert ask(writer, AppendEvents(batch)) == [(unique, "a")]
    assert held(reader, unique, "a") == [(1, 1)]
    assert held(reader, unique, "b") == [(1, 1)]


def test_after_an_activation_the_incarnation_before_is_fenced(
    writer: Ref, reader: Ref, unique: str
) -> None:
    first = ask(writer, Activate(unique, "a"))
    ask(writer, AppendEvents([event(unique, "a", 1, first)]))
    second = ask(writer, Activate(unique, "a"))
    assert ask(writer, AppendEvents([event(unique, "a", 2, first)])) == [(unique, "a")]
    assert ask(writer, AppendEvents([event(unique, "a", 2, second)])) == []
    assert held(reader, unique, "a") == [(1, first), (2, second)]


def test_old_and_new_incarnations_in_one_transaction_are_told_apart(
    writer: Ref, reader: Ref, unique: str
) -> None:
    old, new = ask(writer, Activate(unique, "a")), ask(writer, Activate(unique, "a"))
    late = writer.ask(AppendEvents([event(unique, "a", 1, old)]), block=False)
    ours = writer.ask(AppendEvents([event(unique, "a", 1, new)]), block=False)
    assert late.get(timeout=60) == [(unique, "a")]
    assert ours.get(timeout=60) == []
    assert held(reader, unique, "a") == [(1, new)]


def test_an_activation_waits_for_an_append_that_is_under_way(
    writer: Ref, reader: Ref, postgres: PostgresSettings, unique: str
) -> None:
    """So the new incarnation reads everything that the old one ever wrote."""
    epoch = ask(writer, Activate(unique, "a"))
    with connect(postgres) as other:
        with transaction(other, postgres):
            # Another node's append, between its lock and its commit.
            other.execute(
                "SELECT 1 FROM incarnations WHERE kind = %s AND key = 'a' FOR SHARE", (unique,)
            )
            other.execute("INSERT INTO events VALUES (%s, 'a', 1, %s, 't', '', 0)", (unique, epoch))
            activated = writer.ask(Activate(unique, "a"), block=False)
            wait_until_held_up(other)
        assert activated.get(timeout=60) == epoch + 1
    assert held(reader, unique, "a") == [(1, epoch)]


def test_an_append_that_waited_for_an_activation_is_fenced_by_it(
    writer: Ref, reader: Ref, postgres: PostgresSettings, unique: str
) -> None:
    """The activation is not in the snapshot that the append began with, and counts all the same."""
    epoch = ask(writer, Activate(unique, "a"))
    with connect(postgres) as other:
        with transaction(other, postgres):
            other.execute("UPDATE incarnations SET epoch = epoch + 1 WHERE kind = %s", (unique,))
            rows = [event(unique, "a", 1, epoch), event(unique, "b", 1)]
            appended = writer.ask(AppendEvents(rows), block=False)
            wait_until_held_up(other)
        assert appended.get(timeout=60) == [(unique, "a")]
    assert held(reader, unique, "a") == []
    assert held(reader, unique, "b") == [(1, 1)]


def test_an_append_that_waited_for_a_rivals_row_writes_none_of_its_own(
    writer: Ref, reader: Ref, postgres: PostgresSettings, unique: str
) -> None:
    with connect(postgres) as other:
        with transaction(other, postgres):
            other.execute("INSERT INTO events VALUES (%s, 'a', 2, 7, 't', '', 0)", (unique,))
            rows = [event(unique, "a", seq) for seq in (1, 2, 3)]
            appended = writer.ask(AppendEvents(rows), block=False)
            wait_until_held_up(other)
        assert appended.get(timeout=60) == [(unique, "a")]
    assert held(reader, unique, "a") == [(2, 7)]


def test_a_batch_of_500_actors_is_one_transaction(
    writer: Ref, reader: Ref, postgres: PostgresSettings, unique: str
) -> None:
    rows = [event(unique, f"actor-{n}", 1) for n in range(500)]
    assert ask(writer, AppendEvents(rows)) == []
    with connect(postgres) as connection, transaction(connection, postgres):
        found = connection.execute(
            "SELECT count(*), count(DISTINCT xmin::text) FROM events WHERE kind = %s", (unique,)
        ).fetchone()
    assert found == (500, 1)


def test_writers_of_several_nodes_at_once_lose_nothing_and_share_nothing(
    postgres: PostgresSettings, reader: Ref, unique: str
) -> None:
    """Four nodes append the same seqs of the same actors: each seq goes to exactly one of them."""
    writers = [EventWriter.start(postgres) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as pool:

            def work(node: int) -> int:
                fenced = 0
                for seq in range(1, 21):
                    rows = [event(unique, f"k{n}", seq, epoch=node) for n in (3, 1, 2, 0)]
                    fenced += len(ask(writers[node - 1], AppendEvents(rows)))
                return fenced

            fenced = sum(pool.map(work, (1, 2, 3, 4)))
    finally:
        for one in writers:
            one.stop()
    rows = [row for n in range(4) for row in held(reader, unique, f"k{n}")]
    assert len(rows) == 4 * 20
    assert fenced == 4 * 4 * 20 - len(rows)


def test_many_small_appends_at_once_share_transactions(
    writer: Ref, reader: Ref, postgres: PostgresSettings, unique: str
) -> None:
    with connect(postgres) as other:
        with transaction(other, postgres):  # the first one waits for this row, the others behind it
            other.execute("INSERT INTO events VALUES (%s, 'a', 1, 1, 't', '', 0)", (unique,))
            first = writer.ask(AppendEvents([event(unique, "a", 1, 2)]), block=False)
            wait_until_held_up(other)
            futures = [
                writer.ask(AppendEvents([event(unique, "b", n)]), block=False)
                for n in range(1, 301)
            ]
        assert first.get(timeout=60) == [(unique, "a")]
        assert all(future.get(timeout=60) == [] for future in futures)
        found = other.execute(
            f"SELECT count(*), count(DISTINCT xmin::text) FROM {postgres.schema}.events"
            " WHERE kind = %s AND key = 'b'",
            (unique,),
        ).fetchone()
    assert found == (300, 1)


@pytest.mark.parametrize(
    "bad",
    [
        ("k", "nul\0", 1, 1, "t", b"", 0),
        ("k", "\ud800", 1, 1, "t", b"", 0),
        ("k", "a", 2**63, 1, "t", b"", 0),
        ("k", "a", 0, 1, "t", b"", 0),
        ("k", "a", 1),
    ],
    ids=["NUL", "surrogate", "too large", "below 1", "another shape"],
)
def test_a_row_that_cannot_be_stored_is_refused_alone(
    writer: Ref, reader: Ref, unique: str, bad: Any
) -> None:
    futures = [
        writer.ask(message, block=False)
        for message in (
            AppendEvents([event(unique, "a", 1)]),
            AppendEvents([bad]),
            AppendEvents([event(unique, "b", 1)]),
        )
    ]
    assert futures[0].get(timeout=60) == futures[2].get(timeout=60) == []
    with pytest.raises(RowRefused) as caught:
        futures[1].get(timeout=60)
    assert caught.value.permanent
    assert held(reader, unique, "a") == held(reader, unique, "b") == [(1, 1)]


def test_a_name_that_cannot_be_stored_never_gets_an_epoch(writer: Ref, unique: str) -> None:
    good = writer.ask(Activate(unique, "a"), block=False)
    with pytest.raises(RowRefused):
        ask(writer, Activate(unique, "nul\0"))
    assert good.get(timeout=60) == 1


def test_a_request_for_a_reader_is_refused(writer: Ref) -> None:
    with pytest.raises(RowRefused, match="not for a writer"):
        ask(writer, ReadEvents("k", "a", 0, 1))


def test_nothing_is_nothing(writer: Ref) -> None:
    assert ask(writer, AppendEvents([])) == []
    assert ask(writer, StoreCheck()) is None


def test_a_connection_that_broke_between_two_calls_is_not_felt(
    writer: Ref, reader: Ref, postgres: PostgresSettings, unique: str
) -> None:
    ask(writer, AppendEvents([event(unique, "a", 1)]))
    ask(reader, StoreCheck())
    with connect(postgres) as connection:
        end_other_sessions(connection, wait_ms=5000)
    assert ask(writer, AppendEvents([event(unique, "a", 2)])) == []
    assert held(reader, unique, "a") == [(1, 1), (2, 1)]


def test_an_unreachable_database_is_one_line_and_fails_fast_while_it_pauses() -> None:
    with hanging_up() as store:
        writer = EventWriter.start(
            PostgresSettings(
                url=f"postgresql://u:secret@127.0.0.1:{store.port}/x",
                first_retry_s=1e6,
                max_retry_s=1e6,
            )
        )
        try:
            tried = []
            for _ in range(3):
                with pytest.raises(StoreUnavailable) as caught:
                    ask(writer, AppendEvents([event("k", "a", 1)]))
                assert "\n" not in str(caught.value)
                assert "secret" not in str(caught.value)
                assert str(caught.value).startswith("postgresql is unavailable: connection")
                tried.append(store.connections)
            assert tried == [tried[0]] * 3
            assert tried[0] > 0
        finally:
            writer.stop()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@[",
        "postgresql://u:secret@h:port/x",
        "postgresql://u:secret@h/x?a=b=c",
        "secret",
        "host=/nowhere port=bad password=secret",
        "password='secret",
    ],
)
def test_a_url_that_cannot_be_understood_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        connect(PostgresSettings(url=url))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_commit_is_on_disk_whatever_the_database_prefers(postgres: PostgresSettings) -> None:
    calls = (
        "SELECT {schema}.append_events('{}', '{}', '{}', '{}', '{}', '{}', '{}')",
        "SELECT {schema}.append_apart('{}', '{}', '{}', '{}', '{}', '{}', '{}')",
        "SELECT {schema}.activate('{}', '{}', '{}')",
    )
    for asked, had in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
        url = make_conninfo(postgres.url, options=f"-c synchronous_commit={asked}")
        for call in calls:
            with connect(postgres, url=url) as connection, connection.transaction():
                # As another user of a pool may have left it.
                connection.execute("SET synchronous_commit TO off")
                connection.execute(qualified(postgres, call.replace("{}", "{{}}")))
                assert connection.execute("SHOW synchronous_commit").fetchone() == (had,)
