from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pykka import ActorRef

from actors.edge.failures import Refused
from actors.storage.commands import COMMANDS, SERVICE
from actors.storage.queries import QUERIES
from persistence import PostgresSettings
from persistence.commands import CommandTable, CommandWorker
from persistence.postgres import migrate
from persistence.queries import QueryTable, QueryWorker
from tests.actors.storage.shelf import Shelf

TABLE = CommandTable(COMMANDS, (Refused,))


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    """A schema of its own."""
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings, [SERVICE])
    return settings


@pytest.fixture
def shelf(settings: PostgresSettings) -> Iterator[Shelf]:
    commands: list[ActorRef[Any]] = [CommandWorker.start(settings, TABLE) for _ in range(2)]
    queries: ActorRef[Any] = QueryWorker.start(settings, QueryTable(QUERIES))
    yield Shelf(commands, queries)
    for ref in (*commands, queries):
        ref.stop()
