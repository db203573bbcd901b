"""The rows of matches in PostgreSQL as their tests use them: real workers, asked from the test's
own thread.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from pykka import ActorRef

from actors.edge.failures import Refused
from actors.matches.commands import COMMANDS, SERVICE, OpenMatch, ReportMatches
from actors.matches.entry import MatchEntry, MatchStart
from actors.matches.queries import QUERIES, Listed, ListMatches
from actors.matches.rules.room import Limits
from persistence import PostgresSettings
from persistence.commands import CommandTable, CommandWorker, Execute
from persistence.postgres import migrate
from persistence.postgres.connection import connect
from persistence.queries import AskQuery, QueryTable, QueryWorker

GAMES = ("arena", "tictactoe")
TABLE = CommandTable(COMMANDS, (Refused,))
WIDE = Limits(of_all=1_000_000, of_user=1_000_000, of_address=0, unjoined_ms=15_000)
_numbers = itertools.count(1)


def opening(
    user: str = "ada",
    *,
    key: str | None = None,
    address: str | None = None,
    game: str = "arena",
    match: str | None = None,
    limits: Limits = WIDE,
) -> OpenMatch:
    """Return a command that enters a match with a unique name."""
    return OpenMatch(
        match=match or f"{game}-{next(_numbers)}",
        game=game,
        user=user,
        key=key,
        address=address,
        start=MatchStart(2**64 - 1, {"goal": 3}).packed(),
        limits=limits,
    )


class Register:
    """The rows of matches. Every call raises the error that its asker would get."""

    def __init__(
        self,
        settings: PostgresSettings,
        commands: Sequence[ActorRef[Any]],
        queries: ActorRef[Any],
    ) -> None:
        self.settings = settings
        self._commands = commands
        self._queries = queries

    def begin(self, command: msgspec.Struct, *, worker: int = 0) -> Any:
        """Begin a command; returns the future of its `Done`."""
        request = Execute(command, "anyone", None, time.monotonic() + 60)
        return self._commands[worker].ask(request, block=False)

    def run(self, command: msgspec.Struct, *, worker: int = 0) -> Any:
        return self.begin(command, worker=worker).get(timeout=60).answer

    def open(self, command: OpenMatch, *, worker: int = 0) -> MatchEntry:
        answer: MatchEntry = self.run(command, worker=worker)
        return answer

    def end(self, *matches: str, keeps_key: bool = True) -> None:
        self.run(ReportMatches([], [(match, keeps_key) for match in matches]))

    def ask(self, query: msgspec.Struct) -> Any:
        return self._queries.ask(AskQuery(query, time.monotonic() + 60), timeout=60)

    def listed(self, *games: str, limit: int = 1000) -> list[Listed]:
        found: list[Listed] = self.ask(ListMatches(games or GAMES, limit))
        return found

    def one(self, statement: str) -> Any:
        """Run a statement, which names tables without their schema; returns its only value."""
        with connect(self.settings) as connection, connection.transaction():
            connection.execute(f"SET LOCAL search_path TO {self.settings.schema}".encode())
            row = connection.execute(statement.encode()).fetchone()
            return None if row is None else row[0]

    def do(self, statement: str) -> None:
        """Run a statement, which names tables without their schema."""
        with connect(self.settings) as connection, connection.transaction():
            connection.execute(f"SET LOCAL search_path TO {self.settings.schema}".encode())
            connection.execute(statement.encode())

    def is_sound(self) -> bool:
        """Whether the kept number of running matches is right."""
        return bool(
            self.one("SELECT running = (SELECT count(*) FROM matches) FROM match_directory")
        )


@contextmanager
def opened_register(settings: PostgresSettings, *, workers: int = 2) -> Iterator[Register]:
    """Migrate, and start workers."""
    migrate(settings, [SERVICE])
    commands: list[ActorRef[Any]] = [CommandWorker.start(settings, TABLE) for _ in range(workers)]
    queries: ActorRef[Any] = QueryWorker.start(settings, QueryTable(QUERIES))
    yield Register(settings, commands, queries)
    for ref in (*commands, queries):
        ref.stop()
