"""Signing in over HTTP, with the real stores: on one node, on two, and after a restart."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import actors
from actors.accounts.access import AccountAccess
from actors.edge.access import AccessEnded
from actors.edge.identity import Identity
from actors.edge.session import KIND as SESSION
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.connection import connect, transaction
from protocol.errors import SIGN_IN_ENDED, RequestError
from tests.actors.apis import HostedApi, hosted

WITHIN_S = 30.0


def access_of(api: HostedApi) -> AccountAccess:
    access = api.services["accounts"].access
    assert isinstance(access, AccountAccess)
    return access


async def signed_in(
    api: HostedApi, way: str = "guest", token: str | None = None, **body: Any
) -> Any:
    """Sign in, as soon as the node has read the keys."""
    given = {"name": "Ada", **body}
    path = f"/v1/sign-in/{way}"
    with trio.fail_after(WITHIN_S):
        found = await api.send("POST", path, given, token=token)
        while found.status == 503:
            await trio.sleep(0.01)
            found = await api.send("POST", path, given, token=token)
    return found.data


async def refreshed(api: HostedApi, token: str) -> Any:
    return await api.send("POST", "/v1/refresh", {"refresh_token": token})


async def refusal(api: HostedApi, token: str) -> str:
    """The code with which an access token is refused, once it is."""
    with trio.fail_after(WITHIN_S):
        while True:
            try:
                access_of(api).verify(token)
            except RequestError as error:
                return error.error.code
            await trio.sleep(0.01)


async def test_a_guest_signs_in_and_calls_ops_with_the_access_token(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api)
        assert ada["created"]
        assert (await api.call("ping", token=ada["access_token"])).data["time"] > 0
        grant = access_of(api).verify(ada["access_token"])
        assert (grant.user, grant.name, grant.sign_in) == (ada["user"], "Ada", ada["sign_in"])
        bad = await api.call("ping", token=ada["access_token"][:-2])
        assert (bad.status, bad.code) == (401, "bad_token")


async def test_a_device_comes_back_to_its_account(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        first = await signed_in(api, "device", device=unique)
        again = await signed_in(api, "device", device=unique, name="Other")
        assert (again["user"], again["name"], again["created"]) == (first["user"], "Ada", False)
        other = await signed_in(api, "device", device=f"{unique}-2")
        assert other["user"] != first["user"]


async def test_one_device_that_signs_in_on_two_nodes_at_once_gets_one_account(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    users: set[str] = set()

    async def sign_in(api: HostedApi) -> None:
        users.add((await signed_in(api, "device", device=unique))["user"])

    async with (
        hosted(postgres, redis) as one,
        hosted(postgres, redis) as two,
        trio.open_nursery() as nursery,
    ):
        for api in (one, two) * 5:
            nursery.start_soon(sign_in, api)
    assert len(users) == 1


async def test_a_guest_of_a_session_becomes_an_account_and_keeps_the_user_id(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        guest = f"guest-{unique}"
        ada = await signed_in(api, "device", token=api.token(guest), device=unique)
        assert ada["user"] == guest
        assert (await signed_in(api, "device", device=unique))["user"] == guest


async def test_only_a_back_end_vouches_for_a_custom_id(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        token = (await signed_in(api))["access_token"]
        body = {"name": "Ada", "custom": unique}
        found = await api.send("POST", "/v1/sign-in/custom", body, token=token)
        assert found.code == "forbidden"
        assert (await api.send("POST", "/v1/sign-in/custom", body)).code == "unauthenticated"


async def test_a_refresh_token_is_used_once_and_a_second_use_ends_the_sign_in(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        ada = await signed_in(api)
        second = (await refreshed(api, ada["refresh_token"])).data
        third = (await refreshed(api, second["refresh_token"])).data
        assert {second["user"], third["user"]} == {ada["user"]}
        assert third["sign_in"] == ada["sign_in"]
        stolen = await refreshed(api, ada["refresh_token"])
        assert (stolen.status, stolen.code) == (401, "signed_out")
        for token in (ada, second, third):
            assert (await refreshed(api, token["refresh_token"])).code == "signed_out"
        for node in (api, other):
            assert await refusal(node, third["access_token"]) == "signed_out"


async def test_of_two_who_use_one_refresh_token_at_once_one_at_most_goes_on(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as one, hosted(postgres, redis) as two:
        ada = await signed_in(one)
        answers: list[Any] = []

        async def use(api: HostedApi) -> None:
            answers.append(await refreshed(api, ada["refresh_token"]))

        async with trio.open_nursery() as nursery:
            for api in (one, two) * 3:
                nursery.start_soon(use, api)
        assert sum(answer.status == 200 for answer in answers) == 1


async def test_sign_ins_are_listed_and_ended_one_by_one_and_all_at_once(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        desk = await signed_in(api, "device", device=unique, label="desk")
        phone = await signed_in(other, "device", device=unique, label="phone")
        bob = await signed_in(api)
        token = desk["access_token"]
        listed = (await api.send("GET", "/v1/sign-ins", token=token)).data["sign_ins"]
        assert {one["label"] for one in listed} == {"desk", "phone"}
        path = f"/v1/sign-ins/{phone['sign_in']}"
        strange = await api.send("DELETE", path, token=bob["access_token"])
        assert strange.code == "not_found"
        assert (await api.send("DELETE", path, token=token)).status == 204
        assert (await api.send("DELETE", path, token=token)).code == "not_found"
        assert (await refreshed(other, phone["refresh_token"])).code == "signed_out"
        listed = (await api.send("GET", "/v1/sign-ins", token=token)).data["sign_ins"]
        assert [one["label"] for one in listed] == ["desk"]
        for node in (api, other):
            assert await refusal(node, phone["access_token"]) == "signed_out"
        access_of(other).verify(token)
        assert (await api.send("DELETE", "/v1/sign-ins", token=token)).status == 204
        for node in (api, other):
            assert await refusal(node, token) == "signed_out"
            access_of(node).verify(bob["access_token"])


async def test_a_session_of_another_node_ends_with_its_sign_in(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    told = trio.Event()

    class Told(actors.Actor):
        """Stands for the session."""

        @actors.handles(AccessEnded)
        def end(self, message: AccessEnded) -> None:
            assert message.close is SIGN_IN_ENDED
            told.set()

    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        ada = await signed_in(api)
        other.system.start(Told, kind=SESSION, key="s1")
        who = Identity("s1", ada["user"], "Ada", sign_in=ada["sign_in"])
        access_of(other).entered(who)
        await api.send("DELETE", "/v1/sign-ins", token=ada["access_token"])
        with trio.fail_after(WITHIN_S):
            await told.wait()


async def test_tokens_stay_valid_over_a_restart_and_on_every_node(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api)
        ended = await signed_in(api)
        await api.send("DELETE", "/v1/sign-ins", token=ended["access_token"])
    async with hosted(postgres, redis) as api:
        await signed_in(api)
        assert access_of(api).verify(ada["access_token"]).user == ada["user"]
        assert await refusal(api, ended["access_token"]) == "signed_out"
        assert (await refreshed(api, ada["refresh_token"])).data["user"] == ada["user"]


async def test_a_new_key_takes_over_and_tokens_of_the_old_one_stay_valid(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api)
        with connect(postgres) as connection, transaction(connection, postgres):
            connection.execute(
                "UPDATE account_keys SET created_at = created_at - interval '8 days'"
            )
    async with hosted(postgres, redis) as api:
        await signed_in(api)
        assert access_of(api).verify(ada["access_token"]).user == ada["user"]
        with connect(postgres) as connection, transaction(connection, postgres):
            row = connection.execute("SELECT count(*) FROM account_keys").fetchone()
        assert row == (2,)


async def test_what_is_erased_is_gone_and_its_tokens_are_void(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        service = api.services["accounts"]
        assert service.export is not None
        assert service.erase is not None
        ada = await signed_in(api, "device", device=unique, label="desk")
        (found,) = await service.export(ada["user"])
        assert (found["name"], found["ways"]) == ("Ada", ["device"])
        assert [one["label"] for one in found["sign_ins"]] == ["desk"]
        assert ada["refresh_token"] not in str(found)
        await service.erase(ada["user"])
        assert await service.export(ada["user"]) == []
        assert await refusal(api, ada["access_token"]) == "signed_out"
        assert (await refreshed(api, ada["refresh_token"])).code == "bad_token"
        assert (await signed_in(api, "device", device=unique))["user"] != ada["user"]


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "x" * 65}, {"name": "a\nb"}, {"name": "x", "label": "y" * 65}],
)
async def test_a_name_that_cannot_be_one_is_refused(
    postgres: PostgresSettings, redis: RedisSettings, body: Any
) -> None:
    async with hosted(postgres, redis) as api:
        assert (await api.send("POST", "/v1/sign-in/guest", body)).code == "bad_message"
