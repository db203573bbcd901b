from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from persistence import PostgresSettings, StoreUnavailable
from persistence.postgres import get_or_create_secret


def test_all_who_ask_get_the_same_32_bytes(postgres: PostgresSettings, unique: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        got = set(pool.map(lambda _: get_or_create_secret(postgres, unique), range(4)))
    assert [len(secret) for secret in got] == [32]


def test_another_name_is_another_secret(postgres: PostgresSettings, unique: str) -> None:
    assert get_or_create_secret(postgres, unique) != get_or_create_secret(postgres, unique + "2")


def test_an_unreachable_database_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        get_or_create_secret(PostgresSettings(url="host=/nowhere"), "x")
