"""The database with the tables of inboxes."""

from __future__ import annotations

import pytest

from persistence import PostgresSettings
from persistence.postgres import migrate
from tests.conftest import Stores


@pytest.fixture(scope="session")
def inboxes(stores: Stores) -> PostgresSettings:
    settings = PostgresSettings(url=stores.postgres_url)
    migrate(settings, ["inbox"])
    return settings
