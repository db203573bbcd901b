"""Friends as their tests use them: real workers, asked from the test's own thread.

Two workers of commands stand for two nodes: each has a connection of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from pykka import ActorRef

from actors.edge.failures import Refused
from actors.friends.commands import COMMANDS, ChangeTie, EraseTies, Tied, TiesErased
from actors.friends.queries import QUERIES, ExportTies, ListBlocks, ListTies
from actors.friends.rules.ties import Act, TieCounts
from persistence import PostgresSettings
from persistence.commands import CommandTable, CommandWorker, Execute
from persistence.postgres.connection import connect, transaction
from persistence.queries import AskQuery, QueryTable, QueryWorker
from protocol.errors import ErrorCode

MOST = TieCounts(100, 100, 100, 100)
TABLE = CommandTable(COMMANDS, (Refused,))


class Circle:
    """Users and their ties. Every call raises the error that its asker would get."""

    def __init__(
        self,
        settings: PostgresSettings,
        commands: Sequence[ActorRef[Any]],
        queries: ActorRef[Any],
    ) -> None:
        self.settings = settings
        self._commands = commands
        self._queries = queries
        self._own = connect(settings)

    def begin(
        self, user: str, act: Act, other: str, *, most: TieCounts = MOST, key: str | None = None,
        worker: int = 0,
    ) -> Any:  # fmt: skip
        """Begin a change; returns the future of its `Done`."""
        request = Execute(ChangeTie(user, other, act, most), user, key, time.monotonic() + 60)
        return self._commands[worker].ask(request, block=False)

    def act(self, user: str, act: Act, other: str, **given: Any) -> str | None:
        """Do what the user wants; returns the state of the tie from then on."""
        answer: Tied = self.begin(user, act, other, **given).get(timeout=60).answer
        return answer.state

    def attempt(self, user: str, act: Act, other: str, **given: Any) -> str | ErrorCode | None:
        """Do as `act`, but return the error of a refusal in place of raising it."""
        try:
            return self.act(user, act, other, **given)
        except Refused as refused:
            return refused.error

    def befriend(self, *users: str) -> None:
        """Make each of the users a friend of each other."""
        for place, user in enumerate(users):
            for other in users[place + 1 :]:
                self.act(user, "request", other)
                assert self.act(other, "accept", user) == "friend"

    def erase(self, user: str) -> int:
        request = Execute(EraseTies(user), user, None, time.monotonic() + 60)
        done: Any = self._commands[0].ask(request, timeout=60)
        answer: TiesErased = done.answer
        return answer.ties

    def ties(self, user: str) -> dict[str, str]:
        """Return how a user stands to others."""
        return {tie.user: tie.state for tie in self.ask(ListTies(user, None, "", 100)).ties}

    def blocked(self, user: str) -> set[str]:
        """Return those whom a user has blocked."""
        return {one.user for one in self.ask(ListBlocks(user, "", 100)).blocked}

    def export(self, user: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(ExportTies(user))
        return found

    def told(self, user: str) -> list[tuple[str, str | None]]:
        """Return what a user was told through the inbox: the others and the states."""
        found = [
            msgspec.msgpack.decode(payload)
            for (payload,) in self.rows(
                "SELECT payload FROM inbox_entries WHERE user_id = %s AND type = 'friend.tie'"
                " ORDER BY entry_offset",
                user,
            )
        ]
        return [(one["user"], one["state"]) for one in found]

    def rows(self, query: Any, *given: Any) -> list[tuple[Any, ...]]:
        """Read rows with a connection of the test's own."""
        with transaction(self._own, self.settings):
            return self._own.execute(query, given).fetchall()

    def close(self) -> None:
        """Close the test's own connection."""
        self._own.close()

    def ask(self, query: msgspec.Struct) -> Any:
        """Ask a query."""
        return self._queries.ask(AskQuery(query, time.monotonic() + 60), timeout=60)


@contextmanager
def open_circle(settings: PostgresSettings) -> Iterator[Circle]:
    """Start the workers."""
    commands: list[ActorRef[Any]] = [CommandWorker.start(settings, TABLE) for _ in range(2)]
    queries: ActorRef[Any] = QueryWorker.start(settings, QueryTable(QUERIES))
    circle = Circle(settings, commands, queries)
    yield circle
    circle.close()
    for ref in (*commands, queries):
        ref.stop()
