"""OpenID Connect: issuers that are honest, slow, gone and lying, and tokens of every kind."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actors.accounts.flows import Flow
from actors.accounts.oidc import AFTER_FAILURE_S, AGAIN_S, KEPT_S, OidcProvider
from actors.accounts.outgoing import may_be_asked
from actors.accounts.providers import Proof, Shown
from actors.accounts.vouchers import Vouchers
from protocol.errors import RequestError
from tests.actors.accounts.issuer import (
    BACK,
    PRIVATE,
    Clock,
    Issuer,
    answered,
    flows,
    jwk_of,
    open_issuer,
    provider_of,
)


def brought(flow: Flow, token: str, **changed: Any) -> Proof:
    given = {"text": token, "state": flow.state, "secret": flow.secret} | changed
    return Proof(**given)


async def refusal(provider: OidcProvider, proof: Proof, timeout_s: float = 30.0) -> str:
    """The code and the detail with which a proof is refused, in time."""
    vouchers = Vouchers({"test": provider}, {}, timeout_s=timeout_s, flow_valid_s=600.0)
    with trio.fail_after(60), pytest.raises(RequestError) as refused:
        await vouchers.shown("test", proof)
    return str(refused.value)


# --- honest ones ---------------------------------------------------------------------------------


async def test_a_player_signs_in_by_a_code_with_pkce_and_a_nonce() -> None:
    async with open_issuer() as issuer:
        provider = provider_of(issuer, Clock(), secret="s:e c")
        flow, url = await provider.begin("")
        assert url.startswith(f"{issuer.url}/authorize?response_type=code&client_id=greenroom")
        assert flow.secret not in url
        assert flow.verifier not in url
        proof = brought(flow, issuer.code_for(url), is_code=True)
        assert await provider.shown(proof) == Shown(
            issuer=issuer.url, subject="ada", flow=flow.id, flow_until=flow.until
        )
        (form,) = issuer.forms
        assert form["redirect_uri"] == BACK
        assert "the issuer does not take the code" in await refusal(provider, proof)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_client_brings_an_id_token(algorithm: str) -> None:
    async with open_issuer() as issuer:
        provider = provider_of(issuer, Clock())
        flow = next(flows(provider))
        shown = await provider.shown(brought(flow, issuer.id_token(flow.nonce, algorithm)))
        assert (shown.issuer, shown.subject) == (issuer.url, "ada")
        several = issuer.id_token(flow.nonce, aud=["greenroom", "other"], azp="greenroom")
        assert (await provider.shown(brought(flow, several))).subject == "ada"


async def test_what_an_issuer_says_of_itself_is_asked_for_once_however_many_come() -> None:
    async with open_issuer() as issuer:
        clock = Clock()
        provider = provider_of(issuer, clock)

        async def sign_in() -> None:
            flow = next(flows(provider))
            await provider.shown(brought(flow, issuer.id_token(flow.nonce)))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(sign_in)
        assert issuer.hits == {"/.well-known/openid-configuration": 1, "/jwks": 1}
        clock.now += KEPT_S
        await sign_in()
        assert issuer.hits == {"/.well-known/openid-configuration": 2, "/jwks": 2}


async def test_a_new_key_of_the_issuer_is_found_and_an_old_one_forgotten() -> None:
    async with open_issuer() as issuer:
        clock = Clock()
        provider = provider_of(issuer, clock)
        flow = next(flows(provider))
        issuer.keys = [jwk_of("rsa")]
        await provider.shown(brought(flow, issuer.id_token(flow.nonce)))
        issuer.keys = [jwk_of("ec", "new")]
        token = issuer.id_token(flow.nonce, "ES256", kid="new")
        assert "the issuer has no such key" in await refusal(provider, brought(flow, token))
        clock.now += AGAIN_S
        assert (await provider.shown(brought(flow, token))).subject == "ada"
        old = brought(flow, issuer.id_token(flow.nonce))
        assert "the issuer has no such key" in await refusal(provider, old)


# --- tokens that are not valid -------------------------------------------------------------------

NOW = 1_900_000_000
PUBLIC = PRIVATE["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
Forge = Callable[[Issuer, str], str]


def unsigned(issuer: Issuer, nonce: str) -> str:
    return issuer.id_token(nonce, "none", key="", kid="rsa")


def with_hmac(issuer: Issuer, nonce: str) -> str:
    """The oldest trick: the public key, which everybody knows, as the key of an HMAC."""
    import hashlib
    import hmac

    _, body, _ = issuer.id_token(nonce).split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"rsa"}').decode()
    signed = f"{head.rstrip('=')}.{body}"
    mac = hmac.digest(PUBLIC, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def changed(issuer: Issuer, nonce: str) -> str:
    head, body, signature = issuer.id_token(nonce).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    other = json.dumps(claims | {"sub": "eve"}).encode()
    return f"{head}.{base64.urlsafe_b64encode(other).decode().rstrip('=')}.{signature}"


FORGERIES: dict[str, tuple[Forge, str]] = {
    "unsigned": (unsigned, "bad_id_token: its algorithm is not allowed"),
    "hmac": (with_hmac, "bad_id_token: its algorithm is not allowed"),
    "not allowed": (lambda i, n: i.id_token(n, "RS512", key=PRIVATE["rsa"]), "algorithm"),
    "changed": (changed, "bad_id_token: its signature is not valid"),
    "another key": (
        lambda i, n: i.id_token(n, key=rsa.generate_private_key(65537, 2048)),
        "bad_id_token: its signature is not valid",
    ),
    "no such key": (lambda i, n: i.id_token(n, kid="x"), "bad_id_token: the issuer has no such"),
    "a key of another kind": (lambda i, n: i.id_token(n, kid="ec"), "bad_id_token: the issuer has"),
    "audience": (lambda i, n: i.id_token(n, aud="other"), "bad_id_token: it is for somebody else"),
    "audiences": (
        lambda i, n: i.id_token(n, aud=["greenroom", "other"]),
        "bad_id_token: it was given to somebody else",
    ),
    "party": (lambda i, n: i.id_token(n, azp="other"), "bad_id_token: it was given to somebody"),
    "issuer": (lambda i, n: i.id_token(n, iss="https://x"), "bad_id_token: it is of another"),
    "nonce": (lambda i, _: i.id_token("another"), "bad_id_token: its nonce is of another sign-in"),
    "no nonce": (lambda i, _: i.id_token(None), "bad_id_token: it has no nonce"),
    "nonce of a wrong type": (lambda i, _: i.id_token(7), "bad_id_token: its nonce"),
    "no subject": (lambda i, n: i.id_token(n, sub=None), "bad_id_token: it has no sub"),
    "empty subject": (lambda i, n: i.id_token(n, sub=""), "bad_id_token"),
    "long subject": (lambda i, n: i.id_token(n, sub="x" * 256), "bad_id_token: it has no subject"),
    "expired": (lambda i, n: i.id_token(n, exp=NOW - 10**9), "id_token_expired"),
    "no end": (lambda i, n: i.id_token(n, exp=None), "bad_id_token: it has no exp"),
    "not yet": (lambda i, n: i.id_token(n, nbf=NOW + 10**9), "bad_id_token: it is not valid yet"),
    "of the future": (lambda i, n: i.id_token(n, iat=NOW + 10**9), "bad_id_token: it is not"),
    "nonsense": (lambda _, __: "nonsense", "bad_id_token: it is no signed token"),
    "empty parts": (lambda _, __: "..", "bad_id_token: it is no signed token"),
    "critical": (
        lambda i, n: "." .join(
            [base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"rsa","crit":["b64"],"b64":false}')
             .decode().rstrip("="), *i.id_token(n).split(".")[1:]]
        ),
        "bad_id_token",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", FORGERIES)
async def test_an_id_token_that_is_not_valid_is_refused_by_name(which: str) -> None:
    forge, text = FORGERIES[which]
    async with open_issuer() as issuer:
        provider = provider_of(issuer, Clock())
        flow = next(flows(provider))
        assert text in await refusal(provider, brought(flow, forge(issuer, flow.nonce)))


async def test_a_flood_of_unknown_keys_is_no_flood_of_requests() -> None:
    async with open_issuer() as issuer:
        clock = Clock()
        provider = provider_of(issuer, clock)
        flow = next(flows(provider))

        async def flood(number: int) -> None:
            proof = brought(flow, issuer.id_token(flow.nonce, kid=f"k{number}"))
            assert "the issuer has no such key" in await refusal(provider, proof)

        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(flood, number)
            clock.now += AGAIN_S
        assert issuer.hits["/jwks"] == 3


# --- sign-ins that are not the player's own ------------------------------------------------------


async def test_a_state_is_of_one_begin_and_only_who_began_can_end_it() -> None:
    async with open_issuer() as issuer:
        clock = Clock()
        provider = provider_of(issuer, clock)
        mine, theirs = next(flows(provider)), next(flows(provider))
        token = issuer.id_token(mine.nonce)
        swapped = brought(mine, token, secret=theirs.secret)
        for proof in (
            swapped,
            brought(mine, token, secret=""),
            brought(mine, token, state=""),
            brought(mine, token, state=mine.state[:-2]),
            brought(mine, token, state=mine.state + "="),
            brought(mine, token, state="ü", secret="ü"),
            brought(mine, token, state="A" * 200),
        ):
            assert await refusal(provider, proof) == (
                "bad_state: The sign-in was not begun like this, or has run out; begin again."
            )
        other = provider_of(issuer, clock)
        other.name = "other"
        assert "bad_state" in await refusal(other, brought(mine, token))
        # A nonce of another sign-in, although that was begun here as well.
        assert "its nonce" in await refusal(provider, brought(theirs, token))
        clock.now += 600
        assert await refusal(provider, brought(mine, token)) == "bad_state: it has run out"


async def test_a_code_needs_the_redirect_of_its_begin() -> None:
    async with open_issuer() as issuer:
        provider = provider_of(issuer, Clock())
        with pytest.raises(RequestError, match="does not have this redirect"):
            await provider.begin("https://evil.example/back")
        flow = next(flows(provider))
        proof = brought(flow, "code", is_code=True)
        assert await refusal(provider, proof) == "bad_proof: this sign-in has no redirect"
        without = provider_of(issuer, Clock(), redirects=[])
        assert (await without.begin(""))[1] == ""


# --- issuers that misbehave ----------------------------------------------------------------------


async def test_an_issuer_that_is_gone_is_told_and_asked_again_later() -> None:
    async with open_issuer() as issuer:
        pass
    clock = Clock()
    provider = provider_of(issuer, clock)
    flow = next(flows(provider))
    proof = brought(flow, issuer.id_token(flow.nonce))
    for _ in range(5):
        assert (await refusal(provider, proof)).startswith("provider_away: 127.0.0.1 cannot be")
    assert provider.outgoing.asked == 1
    clock.now += AFTER_FAILURE_S
    await refusal(provider, proof)
    assert provider.outgoing.asked == 2


async def test_while_an_issuer_is_away_its_keys_hold_on() -> None:
    clock = Clock()
    async with open_issuer() as issuer:
        provider = provider_of(issuer, clock)
        flow = next(flows(provider))
        token = issuer.id_token(flow.nonce)
        await provider.shown(brought(flow, token))
    clock.now += KEPT_S
    flow = next(flows(provider))
    token = issuer.id_token(flow.nonce)
    assert (await provider.shown(brought(flow, token))).subject == "ada"


async def slow(stream: trio.SocketStream, path: str) -> bool:
    """Takes for ever, but never stops."""
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        await stream.send_all(b" ")
        await trio.sleep(0.01)


async def silent(stream: trio.SocketStream, path: str) -> bool:
    await trio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("answer", [slow, silent])
async def test_an_issuer_that_is_slow_is_cut_off(answer: Any) -> None:
    async with open_issuer() as issuer:
        issuer.answer = answer
        provider = provider_of(issuer, Clock(), timeout_s=0.1)
        flow = next(flows(provider))
        proof = brought(flow, issuer.id_token(flow.nonce))
        assert await refusal(provider, proof) == (
            "provider_away: 127.0.0.1 has not answered in time"
        )
        # And all of it together, however many requests that takes.
        hasty = provider_of(issuer, Clock(), timeout_s=1000.0)
        proof = brought(next(flows(hasty)), issuer.id_token("x"))
        assert await refusal(hasty, proof, timeout_s=0.1) == (
            "provider_away: test has not answered in time"
        )


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (500, b"{}", "provider_away: 127.0.0.1 has answered 500"),
        (429, b"{}", "provider_away: 127.0.0.1 has answered 429"),
        (404, b"{}", "provider_failed: it has no configuration"),
        (302, b"{}", "provider_failed: it has no configuration"),
        (200, b"[1]", "provider_failed: it has no configuration"),
        (200, b"\xff", "provider_failed: it has no configuration"),
        (200, b"[" * 60_000, "provider_failed: it has no configuration"),
        (200, b" " * 65_537, "provider_failed: its answer is too long"),
    ],
)
async def test_an_issuer_that_answers_nonsense_is_told(status: int, body: bytes, text: str) -> None:
    async def nonsense(stream: trio.SocketStream, path: str) -> bool:
        await answered(stream, status, body, f"Location: {issuer.url}/elsewhere")
        return True

    async with open_issuer() as issuer:
        issuer.answer = nonsense
        provider = provider_of(issuer, Clock())
        flow = next(flows(provider))
        assert await refusal(provider, brought(flow, issuer.id_token(flow.nonce))) == text
        assert "/elsewhere" not in issuer.hits  # no redirect is followed


async def test_an_answer_that_is_no_http_is_told() -> None:
    async def garbage(stream: trio.SocketStream, path: str) -> bool:
        await stream.send_all(b"\x16\x03\x01 hello\r\n\r\n")
        return True

    async with open_issuer() as issuer:
        issuer.answer = garbage
        provider = provider_of(issuer, Clock())
        flow = next(flows(provider))
        found = await refusal(provider, brought(flow, issuer.id_token(flow.nonce)))
        assert found.startswith("provider_away: 127.0.0.1 cannot be asked")


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "issuer": ({"issuer": "https://other.example"}, "its configuration is of another issuer"),
    "keys elsewhere": ({"jwks_uri": "http://169.254.169.254/x"}, "its addresses are not https"),
    "a file": ({"jwks_uri": "file:///etc/passwd"}, "its addresses are not https"),
    "a password": ({"jwks_uri": "https://a:b@x.example/"}, "its addresses are not https"),
    "no address": ({"token_endpoint": None}, "it has no configuration"),
}


@pytest.mark.parametrize("which", LIES)
async def test_an_issuer_that_lies_about_itself_is_told(which: str) -> None:
    said, text = LIES[which]
    async with open_issuer() as issuer:
        issuer.said |= said
        provider = provider_of(issuer, Clock())
        flow = next(flows(provider))
        found = await refusal(provider, brought(flow, issuer.id_token(flow.nonce)))
        assert found == f"provider_failed: {text}"


KEYS: dict[str, tuple[Any, str]] = {
    "none": ([], "bad_id_token: the issuer has no such key"),
    "no list": ("rsa", "provider_failed: it has no keys, or too many"),
    "too many": ([jwk_of("rsa", str(n)) for n in range(65)], "provider_failed: it has no keys"),
    "of something else": ([7, None, {}, {"kid": "rsa"}], "bad_id_token: the issuer has no such"),
    "for another use": ([jwk_of("rsa", use="enc")], "bad_id_token: the issuer has no such key"),
    "for another algorithm": ([jwk_of("rsa", alg="PS512")], "bad_id_token: the issuer has no such"),
    "a short one": (
        [jwk_of("rsa", n=jwk_of("rsa")["n"][:100])], "bad_id_token: the issuer has no such key",
    ),
    "a private one": ([jwk_of("rsa", d="AQAB")], "bad_id_token: the issuer has no such key"),
    "one twice": ([jwk_of("rsa"), jwk_of("rsa")], "bad_id_token: it does not say by which key"),
    "a shared secret": (
        [{"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"}], "bad_id_token: the issuer has no such key",
    ),
    "another one": (
        [jwk_of("rsa", n=base64.urlsafe_b64encode(b"\xc1" * 256).decode().rstrip("="))],
        "bad_id_token: its signature is not valid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", KEYS)
async def test_an_issuer_that_lies_about_its_keys_is_told(which: str) -> None:
    keys, text = KEYS[which]
    async with open_issuer() as issuer:
        issuer.keys = keys
        provider = provider_of(issuer, Clock())
        flow = next(flows(provider))
        found = await refusal(provider, brought(flow, issuer.id_token(flow.nonce)))
        assert found.startswith(text)


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://x.example/a", True),
        ("http://127.0.0.1:8/a", True),
        ("http://[::1]/a", True),
        ("http://localhost/a", True),
        ("http://x.example/a", False),
        ("http://127.0.0.1.x.example/", False),
        ("ftp://x.example", False),
        ("https://", False),
        ("https://x:99999/", False),
        ("//x.example", False),
    ],
)
def test_only_tls_and_this_machine_are_asked(url: str, may: bool) -> None:
    assert may_be_asked(url) is may


async def test_a_certificate_that_nobody_trusts_is_not_taken() -> None:
    import ssl

    import trustme

    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)

    async def greet(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)
            return
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}")

    from actors.accounts.outgoing import Outgoing

    mine = ssl.create_default_context()
    authority.configure_trust(mine)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_ssl_over_tcp_listeners(0, theirs, host="127.0.0.1")
        beneath: Any = listener.transport_listener
        port = beneath.socket.getsockname()[1]
        nursery.start_soon(lambda: trio.serve_listeners(greet, [listener]))
        for tls, text in ((None, "cannot be asked: ConnectError"), (mine, "")):
            outgoing = Outgoing(timeout_s=30.0, answer_bytes=100, at_once=1, tls=tls)
            if text:
                with pytest.raises(RequestError, match=text):
                    await outgoing.get(f"https://localhost:{port}/")
            else:
                assert (await outgoing.get(f"https://localhost:{port}/")).body == {}
        nursery.cancel_scope.cancel()
