from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg
import pykka
import pytest

from bench.wallets import Remaining, Transfer, TransferAll, TransferRefused, open_wallets
from persistence import (
    CommandExpired,
    KeyReused,
    PostgresSettings,
    RowRefused,
    StoreUnavailable,
)
from persistence.commands import CommandKind, CommandTable, CommandWorker, Done, Execute, Pushed
from persistence.commands.answered import forget
from persistence.postgres import connection as postgres
from persistence.postgres import migrate
from persistence.postgres.connection import Bracket, connect, transaction
from persistence.postgres.libpq import Statement
from tests.persistence.asking import end_other_sessions, outcome, wait_until_held_up
from tests.persistence.commands.wallets import (
    Careless,
    Drain,
    Fail,
    Tell,
    Turned,
    balances,
    notes,
    table,
)

Ref = pykka.ActorRef[Any]
OWNERS = ("ada", "bob", "cyd", "dan")


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    """A schema of its own, with four wallets that hold 100 each."""
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings)
    open_wallets(settings, OWNERS, 100)
    return settings


@contextmanager
def working(
    settings: PostgresSettings, pushed: Callable[[Sequence[Pushed]], None] = lambda _: None
) -> Iterator[Ref]:
    ref: Ref = CommandWorker.start(settings, table(), pushed)
    try:
        yield ref
    finally:
        ref.stop()


@pytest.fixture
def commands(settings: PostgresSettings) -> Iterator[Ref]:
    with working(settings) as ref:
        yield ref


def request(
    command: msgspec.Struct, key: str | None = None, user: str = "ada", within_s: float = 60.0
) -> Execute:
    return Execute(command, user, key, time.monotonic() + within_s)


def ask(ref: Ref, command: msgspec.Struct, key: str | None = None, user: str = "ada") -> Any:
    done: Any = ref.ask(request(command, key, user), timeout=60)
    return done.answer


def in_one_batch(settings: PostgresSettings, *requests: Execute) -> list[Any]:
    """Return the outcomes of requests that gather behind one which waits for a lock."""
    with working(settings) as ref, connect(settings) as other:
        with other.transaction():
            other.execute(f"UPDATE {settings.schema}.wallets SET balance = balance")
            ref.ask(request(Transfer("ada", "bob", 1, "first")), block=False)
            wait_until_held_up(other)
            futures = [ref.ask(one, block=False) for one in requests]
        return [outcome(future) for future in futures]


def fetch(settings: PostgresSettings, query: Any) -> list[tuple[Any, ...]]:
    with connect(settings) as connection, transaction(connection, settings):
        return connection.execute(query).fetchall()


def test_a_command_is_answered_once_it_has_acted(commands: Ref, settings: PostgresSettings) -> None:
    for form, left in ((Transfer, 70), (TransferAll, 40)):
        assert ask(commands, form("ada", "bob", 30)) == Remaining(left)
        assert balances(settings)["ada"] == left


def test_what_is_refused_has_not_acted(commands: Ref, settings: PostgresSettings) -> None:
    for form in (Transfer, TransferAll, Careless):
        with pytest.raises(TransferRefused):
            ask(commands, form("ada", "bob", 1000))
    with pytest.raises(ZeroDivisionError):
        ask(commands, Fail("ada"))
    assert balances(settings) == dict.fromkeys(OWNERS, 100)


def test_in_a_batch_each_stands_for_itself(settings: PostgresSettings) -> None:
    """A late refusal and a mistake are rolled back; the other commands of the batch take effect."""
    outcomes = in_one_batch(
        settings,
        request(Transfer("ada", "bob", 10, "a")),
        request(Careless("ada", "bob", 1000, "late")),
        request(Fail("ada")),
        request(TransferAll("bob", "cyd", 1000, "too much")),
        request(TransferAll("bob", "cyd", 5, "b")),
        request(Transfer("ada", "dan", 10, "c")),
    )
    kinds = [type(one).__name__ for one in outcomes]
    assert kinds == [
        "Done",
        "TransferRefused",
        "ZeroDivisionError",
        "TransferRefused",
        "Done",
        "Done",
    ]
    assert balances(settings) == {"ada": 79, "bob": 106, "cyd": 105, "dan": 110}
    assert sorted(notes(settings)) == ["a", "b", "c", "first"]


def test_a_batch_that_goes_well_is_one_transaction(settings: PostgresSettings) -> None:
    requests = [request(Transfer("ada", "bob", 1, str(n))) for n in range(50)]
    assert all(isinstance(one, Done) for one in in_one_batch(settings, *requests))
    assert fetch(settings, "SELECT count(*), count(DISTINCT xmin::text) FROM entries") == [(102, 2)]


@pytest.mark.parametrize("form", [Transfer, TransferAll])
def test_a_transfer_opens_the_wallet_it_goes_to_and_never_goes_to_its_own(
    commands: Ref, settings: PostgresSettings, form: type[Transfer]
) -> None:
    assert ask(commands, form("ada", "eve", 30)) == Remaining(70)
    assert ask(commands, form("ada", "eve", 30)) == Remaining(40)
    assert balances(settings)["eve"] == 60
    with pytest.raises(TransferRefused, match="to oneself"):
        ask(commands, form("ada", "ada", 1))
    with pytest.raises(TransferRefused, match="not that much"):
        ask(commands, form("nobody", "ada", 1))
    assert sum(balances(settings).values()) == 400


@pytest.mark.parametrize("form", [Transfer, TransferAll, Careless])
def test_a_retry_gets_the_first_answer_and_does_not_act_again(
    settings: PostgresSettings, form: type[Transfer]
) -> None:
    command = form("ada", "bob", 30)
    for _ in range(2):  # another worker is another process
        with working(settings) as ref:
            for _ in range(2):
                assert ask(ref, command, "k-1") == Remaining(70)
    assert balances(settings)["bob"] == 130
    with working(settings) as ref:
        assert ask(ref, command, "k-1", user="bob") == Remaining(40), "a key is its user's own"


def test_a_key_that_comes_with_another_command_is_an_error(
    commands: Ref, settings: PostgresSettings
) -> None:
    ask(commands, Transfer("ada", "bob", 30), "k-1")
    for other in (Transfer("ada", "bob", 31), TransferAll("ada", "bob", 30)):
        with pytest.raises(KeyReused, match="k-1"):
            ask(commands, other, "k-1")
    assert balances(settings)["ada"] == 70


def test_a_refused_key_may_be_tried_again(commands: Ref) -> None:
    with pytest.raises(TransferRefused):
        ask(commands, Transfer("ada", "bob", 150), "k-1")
    ask(commands, Transfer("bob", "ada", 100))
    assert ask(commands, Transfer("ada", "bob", 150), "k-1") == Remaining(50)


def test_one_key_on_many_workers_at_once_acts_once(settings: PostgresSettings) -> None:
    with ThreadPoolExecutor(8) as pool, working(settings) as a, working(settings) as b:

        def tell(n: int) -> Any:
            return ask((a, b)[n % 2], Transfer("ada", "bob", 1), f"k-{n // 8}")

        answers = list(pool.map(tell, range(80)))
    assert balances(settings)["ada"] == 90
    assert Counter(answer.balance for answer in answers) == dict.fromkeys(range(90, 100), 8)


def test_one_key_twice_in_a_batch_acts_once(settings: PostgresSettings) -> None:
    first, second, third = in_one_batch(
        settings,
        request(Transfer("ada", "bob", 10), "k"),
        request(Transfer("ada", "bob", 10), "k"),
        request(Transfer("ada", "bob", 11), "k"),
    )
    assert (first.answer, first.repeated) == (Remaining(89), False)
    assert (second.answer, second.repeated) == (Remaining(89), True)
    assert isinstance(third, KeyReused)
    assert balances(settings)["ada"] == 89


def test_what_nobody_waits_for_any_more_does_not_begin(
    commands: Ref, settings: PostgresSettings
) -> None:
    with pytest.raises(CommandExpired, match="Transfer"):
        commands.ask(request(Transfer("ada", "bob", 30), within_s=0.0), timeout=60)
    assert balances(settings)["ada"] == 100


def test_deadlocks_are_tried_again_and_no_asker_hears_of_them(settings: PostgresSettings) -> None:
    """Two workers whose commands lock the same rows in opposite orders."""
    with ThreadPoolExecutor(2) as pool, working(settings) as a, working(settings) as b:

        def work(n: int) -> None:
            ref, there, back = ((a, "ada", "bob"), (b, "bob", "ada"))[n]
            for m in range(12):
                ask(ref, Careless(there, back, 1, f"{n}-{m}"), f"{n}-{m}")

        list(pool.map(work, range(2)))
    assert sum(balances(settings).values()) == 400
    assert len(set(notes(settings))) == len(notes(settings)) == 24


def test_connections_that_are_lost_lose_and_double_nothing(settings: PostgresSettings) -> None:
    rng, acknowledged = random.Random(1), []
    with working(settings) as ref, connect(settings) as other:
        for n in range(80):
            future = ref.ask(request(Transfer("ada", "bob", 1, str(n))), block=False)
            if rng.random() < 0.3:
                end_other_sessions(other)
            if isinstance(found := outcome(future), Done):
                acknowledged.append(str(n))
            else:
                assert isinstance(found, StoreUnavailable), found
    made = notes(settings)
    assert len(set(made)) == len(made) == 100 - balances(settings)["ada"]
    assert made == acknowledged


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_answer_is_lost_is_looked_up(
    settings: PostgresSettings, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    original = postgres.transaction
    lost: list[str] = []

    @contextmanager
    def losing(
        connection: psycopg.Connection, settings: PostgresSettings, first: Statement | None = None
    ) -> Iterator[Bracket]:
        of_a_command = first is not None
        with original(connection, settings, first) as frame:
            yield frame
            if not committed and of_a_command and not lost:
                lost.append("before it took place")
                connection.close()
        if committed and of_a_command and not lost:
            lost.append("after it took place")
            raise psycopg.OperationalError("the answer is lost")

    monkeypatch.setattr(postgres, "transaction", losing)
    with working(settings) as ref:
        assert ask(ref, Transfer("ada", "bob", 30)) == Remaining(70)
    assert lost
    assert balances(settings)["ada"] == 70


def test_what_is_emitted_and_pushed_is_there_with_what_was_written(
    settings: PostgresSettings,
) -> None:
    told: list[Pushed] = []
    with working(settings, told.extend) as ref:
        ask(ref, Tell("ada", "one"))
        ask(ref, Tell("bob", "two"))
        with pytest.raises(TransferRefused):
            ask(ref, Tell("ada", "nobody", fail=True))
        ask(ref, Tell("ada", "three"))
    assert told == [Pushed("ada", 1), Pushed("bob", 1), Pushed("ada", 2)]
    entries = fetch(
        settings, "SELECT user_id, entry_offset, payload FROM inbox_entries ORDER BY 1, 2"
    )
    events = fetch(settings, "SELECT kind, key, payload FROM events ORDER BY seq")
    assert entries == [("ada", 1, b"one"), ("ada", 2, b"three"), ("bob", 1, b"two")]
    assert events == [("told", "ada", b"one"), ("told", "bob", b"two"), ("told", "ada", b"three")]


def test_an_inbox_has_no_gap_whoever_writes_it(settings: PostgresSettings) -> None:
    with ThreadPoolExecutor(8) as pool, working(settings) as a, working(settings) as b:

        def tell(n: int) -> None:
            for m in range(20):
                ask((a, b)[n % 2], Tell(OWNERS[(n + m) % 4], f"{n}-{m}"), user=str(n))

        list(pool.map(tell, range(8)))
    rows = fetch(
        settings,
        "SELECT user_id, array_agg(entry_offset ORDER BY entry_offset)"
        " FROM inbox_entries GROUP BY 1",
    )
    assert dict(rows) == {owner: list(range(1, 41)) for owner in OWNERS}


class Nobody(msgspec.Struct, frozen=True):
    """A command that no service runs."""


def test_what_nothing_runs_or_has_no_encoding_fails_alone(settings: PostgresSettings) -> None:
    unknown, odd, fine = in_one_batch(
        settings,
        request(Nobody()),
        request(Transfer("ada", "bob", 1, object()), "k"),  # type: ignore[arg-type]
        request(Transfer("ada", "bob", 1, "fine")),
    )
    assert isinstance(unknown, LookupError)
    assert isinstance(odd, TypeError)
    assert isinstance(fine, Done)
    assert sorted(notes(settings)) == ["fine", "first"]


def test_a_name_that_postgresql_cannot_hold_fails_alone(settings: PostgresSettings) -> None:
    """Such a key may come with one command among many, and its sender would try again for ever."""
    nul, half, long, fine = in_one_batch(
        settings,
        request(Transfer("ada", "bob", 1), "nul\0"),
        request(Transfer("ada", "bob", 1), "k", user="half \ud800"),
        request(Transfer("ada", "bob", 1), "k" * 3000),
        request(Transfer("ada", "bob", 1, "fine"), "k"),
    )
    assert [type(one) for one in (nul, half, long)] == [RowRefused] * 3
    assert isinstance(fine, Done)
    assert sorted(notes(settings)) == ["fine", "first"]


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("catches", RuntimeError),
        ("long", psycopg.errors.ProgramLimitExceeded),
        ("late", psycopg.errors.CheckViolation),
    ],
)
def test_a_command_that_postgresql_turns_down_fails_alone(
    settings: PostgresSettings, reason: str, error: type[Exception]
) -> None:
    """One that catches the error and goes on; one that writes what no index can hold.

    And one that does not look at what its statement came to: another command meets the error.
    """
    first, turned_down, fine = in_one_batch(
        settings,
        request(Transfer("ada", "bob", 1, "a"), "a"),
        request(Turned("ada", reason), "b"),
        request(Transfer("ada", "bob", 1, "c"), "c"),
    )
    assert isinstance(turned_down, error)
    assert isinstance(first, Done)
    assert isinstance(fine, Done)
    assert sorted(notes(settings)) == ["a", "c", "first"]


def test_what_a_statement_found_is_known_though_others_wait_behind_it(
    settings: PostgresSettings,
) -> None:
    outcomes = in_one_batch(
        settings,
        request(Transfer("ada", "cyd", 69, "a")),
        request(Drain(50)),
        request(Transfer("bob", "cyd", 101, "b")),
        request(Drain(50)),
    )
    assert [one.answer for one in outcomes] == [
        Remaining(30),
        Remaining(1),
        Remaining(0),
        Remaining(2),
    ]


def test_old_answers_are_forgotten_in_steps(commands: Ref, settings: PostgresSettings) -> None:
    for n in range(5):
        ask(commands, Transfer("ada", "bob", 1), f"k-{n}")
    with connect(settings) as connection, transaction(connection, settings):
        assert forget(connection, older_than_s=3600, limit=10) == 0
        assert forget(connection, older_than_s=-1, limit=3) == 3
        assert forget(connection, older_than_s=-1, limit=3) == 2


def test_a_worker_forgets_what_is_old_and_nothing_else(settings: PostgresSettings) -> None:
    with working(settings) as ref:
        for n in range(5):
            ask(ref, Transfer("ada", "bob", 1), f"k-{n}")
    long_ago = (
        "UPDATE answered_commands SET at = at - make_interval(secs => 86000 + 1000 *"
        " substr(key, 3)::int) RETURNING key"
    )
    fetch(settings, long_ago)
    with working(settings) as ref:
        ask(ref, Transfer("ada", "bob", 1), "k-0")
        ask(ref, Transfer("ada", "bob", 1), "k-1")
    assert sorted(fetch(settings, "SELECT key FROM answered_commands")) == [("k-0",), ("k-1",)]
    assert balances(settings)["ada"] == 94, "the second may act anew after more than a day"


def test_a_kind_has_one_function_and_one_name() -> None:
    with pytest.raises(ValueError, match="either run or run_all"):
        CommandKind(service="s", name="n", command=Transfer)
    kind = CommandKind(service="s", name="n", command=Transfer, run=lambda *_: None)
    with pytest.raises(ValueError, match="twice"):
        CommandTable([kind, kind])
    with pytest.raises(LookupError, match="Fail"):
        CommandTable([kind]).of(Fail("x"))
