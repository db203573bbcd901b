"""Ops over HTTP: the same types, limits, errors and idempotency as on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from persistence import PostgresSettings, RedisSettings
from protocol.errors import ERRORS
from tests.actors.apis import HostedApi, hosted

ONE = {"collection": "saves", "key": "1"}
WRITE = {"objects": [{**ONE, "value": "[7]"}]}


async def written(api: HostedApi, user: str, **headers: str) -> Any:
    found = await api.call(
        "storage.write", WRITE, token=api.token(user), headers={"idempotency-key": "k", **headers}
    )
    return found.data


async def test_what_is_written_over_http_is_read_over_http(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        token = api.token(unique)
        (version,) = (await api.call("storage.write", WRITE, token=token)).data["versions"]
        (found,) = (await api.call("storage.read", {"objects": [ONE]}, token=token)).data["objects"]
        assert (found["value"], found["version"], found["user"]) == ("[7]", version, unique)
        gone = await api.call("storage.delete", {"objects": [ONE]}, token=token)
        assert (gone.status, gone.body) == (204, None)
        listed = await api.call("storage.list", {"collection": "saves"}, token=token)
        assert listed.data == {"objects": [], "cursor": None}
        assert (await api.call("ping", token=token)).data["time"] > 0


async def test_a_request_with_an_idempotency_key_acts_once(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        first = await written(api, unique)
        assert await written(api, unique) == first
        quoted = {"idempotency-key": '"k"'}
        again = await api.call("storage.write", WRITE, token=api.token(unique), headers=quoted)
        assert again.data == first
        in_body = await api.call("storage.write", {**WRITE, "key": "k"}, token=api.token(unique))
        assert in_body.data == first
        other = {"objects": [{**ONE, "value": "[8]"}]}
        reused = await api.call("storage.write", other, token=api.token(unique), headers=quoted)
        assert (reused.status, reused.code) == (422, "key_reused")


@pytest.mark.parametrize("key", ["", '""', "x" * 65, "two\nlines", 'a"b'])
async def test_an_idempotency_key_that_is_none_is_refused(
    postgres: PostgresSettings, redis: RedisSettings, unique: str, key: str
) -> None:
    async with hosted(postgres, redis) as api:
        found = await api.call(
            "storage.write", WRITE, token=api.token(unique), headers={"idempotency-key": key}
        )
        assert (found.status, found.code) == (400, "bad_message")


async def test_a_header_and_a_field_that_differ_are_refused(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        found = await api.call(
            "storage.write",
            {**WRITE, "key": "one"},
            token=api.token(unique),
            headers={"idempotency-key": "two"},
        )
        assert found.code == "bad_message"


async def test_named_errors_have_their_status(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        token = api.token(unique)

        def writes(**fields: Any) -> Any:
            return {"objects": [{**ONE, **fields}]}

        cases: list[tuple[str, Any, str]] = [
            ("storage.write", writes(value="["), "bad_message"),
            ("storage.write", writes(value='"' + "x" * 70_000 + '"'), "too_long"),
            ("storage.write", writes(value="1", version=9), "version_conflict"),
            ("storage.list", {"collection": "a", "limit": 1000}, "out_of_range"),
            ("storage.list", {"collection": "a", "cursor": "x"}, "bad_cursor"),
            ("match.create", {"game": "nope"}, "unknown_game"),
            ("room.join", {"room": "lobby"}, "needs_session"),
            ("match.join", {"match": "m"}, "needs_session"),
            ("inbox.history", {}, "needs_session"),
            ("session.close", {}, "needs_session"),
            ("no.such", {}, "unknown_op"),
        ]
        for op, body, code in cases:
            found = await api.call(op, body, token=token)
            assert (found.code, found.status) == (code, ERRORS[code].status), op


async def test_a_match_can_be_created_and_is_listed(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        token = api.token(unique)
        made = await api.call(
            "match.create", {"game": "tictactoe"}, token=token, headers={"idempotency-key": unique}
        )
        listed = (await api.call("match.list", token=token)).data["matches"]
        assert made.data["match"] in {one["match"] for one in listed}


async def test_who_does_not_say_who_it_is_gets_nothing(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        for headers in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer"}):
            found = await api.call("ping", headers=headers)
            assert (found.status, found.code) == (401, "unauthenticated")
            assert found.headers["www-authenticate"] == "Bearer"
        token = api.token(unique)
        for wrong in ("x", token[:-2] + "AA", token + "A", "gk_x_y", "\xe9"):
            found = await api.call("ping", token=wrong)
            assert (found.status, found.code) == (401, "bad_token"), wrong
        on_behalf = await api.call("ping", token=token, headers={"greenroom-user": "other"})
        assert on_behalf.code == "forbidden"


async def test_other_methods_types_and_addresses_are_named(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        found = await api.send("GET", "/v1/rpc/ping")
        assert (found.status, found.code) == (405, "method_not_allowed")
        assert found.headers["allow"] == "POST"
        assert (await api.send("GET", "/v1/nothing")).code == "not_found"
        assert (await api.send("GET", "/v1/%ff")).code == "not_found"
        typed = await api.call(
            "ping", token=api.token(unique), headers={"content-type": "text/plain"}
        )
        assert (typed.status, typed.code) == (415, "not_json")
        utf8 = {"content-type": "application/json; charset=utf-8"}
        assert (await api.call("ping", token=api.token(unique), headers=utf8)).status == 200


async def test_a_caller_over_its_rate_is_told_when_to_come_again(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    limits = ("sessions.messages_per_s=0.5", "sessions.messages_burst=3")
    async with hosted(postgres, redis, limits) as api:
        found = [await api.call("ping", token=api.token(unique)) for _ in range(4)]
        assert [one.status for one in found] == [200, 200, 200, 429]
        assert found[-1].code == "rate_limited"
        assert int(found[-1].headers["retry-after"]) >= 1
        assert (await api.call("ping", token=api.token("another"))).status == 200


async def test_an_address_over_its_rate_is_refused_before_its_token_is_looked_at(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    limits = ("sessions.address_messages_per_s=0.5", "sessions.address_messages_burst=2")
    async with hosted(postgres, redis, limits) as api:
        for status in (401, 401, 429):
            found = await api.send("POST", "/v1/rpc/ping", token="x", address="192.0.2.9")
            assert found.status == status
        assert (await api.send("POST", "/v1/rpc/ping", token="x")).status == 401
