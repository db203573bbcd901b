"""Fixtures for all tests: the real stores, started once for a whole run.

Tests share them, and keep apart by random kinds and keys: see `unique()`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog
from hypothesis import settings

from persistence import PostgresSettings, RedisSettings
from persistence.embedded import EmbeddedServers
from persistence.postgres import migrate
from tests.left_out import keep_out

keep_out()

# No deadline for an example: how long one takes is a matter of the machine, not of the property.
settings.register_profile("greenroom", deadline=None)
# `--hypothesis-profile deep`: for models whose own number of examples follows from the profile's.
settings.register_profile("deep", deadline=None, max_examples=2500)
settings.load_profile("greenroom")

# With rich installed, which a tool of the tests brings, structlog would draw each traceback with
# its locals, which takes a sixth of a second.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# A shell that starts a job in the background has it ignore Ctrl-C, and so would each process that a
# test starts; what waits for a Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Nor is a run under nohup to make the servers that it starts deaf to the end of a terminal.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# A server that may not keep its bytecode compiles the whole tree at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


class Stores(NamedTuple):
    """The addresses of the stores of this run. `servers` is for tests that kill and revive them."""

    redis_url: str
    postgres_url: str
    servers: EmbeddedServers


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    # Not pytest's own folder: that is closed to others, and root's PostgreSQL may run as nobody.
    folder = Path(tempfile.gettempdir()) / f"greenroom-tests-{secrets.token_hex(8)}"
    try:
        with EmbeddedServers(folder) as servers:
            migrate(PostgresSettings(url=servers.postgres_url))
            yield Stores(servers.redis_url, servers.postgres_url, servers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(stores: Stores) -> str:
    return stores.postgres_url


@pytest.fixture
def redis_url(stores: Stores) -> str:
    return stores.redis_url


@pytest.fixture
def postgres(postgres_url: str) -> PostgresSettings:
    """Settings for the migrated database."""
    return PostgresSettings(url=postgres_url)


@pytest.fixture
def redis(redis_url: str) -> RedisSettings:
    return RedisSettings(url=redis_url)


@pytest.fixture
def unique() -> str:
    """A name that no other test uses, for a kind, a key or a schema."""
    return f"t{secrets.token_hex(8)}"


@pytest.fixture
def same_stores(stores: Stores, unique: str) -> tuple[str, ...]:
    """Settings by which the servers of a test share a schema and keys of Valkey of their own."""
    return (
        f"postgres.url={stores.postgres_url}",
        f"postgres.schema={unique}",
        f"redis.url={stores.redis_url}",
        f"redis.prefix={unique}:",
        "log.format=json",
    )


LONGEST = (
    "tests/test_server.py",
    "tests/actors/cluster/test_membership.py",
    "tests/test_nodes.py",
    "tests/test_machines.py",
    "tests/test_services.py",
    "tests/actors/edge/test_much_at_once.py",
    "tests/test_users.py",
    "tests/test_readme.py",
    "tests/bench/",
    "tests/test_cluster.py",
    "tests/protocol/js/",
    "tests/chaos/",
)
"""The files that take longest. They begin first, because one that began last would end last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring tests into the order in which files are given to the processes that run them."""

    def rank(item: pytest.Item) -> int:
        return next((n for n, at in enumerate(LONGEST) if item.nodeid.startswith(at)), len(LONGEST))

    items.sort(key=rank)
