from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors.friends.commands import SERVICE
from persistence import PostgresSettings
from persistence.postgres import migrate
from tests.actors.friends.circle import Circle, open_circle


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    """A schema of its own."""
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings, [SERVICE])
    return settings


@pytest.fixture
def circle(settings: PostgresSettings) -> Iterator[Circle]:
    with open_circle(settings) as circle:
        yield circle
