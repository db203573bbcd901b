"""A studio's other services ask whose an access token is."""

from __future__ import annotations

import time

from persistence import PostgresSettings, RedisSettings
from tests.actors.accounts.test_sign_in import refusal, signed_in
from tests.actors.apis import hosted
from tests.actors.edge.api.test_walk import made
from tests.left_out import together_with


@together_with("keys")
async def test_a_back_end_is_told_whose_a_token_is_and_when_it_is_void(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        ada, bob = await signed_in(api), await signed_in(api)
        key = await made(api, ["account.introspect"])
        given = {"token": ada["access_token"]}
        found = (await api.send("POST", "/v1/introspect", given, token=key)).data
        assert found["expires"] > time.time() * 1000
        assert (found["active"], found["user"], found["name"], found["sign_in"]) == (
            True, ada["user"], "Ada", ada["sign_in"],
        )  # fmt: skip
        await other.send("DELETE", "/v1/sign-ins", token=ada["access_token"])
        assert await refusal(api, ada["access_token"]) == "signed_out"
        for token, code in (
            (ada["access_token"], "signed_out"),
            (ada["access_token"][:-2], "bad_token"),
            (api.token("guest-1"), "bad_token"),
            (key, "bad_token"),
        ):
            gone = (await api.send("POST", "/v1/introspect", {"token": token}, token=key)).data
            assert (gone["active"], gone["code"], gone["user"]) == (False, code, "")
        asked = {"token": bob["access_token"]}
        by_player = await api.send("POST", "/v1/introspect", asked, token=bob["access_token"])
        assert by_player.code == "forbidden"
        narrow = await made(api, ["storage.*"])
        assert (await api.send("POST", "/v1/introspect", asked, token=narrow)).code == "forbidden"
