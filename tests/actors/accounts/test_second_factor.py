"""The second factor: added, asked for by every way in, used once, and not stepped around."""

from __future__ import annotations

import time
from typing import Any

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.accounts.second_factor.codes import (
    STEP_S,
    is_totp,
    new_recovery_codes,
    new_secret,
    recovery_hash,
    step_of,
)
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.connection import connect, transaction
from tests.actors.accounts.mailboxes import Mailboxes, mail_server, text_of
from tests.actors.accounts.test_passwords import OTHER, SECRET, ask, overrides, signed_up
from tests.actors.accounts.test_sign_in import access_of, signed_in
from tests.actors.apis import ApiAnswer, HostedApi, hosted


class Owner:
    """An account with a second factor, and its authenticator."""

    def __init__(self, api: HostedApi, postgres: PostgresSettings, token: str) -> None:
        self.api = api
        self.token = token
        self.user = access_of(api).verify(token).user
        self.secret = ""
        self.recovery: list[str] = []
        self._postgres = postgres

    def code(self) -> str:
        """A code that was not used, as if some time had passed since the last one."""
        with connect(self._postgres) as connection, transaction(connection, self._postgres):
            connection.execute(
                "UPDATE account_second_factors SET last_step = 0 WHERE user_id = %s", (self.user,)
            )
        return pyotp.TOTP(self.secret).now()

    async def ask(self, path: str, **body: Any) -> ApiAnswer:
        return await ask(self.api, path, self.token, **body)

    async def add(self, password: str = "") -> None:
        begun = (await self.ask("second-factor/begin", password=password)).data
        self.secret = begun["secret"]
        assert pyotp.parse_uri(begun["uri"]).secret == self.secret
        assert begun["svg"].startswith("data:image/svg+xml")
        assert begun["png"].startswith("data:image/png")
        confirmed = await self.ask("second-factor/confirm", code=self.code())
        self.recovery = confirmed.data["recovery_codes"]
        assert len(set(self.recovery)) == 10


async def with_password(
    api: HostedApi, postgres: PostgresSettings, mailboxes: Mailboxes, email: str
) -> Owner:
    ada = await signed_up(api, mailboxes, email)
    owner = Owner(api, postgres, ada["access_token"])
    await owner.add(SECRET)
    return owner


async def test_every_way_in_asks_for_the_second_factor_and_each_code_is_right_once(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email, device = f"{unique}@example.com", f"device-{unique}"
    with mail_server() as mailboxes:
        given = overrides(mailboxes)
        async with hosted(postgres, redis, given) as api, hosted(postgres, redis, given) as other:
            await signed_in(other)
            ada = await signed_in(api, "device", device=device)
            first = await signed_up(api, mailboxes, email, ada["access_token"])
            owner = Owner(api, postgres, first["access_token"])
            await owner.add(SECRET)
            assert "second factor was added" in text_of(await mailboxes.wait(email, 2))
            found, ticket = first, ""
            given_ways: list[tuple[HostedApi, str, dict[str, str]]] = [
                (api, "sign-in/device", {"device": device, "name": "Ada"}),
                (other, "sign-in/password", {"email": email, "password": SECRET}),
            ]
            for node, path, body in given_ways:
                waits = await ask(node, path, **body)
                assert (waits.status, waits.code) == (401, "second_factor")
                assert "access_token" not in waits.body
                ticket = waits.body["ticket"]
                code = owner.code()
                found = (await ask(api, "sign-in/second-factor", ticket=ticket, code=code)).data
                assert found["user"] == ada["user"]
                access_of(api).verify(found["access_token"])
                again = await ask(other, "sign-in/second-factor", ticket=ticket, code=code)
                assert (again.status, again.code) == (401, "bad_code")
                used = (await ask(node, path, **body)).body["ticket"]
                again = await ask(api, "sign-in/second-factor", ticket=used, code=code)
                assert again.code == "bad_code"
            refreshed = await ask(api, "refresh", refresh_token=found["refresh_token"])
            assert refreshed.status == 200
            assert (await ask(api, "refresh", refresh_token=ticket)).code == "bad_token"


async def test_a_device_stays_known_and_so_many_of_an_account_are(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        given = overrides(mailboxes, "passwords.devices=3")
        async with hosted(postgres, redis, given) as api:
            owner = await with_password(api, postgres, mailboxes, email)

            async def device_after(device: str) -> str:
                shown = {"email": email, "password": SECRET, "device_token": device}
                ticket = (await ask(api, "sign-in/password", **shown)).body["ticket"]
                body = {"ticket": ticket, "code": owner.code(), "device_token": device}
                return str((await ask(api, "sign-in/second-factor", **body)).data["device_token"])

            devices = {await device_after("") for _ in range(4)}
            assert len(devices) == 4
            newest = await device_after("")
            assert await device_after(newest) == newest
            with connect(postgres) as connection, transaction(connection, postgres):
                query = "SELECT count(*) FROM account_devices WHERE user_id = %s"
                row = connection.execute(query, (owner.user,)).fetchone()
            assert row == (3,)


async def test_a_recovery_code_takes_its_place_once_and_a_ticket_has_a_few_tries(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            owner = await with_password(api, postgres, mailboxes, email)

            async def ticket() -> str:
                waits = await ask(api, "sign-in/password", email=email, password=SECRET)
                return str(waits.body["ticket"])

            code = owner.recovery[0].lower()
            found = await ask(api, "sign-in/second-factor", ticket=await ticket(), code=code)
            assert found.status == 200
            found = await ask(api, "sign-in/second-factor", ticket=await ticket(), code=code)
            assert found.code == "bad_code"
            state = await api.send("GET", "/v1/second-factor", token=owner.token)
            assert state.data == {"on": True, "recovery_codes": 9}
            tried = await ticket()
            for _ in range(5):
                found = await ask(api, "sign-in/second-factor", ticket=tried, code="000000")
                assert found.code == "bad_code"
            right = owner.recovery[1]
            found = await ask(api, "sign-in/second-factor", ticket=tried, code=right)
            assert found.code == "bad_code"
            renewed = await owner.ask("second-factor/recovery-codes", code=owner.code())
            assert renewed.status == 200
            found = await ask(api, "sign-in/second-factor", ticket=await ticket(), code=right)
            assert found.code == "bad_code"


async def test_neither_a_reset_nor_a_change_of_the_password_steps_around_it(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            owner = await with_password(api, postgres, mailboxes, email)
            change = {"old": SECRET, "password": OTHER}
            assert (await owner.ask("password/change", **change)).code == "second_factor"
            wrong = await owner.ask("password/change", **change, second_factor="000000")
            assert wrong.code == "bad_code"
            ticket = (await ask(api, "password/reset", email=email)).data["ticket"]
            code = await mailboxes.code(email, 3)
            reset = {"ticket": ticket, "code": code, "password": OTHER}
            found = await ask(api, "password/reset/confirm", **reset)
            assert (found.status, found.code) == (401, "second_factor")
            found = await ask(api, "password/reset/confirm", **reset, second_factor="000000")
            assert found.code == "bad_code"
            found = await ask(api, "password/reset/confirm", **reset, second_factor=owner.code())
            assert found.status == 204
            found = await ask(api, "sign-in/password", email=email, password=OTHER)
            assert found.code == "second_factor"


async def test_it_is_added_with_the_password_and_removed_with_a_code(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    email = f"{unique}@example.com"
    with mail_server() as mailboxes:
        async with hosted(postgres, redis, overrides(mailboxes)) as api:
            ada = await signed_up(api, mailboxes, email)
            owner = Owner(api, postgres, ada["access_token"])
            assert (await owner.ask("second-factor/begin")).code == "bad_credentials"
            assert (await owner.ask("second-factor/confirm", code="000000")).code == "not_found"
            # One that was begun and not confirmed is not asked for.
            await owner.ask("second-factor/begin", password=SECRET)
            again = await ask(api, "sign-in/password", email=email, password=SECRET)
            assert again.status == 200
            await owner.add(SECRET)
            twice = await owner.ask("second-factor/begin", password=SECRET)
            assert (twice.status, twice.code) == (409, "second_factor_on")
            assert (await owner.ask("second-factor/remove", code="000000")).code == "bad_code"
            assert (await owner.ask("second-factor/remove", code=owner.code())).status == 204
            again = await ask(api, "sign-in/password", email=email, password=SECRET)
            assert again.status == 200
            guest = await ask(api, "second-factor/begin", api.token(f"guest-{unique}"))
            assert guest.code == "forbidden"


@given(st.integers(0, 2**33), st.integers(-5, 5), st.integers(-3, 3))
def test_a_code_is_right_around_its_time_and_after_the_last_one(
    now: int, shown: int, last: int
) -> None:
    secret, present = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", now // STEP_S + 10
    now_s = present * STEP_S + now % STEP_S
    code = pyotp.TOTP(secret).generate_otp(present + shown)
    found = step_of(secret, code, now_s, present + last)
    if abs(shown) <= 1 and shown > last:
        assert found == present + shown
    elif found is not None:  # two steps have the same code by chance, once in a million
        assert abs(found - present) <= 1
        assert found > present + last


def test_what_people_type_is_told_apart() -> None:
    assert is_totp("123456")
    assert not is_totp("12345")
    assert not is_totp("\u0661\u0662\u0663\u0664\u0665\u0666")
    (code, *_) = new_recovery_codes()
    assert recovery_hash(code.lower().replace("-", " ")) == recovery_hash(code)
    assert recovery_hash("\ud800")
    assert step_of(new_secret(), "\u0661", time.time(), 0) is None


@pytest.mark.parametrize("code", ["", "x" * 65])
async def test_a_code_of_no_length_is_refused(
    postgres: PostgresSettings, redis: RedisSettings, code: str
) -> None:
    async with hosted(postgres, redis) as api:
        found = await ask(api, "sign-in/second-factor", ticket="t", code=code)
        assert found.code == "bad_message"
