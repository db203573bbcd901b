"""Accounts as their users and others see them, over the real stores: on one node and on two."""

from __future__ import annotations

from typing import Any

import trio

from persistence import PostgresSettings, RedisSettings
from tests.actors.accounts.test_sign_in import signed_in
from tests.actors.apis import ApiAnswer, HostedApi, hosted

ALL = {
    "username": "Ada_L", "name": "Ada  Lovelace", "avatar_url": "https://img.example/a.png",
    "language": "en-gb", "time_zone": "Europe/London", "public_metadata": '{"rank": 1}',
    "private_metadata": '{"hints": false}',
}  # fmt: skip


async def update(api: HostedApi, user: Any, **fields: Any) -> ApiAnswer:
    return await api.call("account.update", fields, token=user["access_token"])


async def found(api: HostedApi, user: Any, prefix: str, **more: Any) -> Any:
    body = {"prefix": prefix, **more}
    return (await api.call("account.search", body, token=user["access_token"])).data


async def test_an_account_is_changed_with_a_version_and_read_by_its_user_and_by_others(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada, bob = await signed_in(api), await signed_in(api)
        own = (await api.call("account.get", token=ada["access_token"])).data
        assert (own["version"], own["username"], own["name"]) == (1, None, "Ada")
        fields = {**ALL, "username": f"Ada_{unique}"}
        changed = (await update(api, ada, version=1, **fields)).data
        shown = {**fields, "name": "Ada Lovelace", "language": "en-GB"}
        assert {name: changed[name] for name in fields} == shown
        assert changed["version"] == 2
        assert (await update(api, ada, version=1, name="x")).code == "version_conflict"
        changed = (await update(api, ada, version=2, avatar_url="", time_zone="")).data
        assert (changed["avatar_url"], changed["time_zone"], changed["version"]) == ("", "", 3)
        assert changed["username"] == f"Ada_{unique}"
        users = [bob["user"], "guest-nobody", ada["user"], bob["user"]]
        read = (await api.call("account.read", {"users": users}, token=bob["access_token"])).data
        assert [one["user"] for one in read["profiles"]] == [bob["user"], ada["user"]]
        assert read["profiles"][1] == {
            "user": ada["user"], "username": f"Ada_{unique}", "name": "Ada Lovelace",
            "avatar_url": "", "metadata": '{"rank": 1}', "created": own["created"],
        }  # fmt: skip


async def test_a_username_is_one_account_s_however_it_is_written(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada, bob = await signed_in(api), await signed_in(api)
        name = f"mark{unique}"
        assert (await update(api, ada, username=name)).status == 200
        before = (await api.call("account.get", token=bob["access_token"])).data
        for alike in (name, name.upper(), name.replace("m", "rn"), name.replace("a", "а")):
            refused = await update(api, bob, username=alike, name="Not Bob")
            assert (refused.status, refused.code) == (409, "name_taken")
        assert (await api.call("account.get", token=bob["access_token"])).data == before
        # The owner may write it otherwise, and whoever gives it up leaves it to others.
        assert (await update(api, ada, username=name.upper())).data["username"] == name.upper()
        assert (await update(api, ada, username=f"other{unique}")).status == 200
        assert (await update(api, bob, username=name)).data["username"] == name


BAD: list[tuple[dict[str, Any], str]] = [
    ({"username": "admin"}, "name_reserved"),
    ({"username": "аdmin"}, "name_reserved"),
    ({"username": "ab"}, "bad_username"),
    ({"username": "x" * 33}, "bad_username"),
    ({"username": "a\u202eb c"}, "bad_username"),
    ({"username": "x" * 65}, "bad_message"),
    ({"username": "a\0b"}, "bad_message"),
    ({"username": ""}, "bad_message"),
    ({"name": "  "}, "bad_message"),
    ({"avatar_url": "http://a.example/"}, "bad_message"),
    ({"avatar_url": "https://a.example/" + "x" * 512}, "too_long"),
    ({"language": "english!"}, "bad_message"),
    ({"time_zone": "../../etc/passwd"}, "bad_message"),
    ({"public_metadata": "[]"}, "bad_message"),
    ({"private_metadata": '{"a":"' + "x" * 4096 + '"}'}, "too_long"),
    ({"version": 0}, "bad_message"),
    ({"username": "x" * 4_000_000}, "bad_message"),
]


async def test_what_a_field_cannot_be_is_refused_by_name(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api)
        for fields, code in BAD:
            assert (await update(api, ada, **fields)).code == code, str(fields)[:80]
            signs_up = {"name": "x", **fields}
            if "username" in fields:
                refused = await api.send("POST", "/v1/sign-in/guest", signs_up)
                assert refused.code == code, str(fields)[:80]


async def test_a_guest_without_an_account_is_told_so_and_can_get_one(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        token = api.token(f"guest-{unique}")
        for op, body in (("account.get", {}), ("account.update", {"name": "x"})):
            refused = await api.call(op, body, token=token)
            assert (refused.status, refused.code) == (404, "no_account")
        ada = await signed_in(api, token=token, username=f"ada{unique}")
        own = (await api.call("account.get", token=token)).data
        assert (own["user"], own["username"]) == (f"guest-{unique}", f"ada{unique}")
        assert ada["created"]


async def test_of_two_who_sign_up_with_one_name_at_once_on_two_nodes_one_gets_it(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as one, hosted(postgres, redis) as two:
        for api in (one, two):
            await signed_in(api)  # the keys are read
        for turn, names in enumerate((("mark", "rnark"), ("ilya", "ILYA"), ("bob", "bob"))):
            answers: list[ApiAnswer] = []

            async def sign_up(
                api: HostedApi, name: str, turn: int = turn, answers: list[ApiAnswer] = answers
            ) -> None:
                body = {"name": "x", "device": f"{unique}-{turn}-{len(answers)}-{id(api)}"}
                body["username"] = f"{name}{unique}"
                answers.append(await api.send("POST", "/v1/sign-in/device", body))

            async with trio.open_nursery() as nursery:
                for api, name in zip((one, two), names, strict=True):
                    nursery.start_soon(sign_up, api, name)
            assert sorted(answer.status for answer in answers) == [200, 409]
            (lost,) = [answer for answer in answers if answer.status == 409]
            assert lost.code == "name_taken"


async def test_who_is_refused_a_name_gets_no_account_and_can_try_another_one(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        await signed_in(api, username=f"ada{unique}")
        body = {"name": "x", "device": f"{unique}-device", "username": f"ADA{unique}"}
        assert (await api.send("POST", "/v1/sign-in/device", body)).code == "name_taken"
        body["username"] = "root"
        assert (await api.send("POST", "/v1/sign-in/device", body)).code == "name_reserved"
        body["username"] = f"bob{unique}"
        assert (await api.send("POST", "/v1/sign-in/device", body)).data["created"]
        again = (await api.send("POST", "/v1/sign-in/device", body)).data  # it is there by now
        own = (await api.call("account.get", token=again["access_token"])).data
        assert (again["created"], own["username"]) == (False, f"bob{unique}")


async def test_accounts_are_found_by_the_beginning_of_their_usernames_page_by_page(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        names = [f"Zoë{unique}{last}" for last in "abcde"]
        users = [await signed_in(api, username=name) for name in names]
        ada = users[0]
        seen: list[str] = []
        cursor = None
        while True:
            page = await found(api, ada, f"zOË{unique}", limit=2, cursor=cursor)
            seen += [one["username"] for one in page["profiles"]]
            cursor = page["cursor"]
            if cursor is None:
                break
            assert len(page["profiles"]) == 2
        assert seen == names
        assert (await found(api, ada, f"zoe{unique}"))["profiles"] == []
        assert (await found(api, ada, f"zoë{unique}%"))["profiles"] == []
        token = ada["access_token"]
        for body, code in (
            ({"prefix": "b", "cursor": "a"}, "bad_cursor"),
            ({"prefix": "a", "cursor": "a\0"}, "bad_cursor"),
            ({"prefix": "a", "limit": 101}, "out_of_range"),
        ):
            assert (await api.call("account.search", body, token=token)).code == code
        many = {"users": ["u"] * 101}
        assert (await api.call("account.read", many, token=token)).code == "out_of_range"


async def test_a_change_with_a_key_is_made_once(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        ada = await signed_in(api)
        first = await update(api, ada, version=1, name="A", key="k")
        assert (await update(api, ada, version=1, name="A", key="k")).data == first.data
        assert (await update(api, ada, version=1, name="B", key="k")).code == "key_reused"


async def test_what_is_erased_leaves_its_username_to_others(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        ada, bob = await signed_in(api, username=f"ada{unique}"), await signed_in(api)
        await update(api, ada, **{**ALL, "username": f"ada{unique}"})
        service = api.services["accounts"]
        assert service.export is not None
        assert service.erase is not None
        (kept,) = await service.export(ada["user"])
        assert (kept["username"], kept["time_zone"]) == (f"ada{unique}", "Europe/London")
        assert kept["private_metadata"] == '{"hints": false}'
        await service.erase(ada["user"])
        assert (await update(api, bob, username=f"ada{unique}")).status == 200
