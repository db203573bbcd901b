"""`SigningIn`: what all ways to sign in have in common: a new sign-in, and the tokens for it."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from actors.accounts.access import AccountAccess
from actors.accounts.endings import SignInCapacity
from actors.accounts.identities import hash_of
from actors.accounts.rows import Let, SignIn
from actors.accounts.rules.usernames import Username
from actors.accounts.settings import AccountSettings
from actors.edge.failures import Refused
from protocol.errors import SECOND_FACTOR, UNAVAILABLE
from protocol.http.exchange import HttpResponse, answered

REFRESH_PREFIX: Final = "grr_"
ShownName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
DeviceLabel = Annotated[str, Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a sign-in. A refresh token is used once: the answer brings the next one."""

    user: str
    name: str
    sign_in: str
    created: bool
    access_token: str
    access_valid_s: float
    refresh_token: str
    refresh_valid_s: float


class FactorWanted(msgspec.Struct, frozen=True):
    """A refusal, as all are, and the ticket with which the second factor is shown."""

    code: str
    message: str
    retry: bool
    ticket: str


class SigningIn:
    """Begins sign-ins and answers them.

    Arguments:
        access: issues access tokens.
        settings: the section of accounts.
        void_s: how long tokens of a sign-in that ends could be valid.
    """

    def __init__(self, access: AccountAccess, settings: AccountSettings, void_s: float) -> None:
        self._access = access
        self._settings = settings
        self._void_s = void_s

    def check_keys(self) -> None:
        """Raise Refused if no token can be issued yet.

        To be called before a sign-in is made that nobody would be told of.
        """
        if not self._access.tokens.ready:
            raise Refused(UNAVAILABLE, "the keys are not read yet")

    def begin(
        self,
        user: str,
        name: str,
        label: str,
        *,
        provider: str,
        subject: bytes,
        guest: bool,
        username: Username | None = None,
        flow: tuple[bytes, float] = (b"", 0.0),
        address: str,
    ) -> tuple[SignIn, str]:
        """Return the command of a new sign-in, and its refresh token."""
        refresh = new_refresh()
        sign_in = SignIn(
            user, name, provider, subject, secrets.token_urlsafe(12), label, hash_of(refresh),
            self._settings.refresh_valid_s, guest, username, *flow, address,
            capacity_of(self._settings, self._void_s),
        )  # fmt: skip
        return sign_in, refresh

    def tokens(self, let: Let, refresh: str) -> SignedIn | HttpResponse:
        """Return the answer to a sign-in: tokens, or that a second factor is to be shown."""
        return waiting(refresh) if let.waits else self.signed_in(let, refresh)

    def signed_in(self, let: Let, refresh: str) -> SignedIn:
        """Return the tokens of a sign-in. Those that have given way to it end here at once."""
        self._access.apply(let.endings)
        access = self._access.tokens.issue(let.user, let.name, let.roles, let.sign_in)
        return SignedIn(
            user=let.user,
            name=let.name,
            sign_in=let.sign_in,
            created=let.created,
            access_token=access,
            access_valid_s=self._settings.access_valid_s,
            refresh_token=refresh,
            refresh_valid_s=self._settings.refresh_valid_s,
        )


def capacity_of(settings: AccountSettings, void_s: float) -> SignInCapacity:
    """Return how many sign-ins an account may have."""
    return SignInCapacity(settings.sign_ins, settings.sign_ins_full == "refuse_new", void_s)


def waiting(ticket: str) -> HttpResponse:
    """Return the refusal of a sign-in that waits for the second factor, with its ticket."""
    body = FactorWanted(SECOND_FACTOR.code, SECOND_FACTOR.message, False, ticket)
    return msgspec.structs.replace(answered(body), status=SECOND_FACTOR.status)


def new_refresh() -> str:
    """Return a new refresh token."""
    return REFRESH_PREFIX + secrets.token_urlsafe(32)


def new_user() -> str:
    """Return the id of a user who was not here before."""
    return f"guest-{secrets.token_urlsafe(12)}"
