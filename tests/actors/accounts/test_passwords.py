"""Sign-up, sign-in, reset and change by e-mail and password: real stores, a real mail server."""

from __future__ import annotations

from typing import Any

import argon2
import pytest
import trio

from actors.accounts.passwords.hashing import HashPassword, PasswordPool, VerifyPassword
from actors.accounts.passwords.settings import PasswordSettings
from actors.edge.failures import Refused
from actors.runtime.system import ActorSystem
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.connection import connect, transaction
from tests.actors.accounts.mailboxes import Mailboxes, mail_server, text_of
from tests.actors.accounts.test_sign_in import access_of, refusal, signed_in
from tests.actors.apis import ApiAnswer, HostedApi, hosted

SECRET, OTHER = "plum-kettle-orbit-77", "gravel fox under snow"
CHEAP = (
    "passwords.argon2_memory_kib=64", "passwords.argon2_passes=1", "mail.look_every_s=0.05",
)  # fmt: skip


def overrides(mailboxes: Mailboxes, *more: str) -> tuple[str, ...]:
    return (*CHEAP, f"mail.url=smtp://127.0.0.1:{mailboxes.port}", *more)


async def ask(api: HostedApi, path: str, token: str | None = None, **body: Any) -> ApiAnswer:
    return await api.send("POST", f"/v1/{path}", body, token=token, address="192.0.2.7")


async def signed_up(
    api: HostedApi, mailboxes: Mailboxes, email: str, token: str | None = None
) -> Any:
    """Sign up, and show the code."""
    await signed_in(api)  # the keys are read after that
    asked = await ask(api, "sign-up/password", token, email=email, password=SECRET, name="Ada")
    code = await mailboxes.code(email)
    return (await ask(api, "sign-up/confirm", ticket=asked.data["ticket"], code=code)).data


def hash_of_row(postgres: PostgresSettings, email: str) -> str:
    with connect(postgres) as connection, transaction(connection, postgres):
        row = connection.execute(
            "SELECT hash FROM account_passwords WHERE email = %s", (email,)
        ).fetchone()
    assert row is not None
    return str(row[0])


async def test_an_address_is_confirmed_and_then_signs_in_on_any_node(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"Ada.{unique}@Example.com"
    with mail_server() as mailboxes:
        given = overrides(mailboxes)
        async with hosted(postgres, redis, given) as api, hosted(postgres, redis, given) as other:
            ada = await signed_up(api, mailboxes, email)
            assert ada["created"]
            assert access_of(api).verify(ada["access_token"]).user == ada["user"]
            again = await ask(other, "sign-in/password", email=email.lower(), password=SECRET)
            while again.status == 503:
                await trio.sleep(0.01)
                again = await ask(other, "sign-in/password", email=email.lower(), password=SECRET)
            assert (again.data["user"], again.data["created"]) == (ada["user"], False)
            wrong = await ask(api, "sign-in/password", email=email, password=SECRET + "x")
            unknown = await ask(api, "sign-in/password", email=f"x{email}", password=SECRET)
            assert wrong.status == 401
            assert wrong.body["code"] == "bad_credentials"
            assert (wrong.status, wrong.body) == (unknown.status, unknown.body)
            service = api.services["accounts"]
            assert service.export is not None
            assert service.erase is not None
            (found,) = await service.export(ada["user"])
            assert found["email"] == email
            assert "email" in found["ways"]
            assert SECRET not in str(found)
            await service.erase(ada["user"])
            gone = await ask(api, "sign-in/password", email=email, password=SECRET)
            assert gone.code == "bad_credentials"


async def test_nobody_is_told_which_addresses_have_an_account(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email, nobody = f"a{unique}@example.com", f"b{unique}@example.com"
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            ada = await signed_up(api, mailboxes, email)
            body = {"password": OTHER, "name": "Eve"}
            known = await ask(api, "sign-up/password", email=email, **body)
            new = await ask(api, "sign-up/password", email=nobody, **body)
            assert known.status == new.status == 200
            assert known.data.keys() == new.data.keys()
            assert "an account already" in text_of(await mailboxes.wait(email, 2))
            await mailboxes.code(nobody)
            one = await ask(api, "password/reset", email=email)
            two = await ask(api, "password/reset", email=f"c{unique}@example.com")
            assert one.data.keys() == two.data.keys()
            await mailboxes.code(email, 3)
            assert not mailboxes.of(f"c{unique}@example.com")
            # What the second sign-up has given does not count.
            found = await ask(api, "sign-in/password", email=email, password=OTHER)
            assert found.code == "bad_credentials"
            found = await ask(api, "sign-in/password", email=email, password=SECRET)
            assert found.data["user"] == ada["user"]


async def test_a_guest_and_an_account_get_an_address_and_keep_the_user_id(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            guest = f"guest-{unique}"
            email = f"guest.{unique}@example.com"
            ada = await signed_up(api, mailboxes, email, api.token(guest))
            assert ada["user"] == guest
            bob = await signed_in(api, "device", device=f"device-{unique}")
            email = f"bob.{unique}@example.com"
            found = await signed_up(api, mailboxes, email, bob["access_token"])
            assert (found["user"], found["created"]) == (bob["user"], False)


async def test_a_reset_takes_the_code_once_and_ends_all_sign_ins(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            ada = await signed_up(api, mailboxes, email)
            ticket = (await ask(api, "password/reset", email=email)).data["ticket"]
            code = await mailboxes.code(email, 2)
            reset = {"ticket": ticket, "code": code.lower(), "password": OTHER}
            wrong = await ask(api, "password/reset/confirm", **{**reset, "code": "0000-0000-0000"})
            assert (wrong.status, wrong.code) == (401, "bad_code")
            weak = await ask(api, "password/reset/confirm", **{**reset, "password": "password1"})
            assert weak.code == "weak_password"
            assert (await ask(api, "password/reset/confirm", **reset)).status == 204
            assert (await ask(api, "password/reset/confirm", **reset)).code == "bad_code"
            assert await refusal(api, ada["access_token"]) == "signed_out"
            old = await ask(api, "sign-in/password", email=email, password=SECRET)
            assert old.code == "bad_credentials"
            assert (await ask(api, "sign-in/password", email=email, password=OTHER)).status == 200
            assert "changed" in text_of(await mailboxes.wait(email, 3))


async def test_a_code_is_tried_a_few_times_and_is_not_in_the_database(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            await signed_in(api)
            asked = await ask(api, "sign-up/password", email=email, password=SECRET, name="Ada")
            ticket, code = asked.data["ticket"], await mailboxes.code(email)
            with connect(postgres) as connection, transaction(connection, postgres):
                rows = connection.execute(
                    "SELECT * FROM account_codes WHERE email = %s", (email,)
                ).fetchall()
            kept = str([[bytes(v) if isinstance(v, memoryview) else v for v in r] for r in rows])
            assert len(rows) == 1
            assert not {code, code.replace("-", ""), ticket, SECRET} & set(kept.split("'"))
            for _ in range(5):
                found = await ask(api, "sign-up/confirm", ticket=ticket, code="1111-1111-1111")
                assert found.code == "bad_code"
            found = await ask(api, "sign-up/confirm", ticket=ticket, code=code)
            assert found.code == "bad_code"


async def test_a_change_asks_for_the_old_password_and_ends_the_other_sign_ins(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            ada = await signed_up(api, mailboxes, email)
            other = (await ask(api, "sign-in/password", email=email, password=SECRET)).data
            change = {"old": SECRET, "password": OTHER}
            token = ada["access_token"]
            wrong = await ask(api, "password/change", token, **{**change, "old": OTHER})
            assert wrong.code == "bad_credentials"
            assert (await ask(api, "password/change", token, **change)).status == 204
            assert await refusal(api, other["access_token"]) == "signed_out"
            access_of(api).verify(token)
            assert (await ask(api, "sign-in/password", email=email, password=OTHER)).status == 200


async def test_an_old_hash_is_replaced_at_the_next_sign_in(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            await signed_up(api, mailboxes, email)
        assert "m=64,t=1" in hash_of_row(postgres, email)
        more = overrides(mailboxes, "passwords.argon2_passes=2")
        async with hosted(postgres, redis, more) as api:
            await signed_in(api)
            for _ in range(2):
                found = await ask(api, "sign-in/password", email=email, password=SECRET)
                assert found.status == 200
                assert "m=64,t=2" in hash_of_row(postgres, email)


async def test_an_attacker_does_not_lock_the_owner_out_of_a_known_device(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        more = overrides(mailboxes, "sign_in_limits.account=3")
        async with hosted(postgres, redis, more) as api:
            ada = await signed_up(api, mailboxes, email)
            for _ in range(9):
                await ask(api, "sign-in/password", email=email, password="wrong")
            locked = await ask(api, "sign-in/password", email=email, password=SECRET)
            assert (locked.status, locked.code) == (429, "too_many_sign_ins")
            own = {"email": email, "password": SECRET, "device_token": ada["device_token"]}
            found = await ask(api, "sign-in/password", **own)
            assert found.data["device_token"] == ada["device_token"]
            forged = await ask(api, "sign-in/password", **{**own, "device_token": "grd_forged"})
            assert forged.code == "too_many_sign_ins"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"password": "x" * 7}, "bad_message"),
        ({"password": "x" * 129}, "bad_message"),
        ({"password": "password123"}, "weak_password"),
        ({"password": "qwertyuiop"}, "weak_password"),
        ({"email": "no address"}, "bad_message"),
        ({"email": "a@b.example\r\nBcc: c@d.example"}, "bad_message"),
        ({"email": "a" * 300 + "@b.example"}, "bad_message"),
    ],
)
async def test_what_cannot_be_an_address_or_a_good_password_is_refused(
    postgres: PostgresSettings, redis: RedisSettings, body: dict[str, str], code: str
) -> None:
    given = {"email": "a@b.example", "password": SECRET, "name": "Ada", **body}
    async with hosted(postgres, redis, CHEAP) as api:
        assert (await ask(api, "sign-up/password", **given)).code == code


def settings(**values: Any) -> PasswordSettings:
    return PasswordSettings(**{"argon2_memory_kib": 64, "argon2_passes": 1, **values})


async def test_beyond_the_queue_a_password_is_refused_at_once() -> None:
    async with ActorSystem() as system:
        pool = PasswordPool(system, settings(queue=3))
        await pool.started()
        outcomes: list[str] = []

        async def verify() -> None:
            try:
                await pool.verify(None, "x")
                outcomes.append("")
            except Refused as refused:
                outcomes.append(refused.error.code)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(verify)
        assert sorted(outcomes) == [""] * 3 + ["busy"] * 7
        assert (pool.waiting, pool.refused) == (0, 7)


async def test_an_unknown_address_costs_as_many_hashes_as_a_wrong_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verify, verified = argon2.PasswordHasher.verify, list[Any]()

    def counted(hasher: argon2.PasswordHasher, kept: str, password: str) -> Any:
        verified.append(argon2.extract_parameters(kept))
        return verify(hasher, kept, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    async with ActorSystem() as system:
        pool = PasswordPool(system, settings())
        await pool.started()
        kept = await pool.hash(SECRET, [])
        assert (await pool.verify(kept, SECRET)).right
        assert not (await pool.verify(kept, OTHER)).right
        assert not (await pool.verify(None, SECRET)).right
    right, wrong, unknown = verified
    assert right == wrong == unknown


def test_a_password_is_the_same_from_every_keyboard() -> None:
    from actors.accounts.passwords.hashing import PasswordWorker

    worker = PasswordWorker(settings())
    composed, decomposed = "caf\u00e9 noir 1882", "cafe\u0301 noir 1882"
    kept = worker.on_receive(HashPassword(composed, [])).hash
    assert argon2.extract_parameters(kept).type is argon2.Type.ID
    assert worker.on_receive(VerifyPassword(kept, decomposed)).right
    long = "lamp " * 25
    assert len(long) == 125
    assert not worker.on_receive(
        VerifyPassword(worker.on_receive(HashPassword("zq9#" + long, [])).hash, "zq9#" + long[:-1])
    ).right


def test_what_others_know_of_a_user_makes_no_password_better() -> None:
    from actors.accounts.passwords.hashing import PasswordWorker

    worker = PasswordWorker(settings())
    name = "zorblaxian"
    assert worker.on_receive(HashPassword(f"{name}7", [])).hash
    assert worker.on_receive(HashPassword(f"{name}7", [name])).problem
