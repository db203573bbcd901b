"""`SecondFactorDesk`: a second factor is added, shown at a sign-in, and removed, over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
import segno
from msgspec import Meta

from actors.accounts.identities import hash_of
from actors.accounts.known_devices import known_token, new_device
from actors.accounts.mail.letters import plain_code
from actors.accounts.mail.office import MailOffice
from actors.accounts.passwords.desk import (
    PasswordDesk,
    PasswordSignedIn,
    ShownDevice,
    ShownPassword,
    TicketText,
)
from actors.accounts.second_factor.codes import (
    new_recovery_codes,
    new_secret,
    recovery_hash,
    uri_of,
)
from actors.accounts.second_factor.rows import (
    BeginSecondFactor,
    ConfirmSecondFactor,
    FactorChecked,
    FactorState,
    FindTicket,
    ReadSecondFactor,
    RemoveSecondFactor,
    RenewRecoveryCodes,
    ShowSecondFactor,
    TicketRow,
    factor_of,
)
from actors.accounts.second_factor.settings import SecondFactorSettings
from actors.accounts.sign_in_limits import Attempt, SignInLimits
from actors.accounts.signing_in import SigningIn
from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.failures import Refused
from actors.facts import Facts
from persistence.audit import AuditEntry
from protocol.errors import (
    BAD_CODE,
    BAD_CREDENTIALS,
    BUSY,
    FORBIDDEN,
    NOT_FOUND,
    SECOND_FACTOR_ON,
    TOO_MANY_SIGN_INS,
    UNAVAILABLE,
)
from protocol.roles import ANYONE, PLAYER

SCOPE: Final = "account.second_factor"
FACTOR: Final = "second_factor"
"""As which way such a sign-in is written into the audit log."""
FactorCode = Annotated[str, Meta(min_length=1, max_length=64)]
"""A code of the authenticator, or a recovery code, as people type it."""


class FactorShown(msgspec.Struct, frozen=True, kw_only=True):
    """A code of the authenticator, or a recovery code."""

    code: FactorCode


class FactorAtSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """The ticket of a sign-in that waits, and a code. `device_token` as at a sign-in."""

    ticket: TicketText
    code: FactorCode
    device_token: ShownDevice = ""


class FactorBegun(msgspec.Struct, frozen=True, kw_only=True):
    """Begins to add a second factor; an account with a password shows it again."""

    password: ShownPassword = ""
    device_token: ShownDevice = ""


class NewFactor(msgspec.Struct, frozen=True, kw_only=True):
    """A secret for an authenticator: as text, as a URI, and as a QR code in data URIs."""

    secret: str
    uri: str
    svg: str
    png: str


class RecoveryCodes(msgspec.Struct, frozen=True, kw_only=True):
    """Recovery codes, which are shown once. Each takes the place of the authenticator once."""

    recovery_codes: list[str]


class SecondFactorDesk:
    """Answers the routes of second factors.

    Arguments:
        facts: keeps the rows.
        signing: makes sign-ins.
        limits: how often people may try.
        passwords: checks the password before a factor is added.
        mail: sends notices.
        record: writes an entry of the audit log.
        settings: the section of second factors.
        devices: how many known devices of an account are kept.

    Attributes:
        counts: how many factors were right, wrong, added and removed.
    """

    def __init__(
        self,
        *,
        facts: Facts,
        signing: SigningIn,
        limits: SignInLimits,
        passwords: PasswordDesk,
        mail: MailOffice,
        record: Callable[[AuditEntry], None],
        settings: SecondFactorSettings,
        devices: int,
    ) -> None:
        self._facts = facts
        self._signing = signing
        self._limits = limits
        self._passwords = passwords
        self._mail = mail
        self._record = record
        self._settings = settings
        self._devices = devices
        self.counts: Counter[str] = Counter(right=0, wrong=0, added=0, removed=0)

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes of the HTTP API."""
        shown = (BAD_CODE, FORBIDDEN, TOO_MANY_SIGN_INS, UNAVAILABLE)
        return (
            ApiRoute(
                method="POST", path="/v1/sign-in/second-factor", role=ANYONE,
                scope="account.sign_in", handle=self._sign_in, body=FactorAtSignIn,
                summary="Show the second factor, with the ticket of the sign-in that waits for it.",
                answer=PasswordSignedIn, errors=(BAD_CODE, TOO_MANY_SIGN_INS, UNAVAILABLE),
            ),
            ApiRoute(
                method="GET", path="/v1/second-factor", role=PLAYER, scope=SCOPE,
                summary="Tell whether the account has a second factor.",
                handle=self._state, answer=FactorState,
            ),
            ApiRoute(
                method="POST", path="/v1/second-factor/begin", role=PLAYER, scope=SCOPE,
                summary="Get a secret for an authenticator. It is not in use yet.",
                handle=self._begin, body=FactorBegun, answer=NewFactor,
                errors=(
                    BAD_CREDENTIALS, BUSY, FORBIDDEN, SECOND_FACTOR_ON, TOO_MANY_SIGN_INS,
                    UNAVAILABLE,
                ),
            ),
            ApiRoute(
                method="POST", path="/v1/second-factor/confirm", role=PLAYER, scope=SCOPE,
                summary="Put the secret in use by a code of it, and get recovery codes.",
                handle=self._confirm, body=FactorShown, answer=RecoveryCodes,
                errors=(*shown, NOT_FOUND, SECOND_FACTOR_ON),
            ),
            ApiRoute(
                method="POST", path="/v1/second-factor/recovery-codes", role=PLAYER, scope=SCOPE,
                summary="Get new recovery codes; the old ones are void.",
                handle=self._renew, body=FactorShown, answer=RecoveryCodes, errors=shown,
            ),
            ApiRoute(
                method="POST", path="/v1/second-factor/remove", role=PLAYER, scope=SCOPE,
                summary="Remove the second factor.",
                handle=self._remove, body=FactorShown, errors=shown,
            ),
        )  # fmt: skip

    async def export(self, user: str) -> list[dict[str, Any]]:
        """Return what is known of a user, as plain values."""
        state: FactorState = await self._facts.ask(ReadSecondFactor(user))
        return [{"second_factor": state.on, "recovery_codes_left": state.recovery_codes}]

    # --- routes ----------------------------------------------------------------------------------

    async def _sign_in(self, call: ApiCall) -> PasswordSignedIn:
        self._signing.check_keys()
        body: FactorAtSignIn = call.body
        ticket, valid_s = hash_of(body.ticket), self._settings.ticket_valid_s
        waiting: TicketRow | None = await self._facts.ask(
            FindTicket(ticket, hash_of(body.device_token), valid_s)
        )
        user = "" if waiting is None else waiting.user
        known = known_token(body.device_token, waiting)
        await self._limits.count(Attempt(call.address, f"factor {user or body.ticket}", known))
        if waiting is None:
            raise Refused(BAD_CODE)
        sign_in, refresh = self._signing.begin(
            user, "", waiting.label, provider=FACTOR, subject=b"", guest=False, address=call.peer
        )
        device = known or new_device()
        command = ShowSecondFactor(
            ticket, user, factor_of(body.code), self._settings.ticket_tries, valid_s, sign_in,
            hash_of(device), self._devices,
        )  # fmt: skip
        shown: FactorChecked = await self._facts.execute(command, user=user)
        self._check(call, user, shown)
        assert shown.let is not None
        signed_in = self._signing.signed_in(shown.let, refresh)
        return PasswordSignedIn(**msgspec.structs.asdict(signed_in), device_token=device)

    async def _state(self, call: ApiCall) -> FactorState:
        assert call.who is not None
        state: FactorState = await self._facts.ask(ReadSecondFactor(call.who.user))
        return state

    async def _begin(self, call: ApiCall) -> NewFactor:
        user = _user_of(call)
        await self._passwords.check(call, call.body.password, call.body.device_token)
        secret = new_secret()
        await self._facts.execute(BeginSecondFactor(user, secret), user=user)
        assert call.who is not None
        uri = uri_of(secret, call.who.name or user, self._mail.settings.product)
        code = segno.make(uri, micro=False)
        return NewFactor(
            secret=secret, uri=uri, svg=code.svg_data_uri(scale=4), png=code.png_data_uri(scale=4)
        )

    async def _confirm(self, call: ApiCall) -> RecoveryCodes:
        user = await self._counted(call)
        codes = new_recovery_codes()
        command = ConfirmSecondFactor(
            user, plain_code(call.body.code), [recovery_hash(one) for one in codes],
            self._mail.settings.notice_valid_s,
        )  # fmt: skip
        self._check(call, user, await self._facts.execute(command, user=user))
        self.counts["added"] += 1
        self._mail.knock()
        return RecoveryCodes(recovery_codes=codes)

    async def _renew(self, call: ApiCall) -> RecoveryCodes:
        user = await self._counted(call)
        codes = new_recovery_codes()
        command = RenewRecoveryCodes(
            user, factor_of(call.body.code), [recovery_hash(one) for one in codes]
        )
        self._check(call, user, await self._facts.execute(command, user=user))
        return RecoveryCodes(recovery_codes=codes)

    async def _remove(self, call: ApiCall) -> None:
        user = await self._counted(call)
        notice_s = self._mail.settings.notice_valid_s
        command = RemoveSecondFactor(user, factor_of(call.body.code), notice_s)
        self._check(call, user, await self._facts.execute(command, user=user))
        self.counts["removed"] += 1
        self._mail.knock()

    async def _counted(self, call: ApiCall) -> str:
        user = _user_of(call)
        await self._limits.count(Attempt(call.address, f"factor {user}"))
        return user

    def _check(self, call: ApiCall, user: str, shown: FactorChecked) -> None:
        """Raise Refused if the factor was wrong."""
        self.counts["right" if shown.right else "wrong"] += 1
        if not shown.right:
            self._record(
                AuditEntry(
                    what="account.second_factor", address=call.peer, on_whom=user,
                    outcome=BAD_CODE.code,
                )
            )  # fmt: skip
            raise Refused(BAD_CODE)


def _user_of(call: ApiCall) -> str:
    """Return who asks. Raises Refused unless it is an account."""
    who = call.who
    if who is None or not who.sign_in:
        raise Refused(FORBIDDEN, "sign in to an account first")
    return who.user
