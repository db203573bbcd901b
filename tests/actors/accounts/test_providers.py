"""Signing in by a provider, over HTTP, with the real stores and a real issuer in a process."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.accounts.outgoing import Outgoing
from actors.accounts.providers import BadProof, NoSuchProvider, ProviderSettings, load_providers
from persistence import PostgresSettings, RedisSettings
from tests.actors.accounts.test_identities import identities, link, on_both, unlink
from tests.actors.accounts.test_sign_in import signed_in
from tests.actors.apis import ApiAnswer, HostedApi, hosted

SECRET = Path(tempfile.mkdtemp()) / "secret"
BACK = "https://game.example/back"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The address of an issuer of OpenID Connect that others have written."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-u", "-m", "oidc_provider_mock", "--port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        address = None
        while address is None:
            address = re.search(r"running on (http://\S+)", running.stderr.readline())
        yield address[1]
        running.terminate()


class Tickets:
    """A provider of one's own, whose tickets are a word and the id of a player."""

    def __init__(self, outgoing: Outgoing, *, word: str) -> None:
        self._word = word

    async def subject(self, proof: str) -> str:
        word, _, player = proof.partition(":")
        if player == "slow":
            await trio.sleep_forever()
        if word != self._word:
            raise BadProof("no such ticket")
        return player


def configured(issuer: str) -> Sequence[str]:
    SECRET.write_text("s3cret: %\n", "utf-8")
    ours = (
        f'{{issuer = "{issuer}", client_id = "greenroom", redirects = ["{BACK}"],'
        f' client_secret_file = "{SECRET}"}}'
    )
    tickets = f'{{path = "{__name__}:Tickets", options = {{word = "sesame"}}}}'
    return (f"oidc.ours={ours}", f"providers.tickets={tickets}")


async def begun(api: HostedApi) -> dict[str, Any]:
    """Begin a sign-in, once the node has read the keys."""
    with trio.fail_after(30):
        found = await api.send("POST", "/v1/sign-in/oidc/ours", {})
        while found.status == 503:
            await trio.sleep(0.01)
            found = await api.send("POST", "/v1/sign-in/oidc/ours", {})
    data: dict[str, Any] = found.data
    return data


async def came_back(url: str, subject: str) -> dict[str, str]:
    """Sign in at the issuer as a browser does; returns what the player comes back with."""

    class Stays(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    def sign_in() -> str:
        form = urllib.parse.urlencode({"sub": subject}).encode()
        with pytest.raises(urllib.error.HTTPError) as found:
            urllib.request.build_opener(Stays).open(url, form, timeout=30)
        with found.value as answer:
            return str(answer.headers["Location"])

    back = await trio.to_thread.run_sync(sign_in)
    assert back.startswith(BACK)
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(back).query))


async def ended(
    api: HostedApi, flow: dict[str, Any], back: dict[str, str], **more: Any
) -> ApiAnswer:
    body = {"name": "Ada", "code": back["code"], "state": back["state"], "secret": flow["secret"]}
    return await api.send("POST", "/v1/sign-in/oidc/ours/callback", body | more)


async def test_a_player_signs_in_at_an_issuer_and_comes_back_to_the_account(
    postgres: PostgresSettings, redis: RedisSettings, issuer: str, unique: str
) -> None:
    async with hosted(postgres, redis, configured(issuer)) as api:
        users = []
        for subject in (unique, unique, f"{unique}-other"):
            flow = await begun(api)
            back = await came_back(flow["url"], subject)
            assert back["state"] == flow["state"]
            users.append((await ended(api, flow, back)).data["user"])
            again = await ended(api, flow, back)
            assert (again.status, again.code) == (401, "bad_proof")  # a code is used once
        assert users[0] == users[1] != users[2]
        assert api.services["accounts"].readings is not None


async def test_who_has_not_begun_a_sign_in_does_not_end_it(
    postgres: PostgresSettings, redis: RedisSettings, issuer: str, unique: str
) -> None:
    async with hosted(postgres, redis, configured(issuer)) as api:
        mine, theirs = await begun(api), await begun(api)
        back = await came_back(theirs["url"], unique)  # a victim follows the link of an attacker
        found = await ended(api, mine, back)
        assert (found.status, found.code) == (401, "bad_state")
        refused = await api.send("POST", "/v1/sign-in/oidc/nobody", {})
        assert (refused.status, refused.code) == (404, "unknown_provider")
        elsewhere = {"redirect": "https://evil.example/"}
        bad = await api.send("POST", "/v1/sign-in/oidc/ours", elsewhere)
        assert bad.code == "bad_message"


async def test_an_issuer_is_linked_to_a_guest_who_signs_in_by_it_on_another_node(
    postgres: PostgresSettings, redis: RedisSettings, issuer: str, unique: str
) -> None:
    async with (
        hosted(postgres, redis, configured(issuer)) as api,
        hosted(postgres, redis, configured(issuer)) as other,
    ):
        guest = api.token(f"guest-{unique}")
        flow = await begun(api)
        back = await came_back(flow["url"], unique)
        asked = {
            "provider": "ours", "proof": back["code"], "code": True, "state": back["state"],
            "secret": flow["secret"],
        }  # fmt: skip
        linked = (await api.call("account.link", asked, token=guest)).data
        assert linked["provider"] == "ours"
        assert {one["provider"] for one in await identities(api, guest)} == {"guest", "ours"}
        flow = await begun(other)
        ada = (await ended(other, flow, await came_back(flow["url"], unique))).data
        assert ada["user"] == f"guest-{unique}"
        assert (await unlink(api, ada["access_token"], linked)).code == "last_way"
        bob = await signed_in(api)
        flow = await begun(api)
        back = await came_back(flow["url"], unique)
        taken = await api.call(
            "account.link",
            asked | {"proof": back["code"], "state": back["state"], "secret": flow["secret"]},
            token=bob["access_token"],
        )
        assert taken.code == "identity_taken"


async def test_a_ticket_of_another_provider_signs_in_and_is_linked(
    postgres: PostgresSettings, redis: RedisSettings, issuer: str, unique: str
) -> None:
    async with hosted(postgres, redis, configured(issuer)) as api:
        await signed_in(api)
        ticket = {"name": "Ada", "proof": f"sesame:{unique}"}
        ada = (await api.send("POST", "/v1/sign-in/with/tickets", ticket)).data
        again = (await api.send("POST", "/v1/sign-in/with/tickets", ticket)).data
        assert again["user"] == ada["user"]
        token = ada["access_token"]
        assert (await link(api, token, f"sesame:{unique}-2", "tickets")).status == 200
        wrong = await api.send("POST", "/v1/sign-in/with/tickets", {"name": "x", "proof": "open:1"})
        assert (wrong.status, wrong.code) == (401, "bad_proof")
        assert "no such ticket" in wrong.body["message"]
        assert (await link(api, token, "open:1", "tickets")).code == "bad_proof"
        assert len(await identities(api, token)) == 2


async def test_a_provider_that_is_slow_is_cut_off_and_holds_up_nobody(
    postgres: PostgresSettings, redis: RedisSettings, issuer: str, unique: str
) -> None:
    limits = (
        *configured(issuer), "accounts.provider_timeout_s=0.5", "accounts.provider_waiting=4",
    )  # fmt: skip
    async with hosted(postgres, redis, limits) as api:
        ada = await signed_in(api)
        slow = {"name": "Ada", "proof": "sesame:slow"}

        async def ask(number: int) -> ApiAnswer:
            if number:
                return await api.send("POST", "/v1/sign-in/with/tickets", slow)
            return await link(api, ada["access_token"], "sesame:slow", "tickets")

        admission = api.admission
        answered = sum(admission.answer_s.counts)
        answers = await on_both(ask, 6)
        assert Counter(one.code for one in answers) == {"provider_away": 4, "busy": 2}
        # How long an answer took elsewhere does not make this node believe that it is overloaded.
        assert sum(admission.answer_s.counts) <= answered + 1
        assert (await api.call("ping", token=ada["access_token"])).status == 200


async def test_one_sign_in_by_an_issuer_ends_once_on_two_nodes(
    postgres: PostgresSettings, redis: RedisSettings, issuer: str, unique: str
) -> None:
    from tests.actors.accounts.issuer import open_issuer

    async with open_issuer() as own:
        settings = configured(own.url)
        async with (
            hosted(postgres, redis, settings) as one,
            hosted(postgres, redis, settings) as two,
        ):
            await signed_in(two)
            flow = await begun(one)
            token = own.id_token(flow["nonce"], sub=unique)
            body = {
                "name": "Ada", "id_token": token, "state": flow["state"], "secret": flow["secret"]
            }  # fmt: skip
            nodes = (one, two)

            async def end(number: int) -> ApiAnswer:
                at = "/v1/sign-in/oidc/ours/token"
                return await nodes[number % 2].send("POST", at, body)

            answers = await on_both(end, 6)
            assert sorted(answer.status for answer in answers) == [200] + [409] * 5
            assert {one.code for one in answers if one.status == 409} == {"state_used"}


def test_a_provider_that_cannot_be_made_stops_the_start_with_one_line(tmp_path: Path) -> None:
    outgoing = Outgoing(timeout_s=1.0, answer_bytes=1, at_once=1)
    for name, path, text in (
        ("tickets", "no.such:Module", "ModuleNotFoundError"),
        ("tickets", f"{__name__}:Nothing", "AttributeError"),
        ("tickets", f"{__name__}:Tickets", "TypeError"),  # without its option
        ("tickets", f"{__name__}:configured", "has no method subject"),
        ("guest", f"{__name__}:Tickets", "no such name"),
        ("A b", f"{__name__}:Tickets", "no such name"),
    ):
        settings = {name: ProviderSettings(path=path)}
        with pytest.raises(NoSuchProvider, match=text) as refused:
            load_providers(settings, tmp_path, outgoing)
        assert "\n" not in str(refused.value)
