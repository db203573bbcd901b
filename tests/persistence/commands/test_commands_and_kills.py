"""Commands on a PostgreSQL that is killed, or asked for more than it has."""

from __future__ import annotations

import random
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pykka
import pytest

from bench.wallets import Remaining, Transfer, TransferAll, TransferRefused, open_wallets
from persistence import PostgresSettings, StoreUnavailable
from persistence.commands import CommandKind, CommandTable, CommandWorker, Execute, Transaction
from persistence.embedded import EmbeddedServers
from persistence.postgres import connection as postgres
from persistence.postgres import migrate
from persistence.postgres.connection import Bracket, connect, transaction
from persistence.postgres.libpq import Statement
from tests.persistence.commands.wallets import balances, notes, table
from tests.persistence.killing import kill_postgresql, revive_postgresql

Ref = pykka.ActorRef[Any]
OWNERS = tuple(f"owner-{n}" for n in range(8))
WORKERS, ASKERS, KILLS = 3, 6, 3
EACH_ASKS = 60
KEYLESS = 4
"""One in so many commands has no key."""


@pytest.fixture(scope="module")
def servers() -> Iterator[EmbeddedServers]:
    folder = Path(tempfile.gettempdir()) / f"greenroom-tests-{secrets.token_hex(8)}"
    try:
        with EmbeddedServers(folder) as servers:
            yield servers
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(servers: EmbeddedServers, unique: str) -> PostgresSettings:
    settings = PostgresSettings(url=servers.postgres_url, schema=unique, max_retry_s=0.1)
    migrate(settings)
    open_wallets(settings, OWNERS, 100)
    return settings


def ask(ref: Ref, command: msgspec.Struct, key: str | None) -> Any:
    """Ask with the same key until there is an answer, or once without a key."""
    while True:
        try:
            done: Any = ref.ask(Execute(command, "ada", key, time.monotonic() + 60), timeout=120)
        except StoreUnavailable:
            if key is None:
                raise
            time.sleep(0.01)
        else:
            return done.answer


class Played:
    """The outcome of each transfer."""

    def __init__(self) -> None:
        self.answered: dict[str, tuple[Transfer, Remaining]] = {}
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self._progress = threading.Condition()

    def play(self, number: int, workers: Sequence[Ref]) -> None:
        """Ask for one transfer after the other, of any form, of any worker; some have no key."""
        rng = random.Random(number)
        for n in range(EACH_ASKS):
            name = f"{number}-{n}"
            source, target = rng.sample(OWNERS, 2)
            command = rng.choice((Transfer, TransferAll))(source, target, rng.randint(1, 60), name)
            try:
                answer = ask(rng.choice(workers), command, name if n % KEYLESS else None)
            except TransferRefused:
                self._note(self.refused.add, name)
            except StoreUnavailable:
                self._note(self.unknown.add, name)
            else:
                self._note(self.answered.update, {name: (command, answer)})

    def wait_for(self, count: int) -> None:
        """Return when it is known of so many what became of them, or that nobody knows."""
        with self._progress:
            assert self._progress.wait_for(lambda: self.count >= count, timeout=120)

    @property
    def count(self) -> int:
        return len(self.answered) + len(self.refused) + len(self.unknown)

    def _note(self, where: Callable[[Any], None], what: Any) -> None:
        with self._progress:
            where(what)
            self._progress.notify_all()


def test_money_is_conserved_and_no_command_acts_twice_though_postgresql_is_killed(
    servers: EmbeddedServers, settings: PostgresSettings
) -> None:
    """What was answered has acted, once, and what was refused has not."""
    played = Played()
    with ExitStack() as stack:
        workers: list[Ref] = [CommandWorker.start(settings, table()) for _ in range(WORKERS)]
        for ref in workers:
            stack.callback(ref.stop)
        pool = stack.enter_context(ThreadPoolExecutor(ASKERS))
        games = [pool.submit(played.play, number, workers) for number in range(ASKERS)]
        for kill in range(1, KILLS + 1):
            played.wait_for(kill * ASKERS * EACH_ASKS // (KILLS + 1))
            kill_postgresql(servers)
            revive_postgresql(servers)
        for game in games:
            game.result(timeout=120)

        assert played.count == ASKERS * EACH_ASKS
        assert len(played.answered) > EACH_ASKS, "there is money to move"
        made = notes(settings)
        assert len(set(made)) == len(made), "a command has acted twice"
        assert set(made) - played.unknown == set(played.answered)
        found = balances(settings)
        assert sum(found.values()) == 100 * len(OWNERS)
        assert found == {owner: 100 + moved for owner, moved in by_the_entries(settings).items()}
        for name, (command, answer) in played.answered.items():
            if int(name.split("-")[1]) % KEYLESS:
                assert ask(workers[0], command, name) == answer, "the first answer, over all kills"
        assert notes(settings) == made


def by_the_entries(settings: PostgresSettings) -> dict[str, int]:
    """Return the sum of the entries of each owner."""
    query = "SELECT owner, sum(amount)::bigint FROM entries GROUP BY owner"
    with connect(settings) as connection, transaction(connection, settings):
        return dict.fromkeys(OWNERS, 0) | dict(connection.execute(query).fetchall())


MOST_KILLS = 5
"""Fewer kills than a worker's six attempts."""


def test_a_transaction_that_a_crash_undid_is_not_taken_for_another_of_the_same_number(
    servers: EmbeddedServers, settings: PostgresSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL gives the number of a transaction that never reached the disk to another."""
    original = postgres.transaction
    lost: list[int] = []
    taken: list[bool] = []

    @contextmanager
    def losing(
        connection: psycopg.Connection, settings: PostgresSettings, first: Statement | None = None
    ) -> Iterator[Bracket]:
        with original(connection, settings, first) as frame:
            yield frame
            # Not each time is the number free again: what PostgreSQL does beside may have brought
            # it to the disk.
            if first is not None and not any(taken) and len(lost) < MOST_KILLS:
                lost.append(transaction_number(connection))
                kill_postgresql(servers)
                revive_postgresql(servers)
                with psycopg.connect(settings.url, autocommit=True) as other:
                    while transaction_number(other) < lost[-1]:
                        pass
                    query = "SELECT pg_xact_status(%s::text::xid8)"
                    status = other.execute(query, lost[-1:]).fetchone()
                    taken.append(status == ("committed",))

    monkeypatch.setattr(postgres, "transaction", losing)
    source, target, *_ = OWNERS
    (outcome,) = at_once(settings, table(), [Transfer(source, target, 30)])
    assert outcome.answer == Remaining(70)
    assert any(taken)
    assert balances(settings)[target] == 130


def at_once(
    settings: PostgresSettings, table: CommandTable, commands: Sequence[msgspec.Struct]
) -> Sequence[Any]:
    """Run commands as one batch of a worker, in this thread; returns the outcomes."""
    worker = CommandWorker(settings, table)
    try:
        return worker.answer(
            [
                Execute(command, "ada", str(n), time.monotonic() + 60)
                for n, command in enumerate(commands)
            ]
        )
    finally:
        worker.on_stop()


def transaction_number(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
    assert row is not None
    return int(row[0])


class Many(msgspec.Struct, frozen=True):
    """A command that writes a row while it holds many locks."""

    number: int


def _many(tx: Transaction, command: Many) -> None:
    tx.write(
        "INSERT INTO entries (owner, amount, note) VALUES ('many', -1, %s)", (str(command.number),)
    )


def test_commands_that_need_more_locks_than_there_are_go_in_several_transactions(
    settings: PostgresSettings,
) -> None:
    """In one transaction PostgreSQL would refuse them all as "out of shared memory"."""
    kind = CommandKind(
        service="wallet",
        name="many",
        command=Many,
        run=_many,
        locks=lambda command: (f"{command.number}-{n}" for n in range(1000)),
    )
    outcomes = at_once(settings, CommandTable([kind]), [Many(n) for n in range(30)])
    assert [type(outcome).__name__ for outcome in outcomes] == ["Done"] * 30
    assert notes(settings) == [str(n) for n in range(30)]
