"""Commands on players' objects: what they promise, with the real PostgreSQL."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from actors.edge.failures import Refused
from actors.storage.rules.changes import Quota, Usage
from persistence import KeyReused, PostgresSettings, StoreUnavailable
from persistence.commands import Done
from persistence.postgres.connection import connect, transaction
from protocol.errors import FORBIDDEN, QUOTA_EXCEEDED, VERSION_CONFLICT, ErrorCode
from protocol.messages.storage import ObjectsWritten
from tests.actors.storage.shelf import Shelf, changing, drop, put
from tests.persistence.asking import end_other_sessions, outcome, wait_until_held_up


def usage(settings: PostgresSettings, user: str) -> tuple[Usage, Usage]:
    """Return a user's usage as it is kept, and as the objects add up."""
    with connect(settings) as connection, transaction(connection, settings):
        kept = connection.execute(
            "SELECT objects, size FROM storage_usage WHERE user_id = %s", (user,)
        ).fetchone()
        found = connection.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM storage_objects WHERE user_id = %s",
            (user,),
        ).fetchone()
    assert found is not None
    return Usage(*(kept or (0, 0))), Usage(*found)


def test_an_object_is_read_as_it_was_written(shelf: Shelf) -> None:
    text = '{"gold" : 1e400, "b":1,  "a":12345678901234567890123, "b":"\\u0000é"}'
    written = shelf.change("ada", put("1", text, read="public", write="nobody"))
    (found,) = shelf.look("bob", "1", of="ada").objects
    assert (found.value, found.read, found.write, found.user) == (text, "public", "nobody", "ada")
    assert [found.version] == written.versions
    assert found.created == found.updated == written.updated


def test_a_write_changes_all_of_an_object_but_when_it_was_made(shelf: Shelf) -> None:
    first = shelf.change("ada", put("1", "1", read="public"))
    second = shelf.change("ada", put("1", "2"))
    (found,) = shelf.look("ada", "1").objects
    assert (found.value, found.read, [found.version]) == ("2", "owner", second.versions)
    assert (found.created, found.updated) == (first.updated, second.updated)
    assert shelf.read("bob", "1", of="ada") == []


def test_versions_grow_over_deletes_too(shelf: Shelf) -> None:
    versions = [shelf.change("ada", put("1")).versions[0]]
    versions += shelf.change("ada", put("1")).versions
    shelf.change("ada", drop("1"))
    versions += shelf.change("ada", put("1")).versions
    assert versions == sorted(set(versions))


def test_a_batch_is_all_or_nothing(shelf: Shelf, settings: PostgresSettings) -> None:
    shelf.change("ada", put("1", "1"), put("locked", "2", write="nobody"))
    for last, code in (
        (put("3", version=4), VERSION_CONFLICT),
        (put("1", version=0), VERSION_CONFLICT),
        (drop("1", version=10**9), VERSION_CONFLICT),
        (put("locked"), FORBIDDEN),
        (drop("locked"), FORBIDDEN),
        (put("3", "1" * 999_999), QUOTA_EXCEEDED),
    ):
        assert shelf.attempt("ada", put("2"), drop("0"), last) is code
    assert shelf.read("ada", "1", "2", "locked", "3") == ["1", "2"]
    kept, found = usage(settings, "ada")
    assert kept == found


def test_of_two_who_write_for_the_same_version_one_wins(shelf: Shelf) -> None:
    """The two are on two workers, as on two nodes."""
    (version,) = shelf.change("ada", put("1", "0")).versions
    with ThreadPoolExecutor(8) as pool:
        for turn in range(12):

            def write(n: int, turn: int = turn, version: int = version) -> int | None:
                change = put("1", f"[{turn},{n}]", version)
                outcome = shelf.attempt("ada", change, worker=n % 2)
                if isinstance(outcome, ErrorCode):
                    assert outcome is VERSION_CONFLICT
                    return None
                return outcome.versions[0]

            (version,) = [won for won in pool.map(write, range(8)) if won is not None]


def test_of_many_who_write_what_is_not_there_one_wins(shelf: Shelf) -> None:
    with ThreadPoolExecutor(8) as pool:

        def write(n: int) -> str:
            return type(shelf.attempt("ada", put("1", str(n), 0), worker=n % 2)).__name__

        assert Counter(pool.map(write, range(16))) == {"ObjectsWritten": 1, "ErrorCode": 15}


def test_in_one_transaction_a_users_commands_take_effect_in_order(
    shelf: Shelf, settings: PostgresSettings
) -> None:
    """They gather behind a command that waits. A refused one among them changes nothing."""
    (before,) = shelf.change("ada", put("1", "0")).versions
    with connect(settings) as other:
        with other.transaction():
            other.execute(f"LOCK TABLE {settings.schema}.storage_objects")
            shelf.begin(changing("bob", put("1")), "bob")
            wait_until_held_up(other)
            futures = [
                shelf.begin(changing("ada", *changes), "ada")
                for changes in (
                    (put("1", "1", before),),
                    (put("2", "2"), put("1", "2", before)),
                    (drop("1"),),
                    (put("1", "3", 0), put("3", "3")),
                    (drop("3"),),
                )
            ]
        outcomes = [outcome(future) for future in futures]
    assert [type(one) for one in outcomes] == [Done, Refused, Done, Done, Done]
    assert shelf.read("ada", "1", "2", "3") == ["3"]
    (found,) = shelf.look("ada", "1").objects
    assert found.created == found.updated, "it was deleted and is a new one"
    kept, there = usage(settings, "ada")
    assert kept == there == Usage(1, len("saves") + len("1") + 1)


def test_a_quota_holds_whoever_writes_at_once(shelf: Shelf, settings: PostgresSettings) -> None:
    quota = Quota(10, 200)
    with ThreadPoolExecutor(8) as pool:

        def write(n: int) -> None:
            change = put(str(n), "1" * (n + 1))
            outcome = shelf.attempt("ada", change, quota=quota, worker=n % 2)
            assert outcome is QUOTA_EXCEEDED or isinstance(outcome, ObjectsWritten)

        list(pool.map(write, range(60)))
    kept, found = usage(settings, "ada")
    assert kept == found
    assert 8 <= found.objects <= 10
    assert found.size <= 200


def test_the_server_writes_what_nobody_may_and_past_the_quota(shelf: Shelf) -> None:
    shelf.change("ada", put("1", write="nobody", read="nobody"), quota=None)
    assert shelf.attempt("ada", put("1")) is FORBIDDEN
    shelf.change("ada", put("1", "7" * 2_000_000, write="nobody"), quota=None)
    shelf.change("", put("motd", '"hello"', read="public"), quota=None)
    assert shelf.read("ada", "motd", of="") == ['"hello"']
    shelf.change("ada", drop("1"), quota=None)


def test_a_retry_gets_the_first_answer_and_does_not_act_again(shelf: Shelf) -> None:
    first = shelf.change("ada", put("1", "1", 0), key="k")
    shelf.change("ada", put("1", "2"))
    for worker in (0, 1):
        assert shelf.change("ada", put("1", "1", 0), key="k", worker=worker) == first
    assert shelf.read("ada", "1") == ["2"]
    with pytest.raises(KeyReused):
        shelf.change("ada", put("1", "3", 0), key="k")
    assert shelf.change("bob", put("1", "3", 0), key="k") != first, "a key is its user's own"


def test_what_is_acknowledged_outlives_lost_connections_and_acts_once(
    shelf: Shelf, settings: PostgresSettings
) -> None:
    rng, acknowledged = random.Random(5), [0]
    with connect(settings) as other:
        for n in range(60):
            future = shelf.begin(changing("ada", put("1", str(n))), "ada", key=f"k-{n}")
            if rng.random() < 0.3:
                end_other_sessions(other)
            found = outcome(future)
            if isinstance(found, Done):
                acknowledged += found.answer.versions
                assert shelf.look("ada", "1").objects[0].version == acknowledged[-1]
                again = shelf.begin(changing("ada", put("1", str(n))), "ada", key=f"k-{n}")
                repeated = outcome(again)
                assert repeated == Done(found.answer, repeated=True)
            else:
                assert isinstance(found, StoreUnavailable), found
    assert acknowledged == sorted(set(acknowledged))
    assert len(acknowledged) > 50


def test_a_user_is_exported_and_erased_whole(shelf: Shelf, settings: PostgresSettings) -> None:
    for n in range(8):
        shelf.change("ada", put(str(n), str(n), collection=f"c{n % 3}", read="nobody"))
    shelf.change("bob", put("1", "1"))
    exported = shelf.export("ada")
    names = sorted((f"c{n % 3}", str(n), str(n)) for n in range(8))
    assert [(one.collection, one.key, one.value) for one in exported] == names
    assert shelf.erase("ada") == 8
    assert shelf.export("ada") == []
    assert usage(settings, "ada") == (Usage(), Usage())
    assert shelf.read("bob", "1") == ["1"]
    assert shelf.erase("ada") == 0
