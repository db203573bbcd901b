"""`ProviderDesk`: signs players in by what a provider elsewhere says of them, over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from actors.accounts.providers import Proof, Shown
from actors.accounts.sign_in_desk import GuestSignIn, SignInDesk
from actors.accounts.sign_in_limits import Attempt
from actors.accounts.signing_in import SignedIn
from actors.accounts.vouchers import Vouchers
from actors.edge.api.api_route import ApiCall, ApiRoute
from protocol.errors import (
    ACCOUNT_CLOSED,
    BAD_MESSAGE,
    BANNED,
    SECOND_FACTOR,
    SIGN_INS_FULL,
    TOO_MANY_SIGN_INS,
    UNAVAILABLE,
    RequestError,
)
from protocol.http.exchange import HttpResponse
from protocol.messages.identities import PROVIDED
from protocol.roles import ANYONE

_Flow = Annotated[str, Meta(min_length=1, max_length=2048)]
_Proof = Annotated[str, Meta(min_length=1, max_length=8192)]


class OidcBegin(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that begins. `redirect`: where the issuer sends the player back to, as configured.

    Left out: to the first address that is configured.
    """

    redirect: Annotated[str, Meta(max_length=2048)] = ""


class OidcBegun(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that has begun. The client opens `url` and keeps `secret` to itself.

    A client that gets an ID token by itself asks for one with this `nonce`.
    """

    url: str
    state: str
    secret: str
    nonce: str
    valid_s: float


class OidcCode(GuestSignIn, frozen=True, kw_only=True):
    """The `code` and the `state` with which the issuer has sent the player back."""

    code: _Proof
    state: _Flow
    secret: _Flow


class OidcToken(GuestSignIn, frozen=True, kw_only=True):
    """An ID token that the client has got by itself, with the nonce of the begin."""

    id_token: _Proof
    state: _Flow
    secret: _Flow


class ProviderSignIn(GuestSignIn, frozen=True, kw_only=True):
    """A sign-in by what a provider of the configuration has given the client, such as a ticket."""

    proof: _Proof


class ProviderDesk:
    """Answers the routes of sign-ins by a provider.

    Arguments:
        sign_ins: signs in.
        vouchers: the providers.

    Attributes:
        refused: how many proofs were refused, by the code.
    """

    def __init__(self, sign_ins: SignInDesk, vouchers: Vouchers) -> None:
        self._sign_ins = sign_ins
        self._vouchers = vouchers
        self.refused: Counter[str] = Counter()

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes of the HTTP API."""
        errors = (
            *PROVIDED, BANNED, ACCOUNT_CLOSED, SECOND_FACTOR, SIGN_INS_FULL, UNAVAILABLE,
            TOO_MANY_SIGN_INS,
        )  # fmt: skip
        at = "/v1/sign-in/oidc/{provider}"
        return (
            ApiRoute(
                method="POST", path=at, role=ANYONE, scope="account.sign_in",
                elsewhere=True,
                summary="Begin a sign-in by an issuer of OpenID Connect.",
                handle=self._begin, body=OidcBegin, answer=OidcBegun,
                errors=(BAD_MESSAGE, *errors),
            ),
            ApiRoute(
                method="POST", path=f"{at}/callback", role=ANYONE, scope="account.sign_in",
                elsewhere=True,
                summary="End it with the code that the player came back with.",
                handle=self._code, body=OidcCode, answer=SignedIn, errors=errors,
            ),
            ApiRoute(
                method="POST", path=f"{at}/token", role=ANYONE, scope="account.sign_in",
                elsewhere=True,
                summary="End it with an ID token that the client has got by itself.",
                handle=self._token, body=OidcToken, answer=SignedIn, errors=errors,
            ),
            ApiRoute(
                method="POST", path="/v1/sign-in/with/{provider}", role=ANYONE,
                scope="account.sign_in", elsewhere=True,
                summary="Sign in by the ticket of another provider.",
                handle=self._ticket, body=ProviderSignIn, answer=SignedIn, errors=errors,
            ),
        )  # fmt: skip

    async def _begin(self, call: ApiCall) -> OidcBegun:
        provider = self._vouchers.issuer(call.path["provider"])
        with self._vouchers.waiting():
            flow, url = await provider.begin(call.body.redirect)
        return OidcBegun(
            url=url,
            state=flow.state,
            secret=flow.secret,
            nonce=flow.nonce,
            valid_s=self._vouchers.flow_valid_s,
        )

    async def _code(self, call: ApiCall) -> SignedIn | HttpResponse:
        body: OidcCode = call.body
        proof = Proof(text=body.code, is_code=True, state=body.state, secret=body.secret)
        self._vouchers.issuer(call.path["provider"])
        return await self._sign_in(call, proof)

    async def _token(self, call: ApiCall) -> SignedIn | HttpResponse:
        body: OidcToken = call.body
        self._vouchers.issuer(call.path["provider"])
        proof = Proof(text=body.id_token, state=body.state, secret=body.secret)
        return await self._sign_in(call, proof)

    async def _ticket(self, call: ApiCall) -> SignedIn | HttpResponse:
        body: ProviderSignIn = call.body
        return await self._sign_in(call, Proof(text=body.proof))

    async def _sign_in(self, call: ApiCall, proof: Proof) -> SignedIn | HttpResponse:
        await self._sign_ins.count(Attempt(call.address))  # before the provider is asked
        name = call.path["provider"]
        try:
            shown: Shown = await self._vouchers.shown(name, proof)
        except RequestError as error:
            self.refused[error.error.code] += 1
            raise
        return await self._sign_ins.sign_in(
            call, name, shown.issuer, shown.subject, flow=(shown.flow, shown.flow_until)
        )
