"""An issuer of OpenID Connect that can be made to misbehave, on a port of its own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import jwt
import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from actors.accounts.flows import Flow, Flows
from actors.accounts.oidc import OidcProvider, OidcSettings
from actors.accounts.outgoing import Outgoing
from actors.edge.access_tokens import AccessKeys

CLIENT: Final = "greenroom"
BACK: Final = "https://game.example/back"
NAMES: Final = {"RS256": "rsa", "PS256": "rsa", "ES256": "ec", "EdDSA": "ed"}
PRIVATE: Final[dict[str, Any]] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ed": Ed25519PrivateKey.generate(),
}
ALGORITHM_OF: Final = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}


def jwk_of(kind: str, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """The public half of a key, as an issuer shows it."""
    algorithm = jwt.get_algorithm_by_name(ALGORITHM_OF[kind])
    found: dict[str, Any] = json.loads(algorithm.to_jwk(PRIVATE[kind].public_key()))
    return found | {"kid": kid or kind, "use": "sig"} | more


class Issuer:
    """What it answers with, which a test changes.

    Attributes:
        url: its address.
        hits: how often each path was asked for.
        keys: its keys.
        said: what it says of itself.
        codes: the ID token of each code, and the PKCE challenge that it was asked with.
        answer: answers in place of all that; None: it does not.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.hits: Counter[str] = Counter()
        self.keys: list[Any] = [jwk_of("rsa"), jwk_of("ec"), jwk_of("ed")]
        self.said: dict[str, Any] = {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "jwks_uri": f"{url}/jwks",
        }
        self.codes: dict[str, tuple[str, str]] = {}
        self.forms: list[dict[str, str]] = []
        self.answer: Callable[[trio.SocketStream, str], Awaitable[bool]] | None = None

    def id_token(
        self,
        nonce: Any,
        algorithm: str = "RS256",
        *,
        kid: str | None = "",
        key: Any = None,
        **claims: Any,
    ) -> str:
        now = time.time()
        body: dict[str, Any] = {
            "iss": self.url, "sub": "ada", "aud": CLIENT, "iat": now, "exp": now + 300,
            "nonce": nonce,
        } | claims  # fmt: skip
        name = NAMES.get(algorithm, "")
        headers = {} if kid is None else {"kid": kid or name}
        body = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(body, PRIVATE[name] if key is None else key, algorithm, headers=headers)

    def code_for(self, url: str, **claims: Any) -> str:
        """Sign in as a player does at the address `url`; returns the code."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = (self.id_token(asked["nonce"], **claims), asked["code_challenge"])
        return code

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                part = await stream.receive_some(65536)
                if not part:
                    return
                head += part
            text, _, body = head.partition(b"\r\n\r\n")
            path = text.split()[1].decode()
            lines = [line.partition(b":") for line in text.lower().split(b"\r\n")]
            length = sum(int(value) for name, _, value in lines if name == b"content-length")
            while len(body) < length:
                body += await stream.receive_some(65536)
            self.hits[path] += 1
            if self.answer is not None and await self.answer(stream, path):
                return
            status, said = self._answered(path, body)
            await answered(stream, status, json.dumps(said).encode())

    def _answered(self, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            return 200, self.said
        if path == "/jwks":
            return 200, {"keys": self.keys}
        form = dict(parse_qsl(body.decode()))
        self.forms.append(form)
        token, challenge = self.codes.pop(form["code"], ("", ""))
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        shown = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if not token or shown != challenge or form["redirect_uri"] != BACK:
            return 400, {"error": "invalid_grant"}
        return 200, {"id_token": token, "access_token": "x", "token_type": "Bearer"}


async def answered(stream: trio.SocketStream, status: int, body: bytes, *more: str) -> None:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *more]
    await stream.send_all("\r\n".join([*head, "", ""]).encode() + body)


@asynccontextmanager
async def open_issuer() -> AsyncIterator[Issuer]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        issuer = Issuer(f"http://127.0.0.1:{port}")

        async def serve(stream: trio.SocketStream) -> None:
            with contextlib.suppress(trio.BrokenResourceError):  # whoever asked has hung up
                await issuer.serve(stream)

        nursery.start_soon(lambda: trio.serve_listeners(serve, [listener]))
        yield issuer
        nursery.cancel_scope.cancel()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def provider_of(
    issuer: Issuer,
    clock: Clock,
    *,
    timeout_s: float = 30.0,
    answer_bytes: int = 65_536,
    secret: str | None = None,
    **settings: Any,
) -> OidcProvider:
    given = {"issuer": issuer.url, "client_id": CLIENT, "redirects": [BACK]} | settings
    keys = AccessKeys("k1", {"k1": b"one" * 11})
    return OidcProvider(
        "test",
        msgspec.convert(given, OidcSettings),
        secret,
        flows=Flows(lambda: keys, 600.0, clock),
        outgoing=Outgoing(timeout_s=timeout_s, answer_bytes=answer_bytes, at_once=8),
        clock=clock,
    )


def flows(provider: OidcProvider) -> Iterator[Flow]:
    """New sign-ins of a client that gets ID tokens by itself."""
    while True:
        yield provider.flows.begin("test", "")
