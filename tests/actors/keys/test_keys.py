"""Keys: what they may be made with, what is noted of their use, and their rate over all nodes."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.edge.failures import Refused
from actors.keys.rows import ADDRESSES, ApiKey, FindKey, NoteUse
from actors.keys.shared_rate import SharedRates
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.connection import connect, transaction
from protocol.errors import RequestError
from tests.actors.apis import HostedApi, hosted
from tests.left_out import together_with

WITHIN_S = 30.0


async def made(api: HostedApi, *scopes: str, roles: tuple[str, ...] = ()) -> str:
    create = api.tool("keys", "create")
    (text,) = await create(name="back end", scopes=list(scopes) or ["*"], roles=roles, rate=1000.0)
    return str(text)


def id_of(key: str) -> str:
    return key.split("_")[1]


async def audited(api: HostedApi, viewer: str, key: str, what: str, count: int = 1) -> Any:
    """The entries of a key, the newest first, as soon as there are so many."""
    filters = {"on_whom": f"key-{id_of(key)}", "what": what}
    with trio.fail_after(WITHIN_S):
        while True:
            found = (await api.call("audit.list", filters, token=viewer)).data["entries"]
            if len(found) >= count:
                return found
            await trio.sleep(0.01)


@pytest.mark.parametrize(
    ("scope", "hint"),
    [
        ("keys.lsit", "perhaps keys.list"),
        ("kesy.*", "perhaps keys.*"),
        ("Keys.list", "perhaps keys.list"),
        ("keys", ""),
        ("**", ""),
        ("", ""),
    ],
)
async def test_a_scope_that_is_no_op_is_refused_with_what_may_have_been_meant(
    postgres: PostgresSettings, redis: RedisSettings, scope: str, hint: str
) -> None:
    async with hosted(postgres, redis) as api:
        with pytest.raises((Refused, ValueError)) as refused:
            await made(api, "ping", scope)
        assert hint in str(refused.value)
        operator = await made(api, roles=("operator",))
        new = {"name": "n", "scopes": [scope]}
        found = await api.send("POST", "/v1/keys", new, token=operator)
        assert found.code == "bad_message"
        assert hint in found.body["message"]


async def test_no_text_about_a_key_shows_a_pattern(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        operator = await made(api, roles=("operator",))
        wrong: list[dict[str, Any]] = [
            {"name": "n", "scopes": ["?"]},
            {"name": "n", "scopes": ["*"], "roles": ["king"]},
            {"name": "a\nb", "scopes": ["*"]},
        ]
        texts = [
            (await api.send("POST", "/v1/keys", one, token=operator)).body["message"]
            for one in wrong
        ]
        texts.append((await api.call("ping", token="gk_nonsense")).body["message"])
        for tool, given in (
            ("create", {"name": "n", "scopes": ["*"], "roles": ["king"], "rate": 1.0}),
            ("create", {"name": "n", "scopes": ["*"], "roles": [], "rate": 0.0}),
            ("revoke", {"key": "nonsense"}),
        ):
            with pytest.raises((ValueError, Refused)) as refused:
                await api.tool("keys", tool)(**given)
            texts.append(str(refused.value))
        for text in texts:
            assert "regex" not in text, text
            assert "^" not in text, text
        assert "viewer, support, moderator, operator, owner" in texts[1]


async def test_a_key_is_revoked_by_its_whole_text_as_well(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        key = await made(api)
        (line,) = await api.tool("keys", "revoke")(key=key)
        assert line == f"revoked: {id_of(key)} back end"


@together_with("audit")
async def test_what_becomes_of_a_key_is_in_the_audit_log(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        viewer, operator = await made(api, roles=("viewer",)), await made(api, roles=("operator",))
        new = {"name": "shop", "scopes": ["keys.*"], "roles": ["support"]}
        key = (await api.send("POST", "/v1/keys", new, token=operator)).data["key"]
        (entry,) = await audited(api, viewer, key, "key.made")
        assert entry["who"] == f"key-{id_of(operator)}"
        assert entry["address"]
        assert entry["details"] == {"name": "shop", "scopes": ["keys.*"], "roles": ["support"]}
        await api.send("DELETE", f"/v1/keys/{id_of(key)}", token=operator)
        (entry,) = await audited(api, viewer, key, "key.revoked")
        assert entry["who"] == f"key-{id_of(operator)}"


@together_with("audit")
async def test_a_use_from_a_new_address_is_in_the_audit_log_once(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        viewer, key = await made(api, roles=("viewer",)), await made(api)
        for node in (api, other, api):
            for address in ("192.0.2.7", "192.0.2.8"):
                await node.send("POST", "/v1/rpc/ping", {}, token=key, address=address)
        what = "key.used_from_new_address"
        found = await audited(api, viewer, key, what, 2)
        assert {one["address"] for one in found} == {"192.0.2.7", "192.0.2.8"}
        for _ in range(3):
            await api.stores.facts.execute(NoteUse(id_of(key), "192.0.2.7"), user="test")
        assert len(await audited(api, viewer, key, what, 2)) == 2
        assert (await api.stores.facts.ask(FindKey(id_of(key)))).key.used


async def test_the_addresses_that_are_remembered_of_a_key_are_bounded(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        key = id_of(await made(api))
        for number in range(ADDRESSES + 10):
            await api.stores.facts.execute(NoteUse(key, f"192.0.2.{number}"), user="test")
        with connect(postgres) as connection, transaction(connection, postgres):
            (count,) = connection.execute(
                "SELECT count(*) FROM api_key_addresses WHERE key_id = %s", (key,)
            ).fetchone() or (0,)
        assert count == ADDRESSES
        await api.stores.facts.execute(NoteUse("none", "192.0.2.7"), user="test")


async def test_the_rate_of_a_key_holds_over_two_nodes(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    """Each node alone would let all of it in."""
    key = ApiKey(unique, "n", [], [], 20.0, 2.0, "", 0)  # 22 in a window of a second
    async with hosted(postgres, redis) as one, hosted(postgres, redis) as two:
        rates = [
            SharedRates(node.stores.counters, node.system.nursery.start_soon, node.system.now)
            for node in (one, two)
        ]
        let_in = 0
        refusals: list[RequestError] = []
        with trio.move_on_after(WITHIN_S):
            while not all(rate.refused for rate in rates):
                for rate in rates:
                    try:
                        rate.admit(key)
                        let_in += 1
                    except RequestError as error:
                        refusals.append(error)
                await trio.sleep(0.01)
        assert all(rate.refused for rate in rates)
        assert let_in > 22
        assert {one.error.code for one in refusals} == {"rate_limited"}
        assert all(one.retry_in_s is not None and one.retry_in_s > 0 for one in refusals)


async def test_without_valkey_the_rate_of_a_node_holds_alone() -> None:
    class Away:
        async def count(self, *_: Any, window_s: float) -> Any:
            from persistence.counters import CounterValue

            return CounterValue(1e9, False, 10**9, 0, 0.0, window_s)

    async with trio.open_nursery() as nursery:
        rates = SharedRates(Away(), nursery.start_soon, trio.current_time)
        for _ in range(5):
            rates.admit(ApiKey("k", "n", [], [], 1.0, 1.0, "", 0))
            await trio.sleep(0)
        assert rates.refused == 0
        nursery.cancel_scope.cancel()
