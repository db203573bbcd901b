"""`OidcProvider`: an issuer of OpenID Connect, and what it says of a player.

What the issuer says of itself (its configuration and its keys) is kept for an hour. A token with a
key that is not known has the keys read anew, but not more often than every `AGAIN_S`, so that a
flood of such tokens does not become a flood of requests.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode

import jwt
import msgspec
import trio
from msgspec import Meta

from actors.accounts.flows import Flow, Flows
from actors.accounts.id_tokens import key_id_of, public_key, verified_subject
from actors.accounts.outgoing import Outgoing, may_be_asked
from actors.accounts.providers import Proof, Shown
from actors.edge.failures import Refused
from protocol.errors import (
    BAD_ID_TOKEN,
    BAD_MESSAGE,
    BAD_PROOF,
    PROVIDER_AWAY,
    PROVIDER_FAILED,
    RequestError,
)

KEPT_S: Final = 3600.0
AGAIN_S: Final = 30.0
AFTER_FAILURE_S: Final = 1.0
"""How long after a failure the issuer is not asked again, but everybody refused at once."""
MOST_KEYS: Final = 64
LEEWAY_S: Final = 60.0
"""How far the issuer's clock may be from this one's."""

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Those of a public key. HMAC is never accepted: whoever knows the public key could sign by it."""


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An issuer of OpenID Connect.

    Attributes:
        issuer: its address, exactly as in its configuration.
        client_id: what this game is called there.
        client_secret_file: the file with the secret of the client, beside config.toml; empty: it is
            a public client.
        redirects: the addresses that the issuer may send a player back to; empty: clients bring ID
            tokens only.
        scope: what is asked of the issuer; "openid" is enough.
        algorithms: what its tokens may be signed by.
    """

    issuer: Annotated[str, Meta(pattern=r"^https?://[^\s#?]+\Z", max_length=512)]
    client_id: Annotated[str, Meta(min_length=1, max_length=512)]
    client_secret_file: str = ""
    redirects: tuple[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.\-]*:\S+\Z")], ...] = ()
    scope: Annotated[str, Meta(pattern=r"^openid( [!#-\[\]-~]+)*\Z")] = "openid"
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = (
        "RS256", "PS256", "ES256", "EdDSA",
    )  # fmt: skip


class _Configuration(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Kept:
    """What was read of an issuer, and when."""

    def __init__(self) -> None:
        self.value: Any = None
        self.read_at = -float("inf")
        self.failed_at = -float("inf")
        self.failure: RequestError | None = None
        self.lock = trio.Lock()


class OidcProvider:
    """One issuer.

    Arguments:
        name: its name in the configuration.
        settings: its settings.
        secret: the secret of the client; None: it is a public one.
        flows: the sign-ins that have begun.
        outgoing: asks the issuer.
        clock: seconds, on a clock that does not go back.
    """

    def __init__(
        self,
        name: str,
        settings: OidcSettings,
        secret: str | None,
        *,
        flows: Flows,
        outgoing: Outgoing,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.settings = settings
        self._secret = secret
        self.flows = flows
        self.outgoing = outgoing
        self._clock = clock
        self._configuration = _Kept()
        self._keys = _Kept()

    async def begin(self, redirect: str) -> tuple[Flow, str]:
        """Begin a sign-in. Returns it, and the address at which the player signs in.

        `redirect`: where the issuer sends the player back to; empty: the first of the settings, or
        none if the client gets an ID token by itself. The address is empty then.

        Raises Refused: BAD_MESSAGE; the settings do not have that one. PROVIDER_AWAY,
        PROVIDER_FAILED.
        """
        redirects = self.settings.redirects
        if redirect and redirect not in redirects:
            raise Refused(BAD_MESSAGE, "the configuration does not have this redirect")
        redirect = redirect or next(iter(redirects), "")
        flow = self.flows.begin(self.name, redirect)
        if not redirect:
            return flow, ""
        at = (await self._read_configuration()).authorization_endpoint
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect,
            "scope": self.settings.scope,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": _challenge(flow.verifier),
            "code_challenge_method": "S256",
        }
        return flow, f"{at}{'&' if '?' in at else '?'}{urlencode(asked)}"

    async def shown(self, proof: Proof) -> Shown:
        """Return who has an ID token, or a code for one. Raises Refused."""
        flow = self.flows.find(self.name, proof.state, proof.secret)
        token = await self._redeemed(proof.text, flow) if proof.is_code else proof.text
        key_id, algorithm = key_id_of(token, self.settings.algorithms)
        subject = verified_subject(
            token,
            await self._key(key_id, algorithm),
            algorithm=algorithm,
            issuer=self.settings.issuer,
            audience=self.settings.client_id,
            nonce=flow.nonce,
            leeway_s=LEEWAY_S,
        )
        return Shown(
            issuer=self.settings.issuer, subject=subject, flow=flow.id, flow_until=flow.until
        )

    async def _redeemed(self, code: str, flow: Flow) -> str:
        """Return the ID token for a code."""
        if not flow.redirect:
            raise Refused(BAD_PROOF, "this sign-in has no redirect")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": flow.redirect,
            "client_id": self.settings.client_id,
            "code_verifier": flow.verifier,
        }
        headers = {}
        if self._secret is not None:
            # RFC 6749, section 2.3.1, which every issuer takes.
            pair = f"{quote(self.settings.client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        at = (await self._read_configuration()).token_endpoint
        answer = await self.outgoing.post(at, form, headers=headers)
        if answer.status != 200:
            raise Refused(BAD_PROOF, "the issuer does not take the code")
        token = (answer.body or {}).get("id_token")
        if not isinstance(token, str):
            raise Refused(PROVIDER_FAILED, "it gave no ID token")
        return token

    async def _key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        for age_s in (KEPT_S, AGAIN_S):
            keys = await self._kept(self._keys, age_s, self._read_keys)
            fitting = [
                key
                for one in keys
                if key_id is None or one.get("kid") == key_id
                if (key := public_key(one, algorithm)) is not None
            ]
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                raise Refused(BAD_ID_TOKEN, "it does not say by which key it is signed")
        raise Refused(BAD_ID_TOKEN, "the issuer has no such key")

    async def _read_configuration(self) -> _Configuration:
        async def read() -> _Configuration:
            issuer = self.settings.issuer
            answer = await self.outgoing.get(
                f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            )
            try:
                found = msgspec.convert(answer.body, _Configuration)
            except msgspec.ValidationError:
                raise Refused(PROVIDER_FAILED, "it has no configuration") from None
            if found.issuer != issuer:
                raise Refused(PROVIDER_FAILED, "its configuration is of another issuer")
            for at in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                if not may_be_asked(at):
                    raise Refused(PROVIDER_FAILED, "its addresses are not https")
            return found

        kept: _Configuration = await self._kept(self._configuration, KEPT_S, read)
        return kept

    async def _read_keys(self) -> list[dict[str, Any]]:
        answer = await self.outgoing.get((await self._read_configuration()).jwks_uri)
        keys = (answer.body or {}).get("keys")
        if answer.status != 200 or not isinstance(keys, list) or len(keys) > MOST_KEYS:
            raise Refused(PROVIDER_FAILED, "it has no keys, or too many")
        return [key for key in keys if isinstance(key, dict)]

    async def _kept(self, kept: _Kept, age_s: float, read: Callable[[], Any]) -> Any:
        """Return what was read, unless it is older. Only one reads; the others wait for it.

        While the issuer is away, what was read before holds on.
        """
        async with kept.lock:
            now = self._clock()
            if now - kept.read_at < age_s:
                return kept.value
            if now - kept.failed_at < AFTER_FAILURE_S and kept.value is None:
                assert kept.failure is not None
                raise Refused(kept.failure.error, kept.failure.detail)
            if now - kept.failed_at < AGAIN_S and kept.value is not None:
                return kept.value
            try:
                kept.value = await read()
            except trio.Cancelled:
                kept.failed_at = self._clock()
                kept.failure = RequestError(PROVIDER_AWAY, "it has not answered in time")
                raise
            except RequestError as failure:
                kept.failed_at, kept.failure = self._clock(), failure
                if kept.value is None:
                    raise
            else:
                kept.read_at = self._clock()
            return kept.value


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
