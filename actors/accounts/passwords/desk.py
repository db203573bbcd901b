"""`PasswordDesk`: sign-up, sign-in, reset and change of passwords over HTTP.

What it answers, and how long it takes, tells nobody which addresses have an account. A sign-up and
a reset are answered alike for all addresses, and a letter says the rest to whoever reads it there.
A sign-in with an unknown address verifies a hash too.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from actors.accounts.access import AccountAccess
from actors.accounts.identities import hash_of
from actors.accounts.known_devices import known_token, new_device
from actors.accounts.mail.letters import plain_code
from actors.accounts.mail.office import MailOffice
from actors.accounts.passwords.addresses import EmailAddress, about_words, folded
from actors.accounts.passwords.hashing import PasswordPool
from actors.accounts.passwords.rows import (
    EMAIL,
    RESET,
    SIGN_UP,
    AskForCode,
    ChangePassword,
    ConfirmSignUp,
    ErasePassword,
    ExportPassword,
    FindCode,
    FindPassword,
    FindPasswordOf,
    PasswordRow,
    Proved,
    ResetPassword,
    ShowCode,
    SignInByPassword,
    TicketPurpose,
)
from actors.accounts.passwords.settings import PasswordSettings
from actors.accounts.profile_desk import shown_name
from actors.accounts.rows import Let
from actors.accounts.second_factor.rows import Factor, factor_of
from actors.accounts.sign_in_limits import Attempt, SignInLimits
from actors.accounts.signing_in import (
    DeviceLabel,
    ShownName,
    SignedIn,
    SigningIn,
    new_user,
    waiting,
)
from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.failures import Refused
from actors.facts import Facts
from persistence.audit import AuditEntry
from protocol.errors import (
    BAD_CODE,
    BAD_CREDENTIALS,
    BUSY,
    QUOTA_EXCEEDED,
    SECOND_FACTOR,
    TOO_MANY_SIGN_INS,
    UNAVAILABLE,
    WEAK_PASSWORD,
)
from protocol.http.exchange import HttpResponse
from protocol.roles import ANYONE, PLAYER

NewPassword = Annotated[str, Meta(min_length=8, max_length=128)]
ShownPassword = Annotated[str, Meta(max_length=128)]
ShownDevice = Annotated[str, Meta(max_length=64)]
TicketText = Annotated[str, Meta(min_length=1, max_length=64)]
ShownFactor = Annotated[str, Meta(max_length=64)]
"""A code of the second factor, if the account has one."""
ShownCode = Annotated[str, Meta(min_length=1, max_length=32)]


class PasswordSignUp(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-up. With the token of a guest or an account, that user gets the address."""

    email: EmailAddress
    password: NewPassword
    name: ShownName


class CodeSent(msgspec.Struct, frozen=True, kw_only=True):
    """A code is on its way, if the address is one that gets it. It is shown with the ticket."""

    ticket: str
    valid_s: float


class CodeShown(msgspec.Struct, frozen=True, kw_only=True):
    """The ticket of a sign-up, and the code that came by mail."""

    ticket: TicketText
    code: ShownCode
    label: DeviceLabel = ""


class PasswordSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in. `device_token` is what the device got when it signed in before."""

    email: EmailAddress
    password: ShownPassword
    device_token: ShownDevice = ""
    label: DeviceLabel = ""


class PasswordSignedIn(SignedIn, frozen=True, kw_only=True):
    """Tokens, as of every sign-in, and the one to show at the next sign-in of this device."""

    device_token: str


class ResetAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a code to choose a new password."""

    email: EmailAddress


class ResetShown(msgspec.Struct, frozen=True, kw_only=True):
    """The ticket of a reset, the code that came by mail, and the new password."""

    ticket: TicketText
    code: ShownCode
    password: NewPassword
    second_factor: ShownFactor = ""


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True):
    """The old password and the new one."""

    old: ShownPassword
    password: NewPassword
    second_factor: ShownFactor = ""
    device_token: ShownDevice = ""


class PasswordDesk:
    """Answers the routes of passwords.

    Arguments:
        facts: keeps the rows.
        access: is told at once what ends here.
        signing: makes sign-ins.
        limits: how often people may try.
        pool: hashes.
        mail: sends the codes.
        record: writes an entry of the audit log.
        settings: the section of passwords.
        void_s: how long tokens of a sign-in that ends could be valid.

    Attributes:
        counts: how many sign-ins, sign-ups, wrong passwords, resets and changes there were.
    """

    def __init__(
        self,
        *,
        facts: Facts,
        access: AccountAccess,
        signing: SigningIn,
        limits: SignInLimits,
        pool: PasswordPool,
        mail: MailOffice,
        record: Callable[[AuditEntry], None],
        settings: PasswordSettings,
        void_s: float,
    ) -> None:
        self._facts = facts
        self._access = access
        self._signing = signing
        self._limits = limits
        self._pool = pool
        self._mail = mail
        self._record = record
        self._settings = settings
        self._void_s = void_s
        self.counts: Counter[str] = Counter(signed_in=0, signed_up=0, wrong=0, reset=0, changed=0)

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes of the HTTP API."""
        busy = (TOO_MANY_SIGN_INS, BUSY, UNAVAILABLE)
        return (
            ApiRoute(
                method="POST", path="/v1/sign-up/password", role=ANYONE, scope="account.sign_in",
                summary="Sign up with an address and a password. A code is sent by mail.",
                handle=self._sign_up, body=PasswordSignUp, answer=CodeSent,
                errors=(WEAK_PASSWORD, *busy),
            ),
            ApiRoute(
                method="POST", path="/v1/sign-up/confirm", role=ANYONE, scope="account.sign_in",
                summary="Show the code of a sign-up. The account is made, and signed in.",
                handle=self._confirm, body=CodeShown, answer=PasswordSignedIn,
                errors=(BAD_CODE, QUOTA_EXCEEDED, SECOND_FACTOR, *busy),
            ),
            ApiRoute(
                method="POST", path="/v1/sign-in/password", role=ANYONE, scope="account.sign_in",
                summary="Sign in with an address and a password.",
                handle=self._sign_in, body=PasswordSignIn, answer=PasswordSignedIn,
                errors=(BAD_CREDENTIALS, SECOND_FACTOR, *busy),
            ),
            ApiRoute(
                method="POST", path="/v1/password/reset", role=ANYONE, scope="account.sign_in",
                summary="Ask for a code by mail, to choose a new password.",
                handle=self._ask_for_reset, body=ResetAsked, answer=CodeSent, errors=busy,
            ),
            ApiRoute(
                method="POST", path="/v1/password/reset/confirm", role=ANYONE,
                scope="account.sign_in",
                summary="Choose a new password with the code. All sign-ins end.",
                handle=self._reset, body=ResetShown,
                errors=(BAD_CODE, SECOND_FACTOR, WEAK_PASSWORD, *busy),
            ),
            ApiRoute(
                method="POST", path="/v1/password/change", role=PLAYER,
                scope="account.change_password",
                summary="Change the password. All other sign-ins end.",
                handle=self._change, body=PasswordChange,
                errors=(BAD_CODE, BAD_CREDENTIALS, SECOND_FACTOR, WEAK_PASSWORD, *busy),
            ),
        )  # fmt: skip

    async def export(self, user: str) -> Any:
        """Return what is known of a user, as plain values."""
        return await self._facts.ask(ExportPassword(user))

    async def erase(self, user: str) -> None:
        """Delete what does not go with the account."""
        await self._facts.execute(ErasePassword(user), user=user)

    # --- routes ----------------------------------------------------------------------------------

    async def _sign_up(self, call: ApiCall) -> CodeSent:
        body: PasswordSignUp = call.body
        address = folded(body.email)
        await self._limits.count(Attempt(call.address, f"mail {address}"))
        hashed = await self._pool.hash(body.password, about_words(address, body.name))
        user, guest = new_user(), False
        if call.who is not None and not call.who.key:
            user, guest = call.who.user, not call.who.sign_in
        return await self._send_code(
            SIGN_UP, body.email, user=user, name=shown_name(body.name), guest=guest, password=hashed
        )

    async def _ask_for_reset(self, call: ApiCall) -> CodeSent:
        body: ResetAsked = call.body
        await self._limits.count(Attempt(call.address, f"mail {folded(body.email)}"))
        return await self._send_code(RESET, body.email, user="", name="", guest=False, password="")

    async def _send_code(
        self, purpose: str, email: str, *, user: str, name: str, guest: bool, password: str
    ) -> CodeSent:
        ticket, valid_s = secrets.token_urlsafe(24), self._settings.code_valid_s
        command = AskForCode(
            purpose, hash_of(ticket), hash_of(folded(email)), email, user, name, guest, password,
            valid_s, self._settings.letters,
        )  # fmt: skip
        await self._facts.execute(command, user=f"mail {folded(email)}")
        self._mail.knock()
        return CodeSent(ticket=ticket, valid_s=valid_s)

    async def _confirm(self, call: ApiCall) -> PasswordSignedIn | HttpResponse:
        self._signing.check_keys()
        body: CodeShown = call.body
        asked, shown = await self._shown(call, SIGN_UP, body.ticket, body.code)
        sign_in, refresh = self._signing.begin(
            asked.user, asked.name, body.label, provider=EMAIL, subject=asked.subject,
            guest=asked.guest, address=call.peer,
        )  # fmt: skip
        device = new_device()
        command = ConfirmSignUp(shown, sign_in, hash_of(device), self._settings.devices)
        proved: Proved = await self._facts.execute(command, user=asked.user)
        if not proved.right or proved.let is None:
            raise Refused(BAD_CODE)
        self.counts["signed_up"] += 1
        return self._answer(proved.let, refresh, device)

    async def _reset(self, call: ApiCall) -> None:
        body: ResetShown = call.body
        asked, shown = await self._shown(call, RESET, body.ticket, body.code)
        hashed = await self._pool.hash(body.password, about_words(folded(asked.email), ""))
        notice_s = self._mail.settings.notice_valid_s
        command = ResetPassword(shown, hashed, _factor(body.second_factor), self._void_s, notice_s)
        proved: Proved = await self._facts.execute(command, user=asked.user)
        if not proved.right:
            raise Refused(BAD_CODE)
        self.counts["reset"] += 1
        self._ended(proved)

    async def _shown(
        self, call: ApiCall, purpose: str, ticket: str, code: str
    ) -> tuple[TicketPurpose, ShowCode]:
        await self._limits.count(Attempt(call.address, f"code {ticket}"))
        asked: TicketPurpose | None = await self._facts.ask(FindCode(purpose, hash_of(ticket)))
        if asked is None:
            raise Refused(BAD_CODE)
        shown = ShowCode(
            hash_of(ticket), hash_of(plain_code(code)), asked.user, asked.subject,
            self._settings.code_tries,
        )  # fmt: skip
        return asked, shown

    async def _sign_in(self, call: ApiCall) -> PasswordSignedIn | HttpResponse:
        self._signing.check_keys()
        body: PasswordSignIn = call.body
        subject = hash_of(folded(body.email))
        found = FindPassword(subject, hash_of(body.device_token))
        kept: PasswordRow | None = await self._facts.ask(found)
        known = known_token(body.device_token, kept)
        await self._limits.count(Attempt(call.address, f"password {folded(body.email)}", known))
        better = await self._verified(call, kept, body.password)
        assert kept is not None
        sign_in, refresh = self._signing.begin(
            kept.user,
            "",
            body.label,
            provider=EMAIL,
            subject=subject,
            guest=False,
            address=call.peer,
        )
        device = known or new_device()
        command = SignInByPassword(
            sign_in, kept.hash, better, hash_of(device), self._settings.devices
        )
        let: Let = await self._facts.execute(command, user=kept.user)
        self.counts["signed_in"] += 1
        return self._answer(let, refresh, device)

    async def check(self, call: ApiCall, password: str, device_token: str) -> PasswordRow | None:
        """Check the password of whoever is signed in; None: the account has none.

        Raises Refused: it is wrong, or there were too many attempts.
        """
        assert call.who is not None
        user = call.who.user
        kept: PasswordRow | None = await self._facts.ask(
            FindPasswordOf(user, hash_of(device_token))
        )
        known = known_token(device_token, kept)
        await self._limits.count(Attempt(call.address, f"change {user}", known))
        if kept is not None:
            await self._verified(call, kept, password)
        return kept

    async def _change(self, call: ApiCall) -> None:
        assert call.who is not None
        body, user = call.body, call.who.user
        kept = await self.check(call, body.old, body.device_token)
        if kept is None:
            raise Refused(BAD_CREDENTIALS)
        words = about_words(folded(kept.email), call.who.name)
        hashed = await self._pool.hash(body.password, words)
        notice_s = self._mail.settings.notice_valid_s
        command = ChangePassword(
            user,
            kept.hash,
            hashed,
            _factor(body.second_factor),
            call.who.sign_in,
            self._void_s,
            notice_s,
        )
        proved: Proved = await self._facts.execute(command, user=user)
        if not proved.right:
            raise Refused(BAD_CODE if body.second_factor else BAD_CREDENTIALS)
        self.counts["changed"] += 1
        self._ended(proved)

    async def _verified(self, call: ApiCall, kept: PasswordRow | None, password: str) -> str | None:
        """Return a better hash of the right password, or None. Raises Refused if it is wrong."""
        verified = await self._pool.verify(None if kept is None else kept.hash, password)
        if verified.right:
            return verified.better
        self.counts["wrong"] += 1
        if kept is not None:
            self._record(
                AuditEntry(
                    what="account.signed_in", address=call.peer, on_whom=kept.user,
                    outcome=BAD_CREDENTIALS.code, details={"way": EMAIL},
                )
            )  # fmt: skip
        raise Refused(BAD_CREDENTIALS)

    def _ended(self, proved: Proved) -> None:
        self._access.apply(proved.endings)  # other nodes look for it
        self._mail.knock()

    def _answer(self, let: Let, refresh: str, device: str) -> PasswordSignedIn | HttpResponse:
        if let.waits:
            return waiting(refresh)
        signed_in = self._signing.signed_in(let, refresh)
        return PasswordSignedIn(**msgspec.structs.asdict(signed_in), device_token=device)


def _factor(code: str) -> Factor | None:
    return factor_of(code) if code else None
