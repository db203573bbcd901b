"""The ways into an account: added, listed, taken away, by one and on two nodes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from persistence import PostgresSettings, RedisSettings
from tests.actors.accounts.test_sign_in import access_of, refreshed, refusal, signed_in
from tests.actors.apis import ApiAnswer, HostedApi, hosted
from tests.actors.edge.api.test_walk import made
from tests.left_out import together_with


async def link(api: HostedApi, token: str, proof: str, provider: str = "device") -> ApiAnswer:
    return await api.call("account.link", {"provider": provider, "proof": proof}, token=token)


async def unlink(api: HostedApi, token: str, identity: dict[str, Any]) -> ApiAnswer:
    given = {"provider": identity["provider"], "id": identity["id"]}
    return await api.call("account.unlink", given, token=token)


async def identities(api: HostedApi, token: str) -> list[dict[str, Any]]:
    found = (await api.call("account.identities", token=token)).data["identities"]
    assert isinstance(found, list)
    return found


async def providers(api: HostedApi, token: str) -> list[str]:
    return [one["provider"] for one in await identities(api, token)]


async def test_a_way_is_added_listed_used_and_taken_away(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api, "device", device=f"{unique}-desk")
        token = ada["access_token"]
        phone = (await link(api, token, f"{unique}-phone")).data
        assert (await link(api, token, f"{unique}-phone")).data == phone  # a repeat is harmless
        listed = await identities(api, token)
        assert listed[1] == phone
        assert f"{unique}-phone" not in str(listed)
        assert (await signed_in(api, "device", device=f"{unique}-phone"))["user"] == ada["user"]
        assert (await unlink(api, token, listed[0])).status == 204
        assert await identities(api, token) == [phone]
        again = await unlink(api, token, listed[0])
        assert (again.status, again.code) == (404, "unknown_identity")
        assert (await signed_in(api, "device", device=f"{unique}-desk"))["user"] != ada["user"]
        last = await unlink(api, token, phone)
        assert (last.status, last.code) == (409, "last_way")
        assert await identities(api, token) == [phone]


async def test_an_identity_that_another_account_has_is_refused_and_stays_there(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api, "device", device=f"{unique}-ada")
        bob = await signed_in(api, "device", device=f"{unique}-bob")
        taken = await link(api, bob["access_token"], f"{unique}-ada")
        assert (taken.status, taken.code) == (409, "identity_taken")
        assert (await signed_in(api, "device", device=f"{unique}-ada"))["user"] == ada["user"]
        assert len(await identities(api, bob["access_token"])) == 1
        # A guest that is refused has not become an account.
        guest = api.token(f"guest-{unique}")
        assert (await link(api, guest, f"{unique}-ada")).code == "identity_taken"
        assert await identities(api, guest) == []
        ((theirs,), (other,)) = [await identities(api, one["access_token"]) for one in (ada, bob)]
        assert (await unlink(api, bob["access_token"], theirs)).code == "unknown_identity"
        assert theirs != other


@together_with("storage", "matches")
async def test_a_guest_becomes_an_account_in_place_and_loses_nothing(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    guest, save = f"guest-{unique}", {"collection": "saves", "key": "1", "value": "[7]"}
    async with hosted(postgres, redis) as api:
        token = api.token(guest, "Zoe")
        assert (await api.call("storage.write", {"objects": [save]}, token=token)).status == 200
        created = await api.call("match.create", {"game": "tictactoe"}, token=token)
        assert (await link(api, token, unique)).data["provider"] == "device"
        assert sorted(await providers(api, token)) == ["device", "guest"]
        zoe = await signed_in(api, "device", device=unique, name="Other")
        assert (zoe["user"], zoe["name"], zoe["created"]) == (guest, "Zoe", False)
        asked = {"objects": [{"collection": "saves", "key": "1"}]}
        for shown in (token, zoe["access_token"]):  # the session of the guest goes on
            (found,) = (await api.call("storage.read", asked, token=shown)).data["objects"]
            assert (found["user"], found["value"]) == (guest, "[7]")
        listed = (await api.call("match.list", token=zoe["access_token"])).data["matches"]
        assert created.data["match"] in {one["match"] for one in listed}


async def test_the_way_of_a_guest_can_be_taken_and_does_not_come_back(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        guest = api.token(f"guest-{unique}")
        zoe = await signed_in(api, "device", token=guest, device=unique)
        token = zoe["access_token"]
        listed = {one["provider"]: one for one in await identities(api, token)}
        # A guest's way runs out by itself, so it is not enough.
        assert (await unlink(api, token, listed["device"])).code == "last_way"
        assert (await unlink(api, token, listed["guest"])).status == 204
        assert (await api.call("ping", token=guest)).code == "signed_out"
        assert (await link(api, guest, f"{unique}-thief")).code == "signed_out"
        with trio.fail_after(30):
            while True:  # the other node looks for it
                try:
                    access_of(other).check(zoe["user"], "")
                except Exception:
                    break
                await trio.sleep(0.01)
        assert (await api.call("ping", token=token)).status == 200
        assert (await link(api, token, "anything", "guest")).code == "unknown_provider"


async def test_a_guest_that_signs_in_to_an_account_it_has_elsewhere_stays_as_it_was(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api, "device", device=unique)
        guest = api.token(f"guest-{unique}")
        again = await signed_in(api, "device", token=guest, device=unique)
        assert (again["user"], again["created"]) == (ada["user"], False)
        assert await providers(api, ada["access_token"]) == ["device"]
        assert await providers(api, guest) == []


@together_with("keys")
async def test_only_a_back_end_adds_a_custom_id_and_only_for_a_user(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api, "device", device=unique)
        refused = await link(api, ada["access_token"], unique, "custom")
        assert refused.code == "forbidden"
        key = await made(api, ["account.*"])
        asked = {"provider": "custom", "proof": unique}
        assert (await api.call("account.link", asked, token=key)).code == "forbidden"
        on_behalf = {"greenroom-user": ada["user"]}
        done = await api.call("account.link", asked, token=key, headers=on_behalf)
        assert done.data["provider"] == "custom"
        body = {"name": "Ada", "custom": unique}
        back = await api.send("POST", "/v1/sign-in/custom", body, token=key)
        assert back.data["user"] == ada["user"]


@pytest.mark.parametrize(
    ("provider", "proof", "code"),
    [
        ("device", "short", "bad_message"),
        ("device", "x" * 129, "bad_message"),
        ("nobody", "x" * 20, "unknown_provider"),
        ("Not a name", "x" * 20, "bad_message"),
        ("device", "x" * 10_000, "bad_message"),
    ],
)
async def test_a_proof_that_cannot_be_one_is_refused(
    postgres: PostgresSettings, redis: RedisSettings, provider: str, proof: str, code: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api)
        assert (await link(api, ada["access_token"], proof, provider)).code == code


async def test_an_account_has_so_many_ways_and_no_more(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis, ["accounts.identities=2"]) as api:
        token = (await signed_in(api, "device", device=unique))["access_token"]
        assert (await link(api, token, f"{unique}-2")).status == 200
        assert (await link(api, token, f"{unique}-3")).code == "quota_exceeded"
        assert (await link(api, token, f"{unique}-2")).status == 200


async def on_both(ask: Callable[[int], Any], count: int) -> list[ApiAnswer]:
    """The answers to requests that are sent at once."""
    answers: list[ApiAnswer] = []

    async def one(number: int) -> None:
        answers.append(await ask(number))

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    return answers


async def test_one_identity_that_two_accounts_want_at_once_on_two_nodes_is_of_one(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as one, hosted(postgres, redis) as two:
        nodes = (one, two)
        tokens = [(await signed_in(nodes[i % 2]))["access_token"] for i in range(6)]
        answers = await on_both(lambda i: link(nodes[i % 2], tokens[i], unique), 6)
        assert sorted(answer.status for answer in answers) == [200] + [409] * 5
        assert {answer.code for answer in answers if answer.status == 409} == {"identity_taken"}


async def test_of_two_ways_taken_at_once_on_two_nodes_one_stays(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as one, hosted(postgres, redis) as two:
        nodes = (one, two)
        await signed_in(two)  # it knows the keys
        for turn in range(5):
            ada = await signed_in(one, "device", device=f"{unique}-{turn}-desk")
            token = ada["access_token"]
            assert (await link(two, token, f"{unique}-{turn}-phone")).status == 200
            ways = await identities(one, token)
            answers = await on_both(
                lambda i, token=token, ways=ways: unlink(nodes[i], token, ways[i]),  # type: ignore[misc]
                2,
            )
            assert sorted(answer.status for answer in answers) == [204, 409]
            assert len(await identities(two, token)) == 1


@together_with("keys", "audit")
async def test_links_are_in_the_audit_log_without_the_proof(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api, "device", device=unique)
        token = ada["access_token"]
        phone = (await link(api, token, f"{unique}-phone")).data
        await unlink(api, token, phone)
        key = await made(api, ["audit.list"], "viewer")
        entries = (await api.call("audit.list", {"on_whom": ada["user"]}, token=key)).data[
            "entries"
        ]
        assert [one["what"] for one in entries[:2]] == ["account.unlinked", "account.linked"]
        assert entries[0]["details"] == {"provider": "device", "id": phone["id"]}
        assert f"{unique}-phone" not in str(entries)


async def test_the_ways_go_with_the_account_and_are_in_the_export(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        service = api.services["accounts"]
        assert service.export is not None
        assert service.erase is not None
        ada = await signed_in(api, "device", device=unique)
        await link(api, ada["access_token"], f"{unique}-phone")
        (found,) = await service.export(ada["user"])
        assert found["ways"] == ["device", "device"]
        await service.erase(ada["user"])
        assert await refusal(api, ada["access_token"]) == "signed_out"
        bob = await signed_in(api)
        assert (await link(api, bob["access_token"], f"{unique}-phone")).status == 200
        assert (await refreshed(api, bob["refresh_token"])).status == 200
