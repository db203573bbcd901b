"""`SignInDesk`: signs players in over HTTP, and refreshes their tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from actors.accounts.access import AccountAccess
from actors.accounts.callers import check_back_end
from actors.accounts.identities import CUSTOM, DEVICE, GUEST, hash_of
from actors.accounts.profile_desk import shown_name, username_of
from actors.accounts.rows import (
    EraseAccount,
    ExportAccount,
    Let,
    Refresh,
)
from actors.accounts.settings import AccountSettings
from actors.accounts.sign_in_limits import Attempt, SignInLimits
from actors.accounts.signing_in import (
    DeviceLabel,
    ShownName,
    SignedIn,
    SigningIn,
    new_refresh,
    new_user,
)
from actors.edge.access_tokens import is_access_token
from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.api.callers import ApiCaller, Credentials
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import Facts
from protocol.errors import (
    ACCOUNT_CLOSED,
    BAD_TOKEN,
    BAD_USERNAME,
    BANNED,
    FORBIDDEN,
    NAME_RESERVED,
    NAME_TAKEN,
    SECOND_FACTOR,
    SIGN_INS_FULL,
    SIGNED_OUT,
    TOO_MANY_SIGN_INS,
    UNAVAILABLE,
)
from protocol.http.exchange import HttpResponse
from protocol.roles import ANYONE, PLAYER, with_included


class GuestSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """Signs a guest in, who has nothing to prove who they are.

    If the request bears the token of a guest's session, the account gets that guest's user id.
    `username` is for an account that is made.
    """

    name: ShownName
    label: DeviceLabel = ""
    username: ShownName | None = None


class DeviceSignIn(GuestSignIn, frozen=True, kw_only=True):
    """Signs in by the id of a device: a secret, random text that the client keeps."""

    device: Annotated[str, Meta(min_length=16, max_length=128)]


class CustomSignIn(GuestSignIn, frozen=True, kw_only=True):
    """Signs a user in by an id that a back end vouches for with its API key."""

    custom: Annotated[str, Meta(min_length=1, max_length=128)]


class RefreshGiven(msgspec.Struct, frozen=True, kw_only=True):
    """A refresh token."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=128)]


class SignInDesk:
    """Answers the routes of accounts.

    Arguments:
        facts: runs the commands and queries of accounts.
        access: issues access tokens, and takes the endings that are made on this node.
        signing: makes sign-ins.
        limits: bounds how often somebody may try.
        settings: the section of accounts.
        void_s: the time after the end of a sign-in in which its tokens could be valid, in seconds.

    Attributes:
        signed_in: way to sign in -> how many times it was taken.
        refreshed: how many refresh tokens were shown.
        reused: how many of them had been used before.
    """

    def __init__(
        self,
        *,
        facts: Facts,
        access: AccountAccess,
        signing: SigningIn,
        limits: SignInLimits,
        settings: AccountSettings,
        void_s: float,
    ) -> None:
        self._facts = facts
        self._access = access
        self._signing = signing
        self._limits = limits
        self._settings = settings
        self._void_s = void_s
        self.signed_in: Counter[str] = Counter(guest=0, device=0, custom=0)
        self.refreshed = 0
        self.reused = 0

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes of the HTTP API."""
        ways: list[tuple[str, type[GuestSignIn], str, str]] = [
            ("guest", GuestSignIn, ANYONE, "Sign in as a guest, with a new account or as it was."),
            ("device", DeviceSignIn, ANYONE, "Sign in by the id of a device."),
            ("custom", CustomSignIn, PLAYER, "Sign a user in by an id of the back end that asks."),
        ]
        return (
            *(
                ApiRoute(
                    method="POST", path=f"/v1/sign-in/{way}", role=role, summary=summary,
                    scope="account.sign_in",
                    handle=self._sign_in, body=body, answer=SignedIn,
                    errors=(
                        FORBIDDEN, BAD_USERNAME, NAME_RESERVED, NAME_TAKEN, BANNED,
                        ACCOUNT_CLOSED, SECOND_FACTOR, SIGN_INS_FULL,
                        TOO_MANY_SIGN_INS,
                        UNAVAILABLE,
                    ),
                )
                for way, body, role, summary in ways
            ),
            ApiRoute(
                method="POST", path="/v1/refresh", role=ANYONE, body=RefreshGiven, answer=SignedIn,
                summary="Get new tokens for a refresh token. One that was used ends its sign-in.",
                handle=self._refresh,
                errors=(BAD_TOKEN, SIGNED_OUT, BANNED, ACCOUNT_CLOSED, UNAVAILABLE),
            ),
        )  # fmt: skip

    async def authenticate(self, given: Credentials) -> ApiCaller | None:
        """Return who calls with an access token, as an `Authenticate` does."""
        if not is_access_token(given.token):
            return None
        grant = self._access.verify(given.token)
        if given.user is not None and given.user != grant.user:
            raise Refused(FORBIDDEN, "only a back end with a key asks on behalf of others")
        roles = with_included((PLAYER, *grant.roles))
        who = Identity(
            "", grant.user, grant.name, roles=roles, address=given.address, sign_in=grant.sign_in
        )
        return ApiCaller(who=who)

    async def export(self, user: str) -> Any:
        """Return what is kept of a user, as plain values: of tokens, only their times."""
        return await self._facts.ask(ExportAccount(user))

    async def erase(self, user: str) -> None:
        """Delete the account of a user, and end its sessions."""
        done = await self._facts.execute(EraseAccount(user, self._void_s), user=user)
        self._access.apply(done.endings)

    # --- routes ----------------------------------------------------------------------------------

    async def _sign_in(self, call: ApiCall) -> SignedIn | HttpResponse:
        body = call.body
        if isinstance(body, CustomSignIn):
            check_back_end(call.who)
            await self.count(Attempt())
            return await self.sign_in(call, CUSTOM, CUSTOM, body.custom)
        if isinstance(body, DeviceSignIn):
            await self.count(Attempt(call.address, f"device {body.device}"))
            return await self.sign_in(call, DEVICE, DEVICE, body.device)
        await self.count(Attempt(call.address))
        return await self.sign_in(call, GUEST, "", "")

    async def count(self, attempt: Attempt) -> None:
        """Count an attempt to sign in.

        Raises Refused: there were too many, or no token could be issued yet.
        """
        self._signing.check_keys()
        await self._limits.count(attempt)

    async def sign_in(
        self,
        call: ApiCall,
        way: str,
        provider: str,
        subject: str,
        *,
        flow: tuple[bytes, float] = (b"", 0.0),
    ) -> SignedIn | HttpResponse:
        """Sign somebody in, into the account of an identity, which is made if there is none.

        With the token of a guest's session, the guest becomes that account.

        Arguments:
            call: its body is a `GuestSignIn`.
            way: what it is counted as.
            provider: the first half of the identity; empty: a guest's, which has none.
            subject: the second half.
            flow: see `actors.accounts.identities.use_flow`.
        """
        self._signing.check_keys()  # without keys, a sign-in would be made whose tokens nobody gets
        who, body = call.who, call.body
        user, guest = new_user(), False
        if who is not None and not who.key and not who.sign_in:
            user, guest = who.user, True  # of the token of a guest's session
        username = None if body.username is None else username_of(body.username, self._settings)
        command, refresh = self._signing.begin(
            user,
            shown_name(body.name),
            body.label,
            provider=provider,
            subject=hash_of(subject),
            guest=guest,
            username=username,
            flow=flow,
            address=call.peer,
        )
        let: Let = await self._facts.execute(command, user=user)
        self.signed_in[way] += 1
        return self._signing.tokens(let, refresh)

    async def _refresh(self, call: ApiCall) -> SignedIn | HttpResponse:
        self._signing.check_keys()  # without keys, the token would be used up for nothing
        refresh = new_refresh()
        command = Refresh(
            hash_of(call.body.refresh_token),
            hash_of(refresh),
            self._settings.refresh_valid_s,
            self._void_s,
            call.peer,
        )
        let: Let = await self._facts.execute(command, user=call.body.refresh_token[-16:])
        self.refreshed += 1
        if let.reused:
            self.reused += 1
            raise Refused(SIGNED_OUT, "the refresh token was used before")
        return self._signing.tokens(let, refresh)
