"""The tables of matches in a schema of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from persistence import PostgresSettings
from tests.actors.matches.register import Register, opened_register


@pytest.fixture
def register(postgres_url: str, unique: str) -> Iterator[Register]:
    with opened_register(PostgresSettings(url=postgres_url, schema=unique)) as register:
        yield register
