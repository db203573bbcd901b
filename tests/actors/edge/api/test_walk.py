"""The walk: every op and every route of the HTTP API, with every role, and what is for nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio

from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.api.callers import ApiCaller, Credentials
from actors.edge.identity import Identity
from actors.edge.routes import AskActor, AskSession, OnlyFor
from actors.node.node import routes_of
from actors.service import Running, scopes_of
from persistence import PostgresSettings, RedisSettings
from protocol.errors import BAD_TOKEN, FORBIDDEN, RequestError
from protocol.messages import session as session_messages
from protocol.messages.op import Area
from protocol.messages.op_table import OpTable
from protocol.roles import ANYONE, PLAYER, ROLES, with_included
from tests.actors import trial
from tests.actors.apis import HostedApi, all_services, hosted
from tests.left_out import together_with

WITHIN_S = 30.0
NOT_ALLOWED = {"forbidden", "unauthenticated"}


async def as_role(given: Credentials) -> ApiCaller:
    """A caller whose token is the name of its role."""
    if given.token not in ROLES:
        raise RequestError(BAD_TOKEN)
    roles = with_included([given.token]) | (frozenset() if given.token == ANYONE else {PLAYER})
    return ApiCaller(who=Identity("", "walker", "Walker", roles=roles))


def expected(required: str | None, role: str | None) -> bool:
    """Said in another way than `allows` says it."""
    if required is None:
        return False
    if required == ANYONE:
        return True
    if role is None or role == ANYONE:
        return False
    if required == PLAYER:
        return True
    below = {
        "viewer": {"viewer", "moderator", "support", "operator", "owner"},
        "moderator": {"moderator", "operator", "owner"},
        "support": {"support", "operator", "owner"},
        "operator": {"operator", "owner"},
        "owner": {"owner"},
    }
    return role in below[required]


def routes(api: HostedApi) -> list[ApiRoute]:
    return [route for running in api.services.values() for route in running.api]


async def test_every_op_and_route_is_for_those_who_have_its_role_and_nobody_else(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis, authenticate=as_role) as api:
        for role in (None, *ROLES):
            for name, op in api.ops.ops.items():
                found = await api.send("POST", f"/v1/rpc/{name}", token=role, raw=b"[]")
                refused = found.status >= 400 and found.code in NOT_ALLOWED
                if op.role == ANYONE:  # an op of sessions, for which even a caller is needed here
                    assert found.code in ("needs_session", "unauthenticated"), (name, role)
                else:
                    assert refused != expected(op.role, role), (name, role, found)
            for route in routes(api):
                found = await api.send(
                    route.method, route.path.replace("{id}", "x"), token=role, raw=b"[]"
                )
                refused = found.status >= 400 and found.code in NOT_ALLOWED
                assert refused != expected(route.role, role), (route.path, role, found)


async def test_over_the_wire_every_op_is_for_those_who_have_its_role_and_nobody_else(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    class Client:
        refused = 0
        connection = SimpleNamespace(peer="192.0.2.1")

        def refuse(self, error: RequestError, _: Any) -> None:
            assert error.error is FORBIDDEN
            self.refused += 1

    walked = 0
    async with hosted(postgres, redis) as api:
        found = routes_of(api.ops, api.services.values())
        for name, op in api.ops.ops.items():
            if op.role in (ANYONE, PLAYER):  # every session is a player's
                continue
            route = found[op.request]
            assert isinstance(route, OnlyFor), name
            served: list[str] = []
            route = replace(route, route=AskSession(lambda *_, served=served: served.append("")))
            for role in ROLES:
                client: Any = Client()
                who = Identity("s", "u", "n", roles=with_included([role]))
                asker: Any = SimpleNamespace(who=who)
                served.clear()
                route.serve(asker, client, SimpleNamespace(ref=1))
                assert (len(served), client.refused) == (
                    (1, 0) if expected(op.role, role) else (0, 1)
                ), (name, role)
                walked += 1
    assert walked


async def test_every_scope_of_a_route_is_one_that_its_service_lists(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    """By these lists the command line knows which scopes there are."""
    async with hosted(postgres, redis) as api:
        for service in all_services():
            used = {route.scope for route in api.services[service.name].api} - {""}
            assert used == set(service.scopes), service.name


async def test_a_route_that_names_no_role_is_for_nobody() -> None:
    from actors.edge.api.paths import Paths
    from protocol.roles import allows

    async def handle(_: ApiCall) -> None:
        raise AssertionError

    found = Paths([ApiRoute(method="GET", path="/v1/x", handle=handle)]).find("GET", "/v1/x")
    assert found is not None
    assert not any(allows(found[0].role, with_included([role])) for role in ROLES)


def test_an_op_that_names_no_role_is_for_nobody_over_the_wire_either() -> None:
    areas = [session_messages.AREA, Area(ops=trial.AREA.ops)]
    (cleared,) = [op for op in trial.AREA.ops if op.request is trial.TrialClear]
    nobody = msgspec.structs.replace(cleared, role=None)
    ops = OpTable([areas[0], Area(ops=(nobody,))])
    route: Any = AskActor(("adder", "one"), lambda _, __: trial.Clear())
    running: Any = Running(routes={trial.TrialClear: route})
    found = routes_of(ops, [running])[trial.TrialClear]
    assert isinstance(found, OnlyFor)
    assert found.role is None


SCOPES: Mapping[str, tuple[list[str], bool]] = {
    "the op": (["ping"], True),
    "everything": (["*"], True),
    "its area": (["ping.*"], True),
    "another op": (["keys.list"], False),
}


@pytest.mark.parametrize("which", SCOPES)
async def test_a_key_calls_what_is_within_its_scopes(
    postgres: PostgresSettings, redis: RedisSettings, which: str
) -> None:
    scopes, allowed = SCOPES[which]
    async with hosted(postgres, redis) as api:
        key = await made(api, scopes)
        found = await api.call("ping", token=key)
        assert found.status == (200 if allowed else FORBIDDEN.status)


@together_with("accounts")
async def test_a_key_calls_the_routes_of_its_scopes_and_each_route_has_one(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    body = {"name": "Ada", "custom": unique}
    async with hosted(postgres, redis) as api:
        for route in routes(api):
            assert route.role == ANYONE or scope_is_known(route.scope), route.path
        for scopes, allowed in SCOPES_OF_CUSTOM:
            key = await made(api, scopes)
            found = await api.send("POST", "/v1/sign-in/custom", body, token=key)
            while found.status == 503:  # the keys of access tokens are not read yet
                await trio.sleep(0.01)
                found = await api.send("POST", "/v1/sign-in/custom", body, token=key)
            assert found.status == (200 if allowed else FORBIDDEN.status), scopes


SCOPES_OF_CUSTOM = (
    (["account.sign_in"], True), (["account.*"], True), (["*"], True),
    (["account.sign_ins", "keys.*"], False),
)  # fmt: skip


def scope_is_known(scope: str) -> bool:
    return scope in scopes_of(all_services())


async def made(api: HostedApi, scopes: list[str], *roles: str, rate: float = 1000.0) -> str:
    """The text of a new key, as the command line makes it."""
    create = api.tool("keys", "create")
    (text,) = await create(name="back end", scopes=scopes, roles=list(roles), rate=rate)
    return str(text)


ONE = {"collection": "saves", "key": "1"}


@together_with("storage")
async def test_a_back_end_acts_for_itself_and_on_behalf_of_a_user(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    write = {"objects": [{**ONE, "value": "[7]"}]}
    async with hosted(postgres, redis) as api:
        key = await made(api, ["storage.*"])
        on_behalf = {"greenroom-user": unique}
        assert (await api.call("storage.write", write, token=key, headers=on_behalf)).status == 200
        theirs = await api.call("storage.read", {"objects": [ONE]}, token=api.token(unique))
        assert [one["user"] for one in theirs.data["objects"]] == [unique]
        assert (await api.call("storage.read", {"objects": [ONE]}, token=key)).data["objects"] == []
        await api.call("storage.write", write, token=key)
        own = await api.call("storage.read", {"objects": [ONE]}, token=key)
        assert [one["user"] for one in own.data["objects"]] == [f"key-{key.split('_')[1]}"]


@pytest.mark.parametrize(
    "user", ["", "a\nb", "x" * 65, "ada lovelace", "ada/..", "Zoë", "ada\n", "a,b", "'--", "\x00"]
)
async def test_a_text_that_is_no_id_of_a_user_is_refused(
    postgres: PostgresSettings, redis: RedisSettings, user: str
) -> None:
    async with hosted(postgres, redis) as api:
        key = await made(api, ["ping"])
        for good in ("guest-_x-Y9", "steam:7656", "x" * 64):
            found = await api.call("ping", token=key, headers={"greenroom-user": good})
            assert found.status == 200
        found = await api.call("ping", token=key, headers={"greenroom-user": user})
        assert (found.status, found.code) == (400, "bad_user")


@together_with("storage")
async def test_a_key_does_not_act_as_another_key(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    write = {"objects": [{**ONE, "value": "[7]", "read": "owner"}]}
    async with hosted(postgres, redis) as api:
        other, key = await made(api, ["storage.*"]), await made(api, ["storage.*"])
        assert (await api.call("storage.write", write, token=other)).status == 200
        as_other = {"greenroom-user": f"key-{other.split('_')[1]}"}
        for op, request in (
            ("storage.read", {"objects": [ONE]}),
            ("storage.list", {"collection": ONE["collection"]}),
            ("storage.write", write),
        ):
            assert (await api.call(op, request, token=key, headers=as_other)).code == "forbidden"


async def test_on_behalf_of_a_user_a_key_has_no_role_of_staff(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        key = await made(api, ["*"], "owner")
        assert (await api.send("GET", "/v1/keys", token=key)).status == 200
        on_behalf = {"greenroom-user": unique}
        assert (await api.send("GET", "/v1/keys", token=key, headers=on_behalf)).code == "forbidden"


async def test_a_revoked_key_a_changed_one_and_one_that_never_was_are_refused_alike(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        key = await made(api, ["*"])
        good = await api.call("ping", token=key)
        other = "AAAA" if key[-4:] != "AAAA" else "BBBB"
        changed = await api.call("ping", token=key[:-4] + other)
        never = await api.call("ping", token=f"gk_{'0' * 16}_{'A' * 43}")
        await api.tool("keys", "revoke")(key=key.split("_")[1])
        revoked = good
        with trio.fail_after(WITHIN_S):  # every node looks within a second
            while revoked.status != 401:
                await trio.sleep(0.02)
                revoked = await api.call("ping", token=key)
        assert good.status == 200
        assert changed == never == revoked
        assert (revoked.status, revoked.code) == (401, "bad_token")


async def test_a_key_has_a_rate_of_its_own(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        key = await made(api, ["ping"], rate=0.5)
        assert [(await api.call("ping", token=key)).status for _ in range(2)] == [200, 429]


async def test_an_operator_makes_lists_and_revokes_keys_but_none_above_itself(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        operator = await made(api, ["*"], "operator")
        new = {"name": unique, "scopes": ["keys.list"], "roles": ["support"]}
        made_ = (await api.send("POST", "/v1/keys", new, token=operator)).data
        listed = (await api.send("GET", "/v1/keys", token=operator)).data["keys"]
        (found,) = [one for one in listed if one["name"] == unique]
        assert found == made_["made"]
        assert made_["key"].split("_", 2)[2] not in msgspec.json.encode(listed).decode()
        above = await api.send("POST", "/v1/keys", {**new, "roles": ["owner"]}, token=operator)
        assert above.code == "forbidden"
        wrong = await api.send("POST", "/v1/keys", {**new, "roles": ["player"]}, token=operator)
        assert wrong.code == "bad_message"
        gone = await api.send("DELETE", f"/v1/keys/{found['id']}", token=operator)
        assert gone.status == 204
        assert (await api.send("DELETE", "/v1/keys/none", token=operator)).code == "not_found"
        assert (await api.call("ping", token=made_["key"])).code == "bad_token"


async def test_neither_rows_nor_lists_have_the_secret_of_a_key(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    import psycopg

    async with hosted(postgres, redis) as api:
        key = await made(api, ["*"])
        await api.call("ping", token=key)
        lines = "\n".join(await api.tool("keys", "list")())
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute(f'SELECT k::text FROM "{postgres.schema}".api_keys AS k')
        text = lines + "\n".join(row[0] for row in rows)
    assert key.split("_")[1] in text
    assert key.split("_", 2)[2] not in text


async def test_that_a_key_is_used_is_noted(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    from actors.keys.rows import FindKey

    async with hosted(postgres, redis) as api:
        key = await made(api, ["*"])
        await api.call("ping", token=key)
        used = None
        while used is None:  # it is noted behind the answer
            used = (await api.stores.facts.ask(FindKey(key.split("_")[1]))).key.used
