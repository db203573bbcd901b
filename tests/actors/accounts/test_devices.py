"""The sign-ins of an account: listed, ended, and how many there may be, on two nodes."""

from __future__ import annotations

from typing import Any

import trio

from persistence import PostgresSettings, RedisSettings
from tests.actors.accounts.test_sign_in import access_of, refreshed, refusal, signed_in
from tests.actors.apis import ApiAnswer, HostedApi, hosted


async def labels(api: HostedApi, user: Any) -> list[str]:
    found = (await api.call("account.sessions", token=user["access_token"])).data
    return [one["label"] for one in found["sessions"]]


async def test_a_user_sees_where_they_are_signed_in_and_ends_one_or_all_others(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        desk, phone, pad = [
            await signed_in(node, "device", device=f"{unique}-device", label=label)
            for node, label in ((api, "desk"), (other, "phone"), (api, "pad"))
        ]
        bob, token = await signed_in(api), desk["access_token"]
        listed = (await api.call("account.sessions", token=token)).data["sessions"]
        assert {one["label"]: one["current"] for one in listed} == {
            "desk": True, "phone": False, "pad": False,
        }  # fmt: skip
        ended = {"sign_in": phone["sign_in"]}
        strange = await api.call("account.end_session", ended, token=bob["access_token"])
        assert strange.data == {"ended": 0}
        for count in (1, 0):
            answer = await api.call("account.end_session", ended, token=token)
            assert answer.data == {"ended": count}
        assert await refusal(other, phone["access_token"]) == "signed_out"
        answer = await api.call("account.end_sessions", {"others": True}, token=token)
        assert answer.data == {"ended": 1}
        assert (await refreshed(api, pad["refresh_token"])).code == "signed_out"
        assert await labels(api, desk) == ["desk"]
        assert (await api.call("account.end_sessions", token=token)).data == {"ended": 1}
        for node in (api, other):
            assert await refusal(node, token) == "signed_out"
        access_of(api).verify(bob["access_token"])
        guest = api.token(f"guest-{unique}")
        assert (await api.call("account.sessions", token=guest)).data == {"sessions": []}


async def test_the_sign_in_that_was_not_used_for_longest_gives_way_on_whichever_node(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    three = ("accounts.sign_ins=3",)
    async with hosted(postgres, redis, three) as one, hosted(postgres, redis, three) as two:

        async def sign_in(api: HostedApi, label: str) -> Any:
            return await signed_in(api, "device", device=f"{unique}-device", label=label)

        first, second, third = [
            await sign_in(api, label) for api, label in ((one, "a"), (two, "b"), (one, "c"))
        ]
        first = (await refreshed(two, first["refresh_token"])).data  # the second is the oldest now
        fourth = await sign_in(two, "d")
        assert sorted(await labels(one, fourth)) == ["a", "c", "d"]
        assert (await refreshed(one, second["refresh_token"])).code == "signed_out"
        for api in (one, two):
            assert await refusal(api, second["access_token"]) == "signed_out"
            for kept in (first, third, fourth):
                access_of(api).verify(kept["access_token"])


async def test_the_new_one_gives_way_if_that_is_configured_and_two_nodes_count_as_one(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    full = ("accounts.sign_ins=3", "accounts.sign_ins_full=refuse_new")
    answers: list[ApiAnswer] = []
    async with hosted(postgres, redis, full) as one, hosted(postgres, redis, full) as two:
        body = {"name": "x", "device": f"{unique}-device"}
        first = await signed_in(one, "device", device=f"{unique}-device")
        await signed_in(two)  # the keys are read

        async def sign_in(api: HostedApi) -> None:
            answers.append(await api.send("POST", "/v1/sign-in/device", body))

        async with trio.open_nursery() as nursery:
            for api in (one, two) * 3:
                nursery.start_soon(sign_in, api)
        assert sorted(answer.status for answer in answers) == [200, 200, 409, 409, 409, 409]
        refused = {answer.code for answer in answers if answer.status == 409}
        assert refused == {"sign_ins_full"}
        assert len(await labels(one, first)) == 3
        ended = {"sign_in": first["sign_in"]}
        await one.call("account.end_session", ended, token=first["access_token"])
        assert (await two.send("POST", "/v1/sign-in/device", body)).status == 200
