from __future__ import annotations

import secrets

import pytest

from persistence import PostgresSettings
from tests.actors.apis import migrated
from tests.conftest import Stores


@pytest.fixture(scope="module")
def postgres(stores: Stores) -> PostgresSettings:
    """A schema of the file's own, with the tables of all services."""
    return migrated(stores.postgres_url, f"t{secrets.token_hex(8)}")
