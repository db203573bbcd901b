"""Requests about friends over HTTP: all services on the real stores, with the shipped limits."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from persistence import PostgresSettings, RedisSettings
from tests.actors.apis import HostedApi, hosted, migrated
from tests.conftest import Stores


@pytest.fixture(scope="module")
def postgres(stores: Stores) -> PostgresSettings:
    """A schema of the file's own, with the tables of all services."""
    return migrated(stores.postgres_url, f"t{secrets.token_hex(8)}")


async def data(api: HostedApi, who: str, op: str, **fields: Any) -> Any:
    return (await api.call(op, fields, token=api.token(who))).data


async def code(api: HostedApi, who: str, op: str, **fields: Any) -> str:
    return (await api.call(op, fields, token=api.token(who))).code


async def test_friends_are_made_listed_and_let_go(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    others = [f"{unique}-{number}" for number in range(5)]
    async with hosted(postgres, redis) as api:
        for other in others[:3]:
            asked = await data(api, other, "friend.request", user=unique)
            accepted = await data(api, unique, "friend.accept", user=other)
            assert (asked["state"], accepted["state"]) == ("requested", "friend")
            assert accepted["since"] >= asked["since"] > 0
        await data(api, unique, "friend.request", user=others[3])
        await data(api, others[4], "friend.request", user=unique)

        found: list[Any] = []
        cursor = None
        while True:
            page = await data(api, unique, "friend.list", limit=2, cursor=cursor)
            found += page["friends"]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert [one["user"] for one in found] == others
        assert [one["state"] for one in found] == ["friend"] * 3 + ["requested", "asked"]
        assert not any(one["online"] for one in found)  # nobody has a session here
        page = await data(api, unique, "friend.list", state="friend", limit=2)
        assert len(page["friends"]) == 2
        wrong = await code(api, unique, "friend.list", cursor=page["cursor"])
        assert wrong == await code(api, unique, "block.list", cursor="none") == "bad_cursor"

        await data(api, unique, "friend.decline", user=others[4])
        await data(api, unique, "friend.remove", user=others[3])
        await data(api, others[0], "friend.remove", user=unique)
        assert [
            one["user"] for one in (await data(api, unique, "friend.list"))["friends"]
        ] == others[1:3]


async def test_what_is_not_allowed_is_refused_by_name(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    other = f"{unique}-2"
    async with hosted(postgres, redis, ["friends.requested=1"]) as api:
        assert await code(api, unique, "friend.request", user=unique) == "bad_message"
        assert await code(api, unique, "friend.request", user="a\0b") == "bad_message"
        assert await code(api, unique, "friend.request", user="") == "bad_message"
        assert await code(api, unique, "friend.accept", user=other) == "not_asked"
        assert await code(api, unique, "friend.list", limit=101) == "out_of_range"
        await data(api, unique, "friend.request", user=other, key="a\0key")
        assert await code(api, unique, "friend.request", user="x") == "too_many_friends"
        reused = await code(api, unique, "friend.remove", user="x", key="a\0key")
        assert reused == "key_reused"


async def test_a_block_is_listed_and_ends_what_was(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    other = f"{unique}-2"
    async with hosted(postgres, redis) as api:
        await data(api, unique, "friend.request", user=other)
        await data(api, other, "block.add", user=unique)
        assert (await data(api, unique, "friend.list"))["friends"] == []
        assert await code(api, unique, "friend.request", user=other) == "forbidden"
        (blocked,) = (await data(api, other, "block.list"))["blocked"]
        assert blocked["user"] == unique
        await data(api, other, "block.remove", user=unique)
        assert (await data(api, other, "block.list"))["blocked"] == []
        assert (await data(api, unique, "friend.request", user=other))["state"] == "requested"
