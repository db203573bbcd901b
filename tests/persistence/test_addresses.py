"""What can be a store's address and what cannot, without asking a store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import postgres, redis


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:secret@db/greenroom",
        "postgres://db:5432,other:5433/greenroom?target_session_attrs=read-write",
        "postgresql:///greenroom?host=/run/postgresql",
        "host=db port=5432 user=ada password=secret",
    ],
)
def test_these_are_addresses_of_postgresql(url: str) -> None:
    assert postgres.address_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "garbage", "mysql://ada:secret@db/x", "postgresql://ada:secret@[::1", "redis://db",
        "postgresql://ada:se%zzcret@db/x", "postgresql://db:99999/x", "postgresql://db:port/x",
        "host=db prot=5432",
    ],
)  # fmt: skip
def test_these_are_none_of_postgresql(url: str) -> None:
    problem = postgres.address_problem(url)
    assert problem is not None
    assert "secret" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache", "redis://:secret@cache:6379/3", "rediss://ada:secret@cache/",
        "unix:///run/valkey.sock?db=0", "redis://",
        "redis+sentinel://ada:secret@one:26379,two,[::1]:26380/primary/2?sentinel_password=secret",
        "rediss+sentinel://one/primary", "redis+cluster://:secret@one:6379,two",
        "rediss+cluster://one/0",
    ],
)  # fmt: skip
def test_these_are_addresses_of_redis(url: str) -> None:
    assert redis.address_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "garbage", "http://cache", "redis://:secret@[::1", "redis://cache:port/0", "cache:6379",
        "redis://:secret@cache/notadb", "redis://cache:99999", "unix://",
        "redis+sentinel://:secret@one", "redis+sentinel://:secret@one/primary/notadb",
        "redis+sentinel://:secret@one:port/primary", "redis+cluster://:secret@one/3",
        "redis+cluster://:secret@", "redis+secret://one", "http+cluster://one",
        "redis+sentinel://:secret@[::1/primary", "redis+cluster://one,",
    ],
)  # fmt: skip
def test_these_are_none_of_redis(url: str) -> None:
    problem = redis.address_problem(url)
    assert problem is not None
    assert "secret" not in problem


@given(st.text(max_size=20))
def test_any_text_is_judged_without_a_failure(url: str) -> None:
    postgres.address_problem(url)
    redis.address_problem(url)
