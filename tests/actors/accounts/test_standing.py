"""Bans, closings and roles, over the real stores: on one node and on two."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

import actors
from actors.accounts.access import AccountAccess
from actors.accounts.callers import by_whom
from actors.accounts.keeper import AccessKeeper, KnownKeys
from actors.accounts.settings import AccountSettings
from actors.accounts.standing_rows import BanUser, ChangeRole
from actors.edge.access import AccessEnded
from actors.edge.identity import Identity
from actors.edge.session import KIND as SESSION
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.connection import connect, transaction
from protocol.errors import ACCOUNT_BANNED, ACCOUNT_GONE, CloseCode, RequestError
from protocol.roles import STAFF
from tests.actors.accounts.test_sign_in import access_of, refreshed, refusal, signed_in
from tests.actors.apis import ApiAnswer, HostedApi, hosted
from tests.actors.edge.api.test_walk import made
from tests.left_out import together_with

DAY_MS = 86_400_000
WITHIN_S = 30.0


async def staff(api: HostedApi, role: str) -> Any:
    """An account with a role, and its new tokens."""
    user = await signed_in(api)
    facts = api.stores.facts
    command = ChangeRole(user=user["user"], role=role, given=True, by="", void_s=0.0)
    await facts.execute(command, user="")
    return (await refreshed(api, user["refresh_token"])).data


async def ask(api: HostedApi, who: Any, op: str, **body: Any) -> ApiAnswer:
    return await api.call(op, body, token=who["access_token"])


class Session(actors.Actor):
    """Stands for the session of a user, and notes what it is closed with."""

    def __init__(self, closes: list[CloseCode]) -> None:
        super().__init__()
        self._closes = closes

    @actors.handles(AccessEnded)
    def end(self, message: AccessEnded) -> None:
        self._closes.append(message.close)


def enter(api: HostedApi, user: str, sign_in: str = "") -> list[CloseCode]:
    """Have a session on a node, and return what it is closed with."""
    closes: list[CloseCode] = []
    api.system.start(Session, closes, kind=SESSION, key="s1")
    access_of(api).entered(Identity("s1", user, "x", sign_in=sign_in))
    return closes


async def closed_with(closes: list[CloseCode]) -> CloseCode:
    with trio.fail_after(WITHIN_S):
        while not closes:
            await trio.sleep(0.01)
    return closes[0]


async def test_a_ban_ends_sessions_on_every_node_and_is_named_with_its_end_and_reason(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as one, hosted(postgres, redis) as two:
        mod = await staff(one, "moderator")
        ada = await signed_in(two, "device", device=f"{unique}-ada")
        closes = enter(two, ada["user"], ada["sign_in"]), enter(one, ada["user"])
        until = round(time.time() * 1000) + DAY_MS
        body = {"user": ada["user"], "until": until, "reason": "spam"}
        banned = (await ask(one, mod, "account.ban", **body)).data
        assert (banned["state"], banned["until"], banned["reason"]) == ("banned", until, "spam")
        for closed in closes:
            assert await closed_with(closed) is ACCOUNT_BANNED
        for api in (one, two):
            assert await refusal(api, ada["access_token"]) == "banned"
            refused = (
                await api.call("ping", token=ada["access_token"]),
                await refreshed(api, ada["refresh_token"]),
                await api.send(
                    "POST", "/v1/sign-in/device", {"name": "x", "device": f"{unique}-ada"}
                ),
            )
            for answer in refused:
                assert (answer.status, answer.code) == (403, "banned")
                assert "spam" in answer.body["message"]
                assert time.strftime("%Y-%m-%dT", time.gmtime(until / 1000)) in str(answer.body)
                assert answer.body["retry_in_s"] == pytest.approx(DAY_MS / 1000, abs=120)
        # The family of refresh tokens has ended, and the device signs in again after the ban.
        assert (await ask(one, mod, "account.unban", user=ada["user"])).data["state"] == "active"
        assert (await refreshed(one, ada["refresh_token"])).code == "signed_out"
        again = await signed_in(one, "device", device=f"{unique}-ada")
        assert again["user"] == ada["user"]


async def test_a_ban_is_over_by_itself_by_the_clock_of_the_database(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        mod, ada = await staff(api, "moderator"), await signed_in(api)
        until = round(time.time() * 1000) + DAY_MS
        await ask(api, mod, "account.ban", user=ada["user"], until=until, reason="x")
        with connect(postgres) as connection, transaction(connection, postgres):
            connection.execute("UPDATE accounts SET banned_until = now() - interval '1 second'")
        # The only way into a guest's account is its refresh token, so that has outlived the ban.
        found = await refreshed(api, ada["refresh_token"])
        assert found.data["user"] == ada["user"]
        standing = (await ask(api, mod, "account.standing", user=ada["user"])).data
        assert (standing["state"], standing["until"], standing["reason"]) == ("active", None, "")


@pytest.mark.parametrize("wrong_s", [-3600.0, 3600.0])
async def test_a_node_whose_clock_is_an_hour_wrong_refuses_a_banned_user_all_the_same(
    postgres: PostgresSettings, redis: RedisSettings, wrong_s: float
) -> None:
    async with hosted(postgres, redis) as api:
        mod, ada = await staff(api, "moderator"), await signed_in(api)
        closes: list[CloseCode] = []
        wrong = AccountAccess(
            access_of(api).tokens,
            lambda _, ended: closes.append(ended.close),
            lambda: time.time() + wrong_s,
        )
        api.system.start(
            AccessKeeper, api.stores.facts, KnownKeys(), wrong, AccountSettings(),
            kind="wrong-keeper", key="0",
        )  # fmt: skip
        wrong.entered(Identity("s1", ada["user"], "x", sign_in=ada["sign_in"]))
        until = round(time.time() * 1000) + DAY_MS
        await ask(api, mod, "account.ban", user=ada["user"], until=until, reason="x")
        assert await closed_with(closes) is ACCOUNT_BANNED
        with pytest.raises(RequestError, match="banned"):
            wrong.check(ada["user"], ada["sign_in"])
        assert (await refreshed(api, ada["refresh_token"])).code == "banned"


async def test_a_guest_without_an_account_can_be_banned_too(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        mod, guest = await staff(api, "moderator"), f"guest-{unique}"
        banned = (await ask(api, mod, "account.ban", user=guest, reason="x")).data
        assert (banned["state"], banned["until"]) == ("banned", None)
        token = api.token(guest)
        assert (await api.call("ping", token=token)).code == "banned"
        body = {"name": "x"}  # nor does an account help
        assert (await api.send("POST", "/v1/sign-in/guest", body, token=token)).code == "banned"
        await ask(api, mod, "account.unban", user=guest)
        assert (await api.call("ping", token=token)).status == 200


async def test_a_user_closes_the_account_and_staff_opens_it_again(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        helper = await staff(api, "support")
        ada = await signed_in(api, "device", device=f"{unique}-ada")
        closes = enter(other, ada["user"], ada["sign_in"])
        assert (await ask(api, ada, "account.close")).status == 204
        assert await closed_with(closes) is ACCOUNT_GONE
        for node in (api, other):
            assert await refusal(node, ada["access_token"]) == "account_closed"
        body = {"name": "x", "device": f"{unique}-ada"}
        assert (await api.send("POST", "/v1/sign-in/device", body)).code == "account_closed"
        assert (await refreshed(api, ada["refresh_token"])).code == "account_closed"
        opened = (await ask(api, helper, "account.reopen", user=ada["user"])).data
        assert opened["state"] == "active"
        again = await signed_in(api, "device", device=f"{unique}-ada")
        assert (again["user"], again["created"]) == (ada["user"], False)
        token = api.token(f"guest-{unique}")
        assert (await api.call("account.close", token=token)).code == "no_account"


async def test_a_ban_that_is_lifted_leaves_a_closed_account_closed(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        owner, ada = await staff(api, "owner"), await signed_in(api)
        user = {"user": ada["user"]}
        await ask(api, ada, "account.close")
        await ask(api, owner, "account.ban", **user, reason="x")
        assert (await ask(api, owner, "account.unban", **user)).data["state"] == "closed"
        assert (await refreshed(api, ada["refresh_token"])).code == "account_closed"
        assert await refusal(api, ada["access_token"]) != ""
        await ask(api, owner, "account.ban", **user, reason="x")
        assert (await ask(api, owner, "account.reopen", **user)).data["state"] == "banned"


async def test_nobody_bans_those_above_them_nor_themselves(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        people = {role: await staff(api, role) for role in STAFF}
        mod = people["moderator"]
        for role, code in (("owner", "forbidden"), ("operator", "forbidden"), ("viewer", "")):
            body = {"user": people[role]["user"], "reason": "x"}
            answer = await ask(api, mod, "account.ban", **body)
            assert (answer.code if answer.status >= 400 else "") == code
        body = {"user": mod["user"], "reason": "x"}
        assert (await ask(api, mod, "account.ban", **body)).code == "forbidden"
        assert (await ask(api, people["owner"], "account.ban", **body)).status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"until": 1}, "out_of_range"),
        ({"until": 253_402_300_799_001}, "bad_message"),
        ({"reason": ""}, "bad_message"),
        ({"reason": "x" * 257}, "bad_message"),
        ({"user": ""}, "bad_message"),
    ],
)
async def test_a_ban_that_cannot_be_one_is_refused(
    postgres: PostgresSettings, redis: RedisSettings, body: Any, code: str
) -> None:
    async with hosted(postgres, redis) as api:
        mod, ada = await staff(api, "moderator"), await signed_in(api)
        given = {"user": ada["user"], "reason": "x", **body}
        assert (await ask(api, mod, "account.ban", **given)).code == code
        access_of(api).verify(ada["access_token"])


async def test_an_owner_gives_roles_and_a_role_that_is_taken_is_gone_at_once(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api, hosted(postgres, redis) as other:
        owner, ada = await staff(api, "owner"), await signed_in(api)
        user = {"user": ada["user"], "role": "moderator"}
        assert (await ask(api, ada, "account.grant", **user)).code == "forbidden"
        given = (await ask(api, owner, "account.grant", **user)).data
        assert given["roles"] == ["moderator"]
        assert (await ask(api, owner, "account.grant", **user)).data == given
        ada = (await refreshed(api, ada["refresh_token"])).data
        look = {"user": owner["user"]}
        assert (await ask(other, ada, "account.standing", **look)).data["roles"] == ["owner"]
        assert (await ask(api, owner, "account.revoke", **user)).data["roles"] == []
        for node in (api, other):
            assert await refusal(node, ada["access_token"]) == "signed_out"
        mine = {"user": owner["user"], "role": "owner"}
        with connect(postgres) as connection, transaction(connection, postgres):
            connection.execute(
                "UPDATE accounts SET roles = '{}' WHERE user_id <> %s", (owner["user"],)
            )
        assert (await ask(api, owner, "account.revoke", **mine)).code == "forbidden"
        assert (await ask(api, owner, "account.close")).code == "forbidden"
        player = {"user": ada["user"], "role": "player"}
        assert (await ask(api, owner, "account.grant", **player)).code == "bad_message"
        nobody = {"user": "guest-nobody", "role": "viewer"}
        assert (await ask(api, owner, "account.grant", **nobody)).code == "no_account"


async def test_what_staff_does_to_accounts_is_in_the_audit_log(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        owner, ada = await staff(api, "owner"), await signed_in(api)
        user = {"user": ada["user"]}
        await ask(api, owner, "account.ban", **user, reason="a secret reason")
        await ask(api, owner, "account.unban", **user)
        await ask(api, owner, "account.grant", **user, role="viewer")
        await ask(api, owner, "account.revoke", **user, role="viewer")
        listed = (await ask(api, owner, "audit.list", on_whom=ada["user"])).data["entries"]
        names = ("account.banned", "account.unbanned", "role.given", "role.taken")
        by = {one["what"]: one["who"] for one in listed if one["what"] in names}
        assert by == dict.fromkeys(names, owner["user"])
        assert "a secret reason" not in str(listed)


@together_with("keys")
@pytest.mark.parametrize(
    ("op", "body"),
    [
        ("account.link", {"provider": "device", "proof": "x" * 32}),
        ("account.unlink", {"provider": "device", "id": "0" * 16}),
        ("account.close", {}),
        ("account.end_sessions", {}),
        ("account.end_session", {"sign_in": "x"}),
    ],
)
async def test_a_key_does_not_change_the_account_of_staff(
    postgres: PostgresSettings, redis: RedisSettings, op: str, body: Any
) -> None:
    async with hosted(postgres, redis) as api:
        owner, key = await staff(api, "owner"), await made(api, ["account.*"])
        on_behalf = {"greenroom-user": owner["user"]}
        refused = await api.call(op, body, token=key, headers=on_behalf)
        assert (refused.status, refused.code) == (403, "forbidden")
        access_of(api).verify(owner["access_token"])


@together_with("keys")
@pytest.mark.parametrize("one", ["", "/{sign_in}"])
async def test_nor_does_it_by_the_routes_of_sign_ins(
    postgres: PostgresSettings, redis: RedisSettings, one: str
) -> None:
    async with hosted(postgres, redis) as api:
        owner, key = await staff(api, "owner"), await made(api, ["account.*"])
        on_behalf = {"greenroom-user": owner["user"]}
        path = f"/v1/sign-ins{one.format(sign_in=owner['sign_in'])}"
        refused = await api.send("DELETE", path, token=key, headers=on_behalf)
        assert (refused.status, refused.code) == (403, "forbidden")
        access_of(api).verify(owner["access_token"])


async def test_a_command_of_a_key_names_the_key_in_the_audit_log(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        owner = await staff(api, "owner")
        who = Identity("", "key-k1", "ops", key="k1")
        command = BanUser(
            user=f"guest-{unique}", until=None, reason="x", by=by_whom(who), roles=(), void_s=60
        )
        await api.stores.facts.execute(command, user=who.user)
        listed = (await ask(api, owner, "audit.list", on_whom=f"guest-{unique}")).data["entries"]
        assert [one["who"] for one in listed] == ["key-k1"]
