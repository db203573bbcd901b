"""The first owner: a one-time secret makes an account an owner's."""

from __future__ import annotations

import trio

from actors.accounts.owner import greeting
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.connection import connect, transaction
from tests.actors.accounts.test_sign_in import refreshed, signed_in
from tests.actors.apis import ApiAnswer, HostedApi, hosted, migrated
from tests.conftest import Stores
from tests.left_out import together_with

pytestmark = together_with("keys", "audit")


async def claim(api: HostedApi, token: str, secret: str) -> ApiAnswer:
    return await api.send("POST", "/v1/owner", {"secret": secret}, token=token)


def secret_of(line: str) -> str:
    return next(word for word in line.split() if word.startswith("gro_"))


async def test_a_server_greets_a_new_database_with_a_secret_and_never_again(
    stores: Stores, redis: RedisSettings, unique: str
) -> None:
    postgres = migrated(stores.postgres_url, unique)
    async with hosted(postgres, redis) as api:
        (line,) = greeting(postgres, api.settings)
        assert "valid for 1 day, 0:00:00" in line
        assert list(greeting(postgres, api.settings)) == []
        ada = await signed_in(api)
        assert (await claim(api, ada["access_token"], secret_of(line))).status == 204
        ada = (await refreshed(api, ada["refresh_token"])).data
        listed = await api.call("audit.list", {"what": "role.given"}, token=ada["access_token"])
        (entry,) = listed.data["entries"]
        assert (entry["who"], entry["on_whom"]) == (ada["user"], ada["user"])
        assert entry["details"] == {"role": "owner", "by": "one-time secret"}
        assert (await api.send("GET", "/v1/keys", token=ada["access_token"])).status == 200


async def test_a_secret_is_used_once_and_a_newer_one_makes_it_void(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        ada, bob = await signed_in(api), await signed_in(api)
        (void,), (secret,) = (
            await api.tool("accounts", "owner")(),
            await api.tool("accounts", "owner")(),
        )
        assert (await claim(api, bob["access_token"], void)).code == "bad_token"
        assert (await claim(api, ada["access_token"], secret)).status == 204
        assert (await claim(api, ada["access_token"], secret)).status == 204  # a retry
        assert (await claim(api, bob["access_token"], secret)).code == "bad_token"
        assert (await claim(api, bob["access_token"], "gro_guess")).code == "bad_token"
        bob = (await refreshed(api, bob["refresh_token"])).data
        assert (await api.send("GET", "/v1/keys", token=bob["access_token"])).code == "forbidden"


async def test_of_many_who_use_a_secret_at_once_on_two_nodes_one_becomes_the_owner(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as one, hosted(postgres, redis) as two:
        (secret,) = await one.tool("accounts", "owner")()
        players = [(api, await signed_in(api)) for api in (one, two) * 3]
        statuses: list[int] = []

        async def use(api: HostedApi, token: str) -> None:
            statuses.append((await claim(api, token, secret)).status)

        async with trio.open_nursery() as nursery:
            for api, player in players:
                nursery.start_soon(use, api, player["access_token"])
        assert sorted(statuses) == [204, *[401] * 5]


async def test_a_secret_runs_out_and_is_for_accounts_alone(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis, ["accounts.owner_secret_s=0.001"]) as api:
        ada = await signed_in(api)
        (secret,) = await api.tool("accounts", "owner")()
        await trio.sleep(0.01)
        assert (await claim(api, ada["access_token"], secret)).code == "bad_token"
    async with hosted(postgres, redis) as api:
        (secret,) = await api.tool("accounts", "owner")()
        assert (await claim(api, api.token(unique), secret)).code == "forbidden"
        (key,) = await api.tool("keys", "create")(name="n", scopes=["*"], roles=[], rate=9.0)
        assert (await claim(api, key, secret)).code == "forbidden"
        with connect(postgres) as connection, transaction(connection, postgres):
            rows = connection.execute("SELECT o::text FROM owner_secrets AS o").fetchall()
        assert secret not in str(rows)
