"""The service of accounts: players sign in over HTTP, stay signed in, and are signed out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pykka

from actors.accounts import identities, owner, profile_rows, rows, standing_rows
from actors.accounts.access import AccountAccess
from actors.accounts.flows import Flows
from actors.accounts.identities import SERVICE
from actors.accounts.introspection import IntrospectionDesk
from actors.accounts.keeper import KEEPER, AccessKeeper, KnownKeys
from actors.accounts.linking import LinkDesk
from actors.accounts.mail import rows as mail_rows
from actors.accounts.mail.office import MAIL, MailOffice
from actors.accounts.mail.settings import MailSettings
from actors.accounts.oidc import OidcSettings
from actors.accounts.outgoing import Outgoing
from actors.accounts.owner import OwnerDesk, greeting, owner_tools
from actors.accounts.passwords import rows as password_rows
from actors.accounts.passwords.desk import PasswordDesk
from actors.accounts.passwords.hashing import PasswordPool
from actors.accounts.passwords.settings import PasswordSettings
from actors.accounts.profile_desk import ProfileDesk
from actors.accounts.provider_desk import ProviderDesk
from actors.accounts.providers import ProviderSettings
from actors.accounts.second_factor import rows as factor_rows
from actors.accounts.second_factor.desk import SecondFactorDesk
from actors.accounts.second_factor.settings import SecondFactorSettings
from actors.accounts.session_desk import SessionDesk
from actors.accounts.settings import AccountSettings
from actors.accounts.sign_in_desk import SignInDesk
from actors.accounts.sign_in_limits import SignInLimits, SignInLimitSettings
from actors.accounts.signing_in import SigningIn
from actors.accounts.standing_desk import StandingDesk
from actors.accounts.vouchers import Vouchers, load_vouchers
from actors.edge.access import AccessEnded
from actors.edge.access_tokens import AccessKeys, AccessTokens
from actors.edge.routes import AskService
from actors.edge.session import KIND as SESSION
from actors.runtime.child import ChildSpec
from actors.runtime.system import ActorSystem
from actors.service import Frame, Running, Service, ServiceSettings
from protocol.http.metrics import Reading, counter, gauge
from protocol.messages import account
from protocol.messages.identities import AccountIdentities, AccountLink, AccountUnlink
from protocol.messages.profile import AccountGet, AccountRead, AccountSearch, AccountUpdate
from protocol.messages.sign_ins import AccountEndSession, AccountEndSessions, AccountSessions
from protocol.messages.standing import (
    AccountBan,
    AccountClose,
    AccountGrant,
    AccountReopen,
    AccountRevoke,
    AccountStandingGet,
    AccountUnban,
)

PASSWORDS: Final = "passwords"
"""The section of passwords."""
FACTORS: Final = "second_factor"
"""The section of second factors."""
LIMITS: Final = "sign_in_limits"
"""The section of the limits."""
AFTER_S: Final = 3_600.0
"""The longest time after the end of a sign-in's last access token in which a session of it could be
resumed. It covers `sessions.token_grace_s` and clocks that differ."""


def start(frame: Frame) -> Running:
    """Start the keeper of keys and endings. Sign-in needs no session, so it has routes of HTTP."""
    settings = frame.settings.section(SERVICE, AccountSettings)
    keys = KnownKeys()
    tokens = AccessTokens(lambda: keys.present, valid_s=settings.access_valid_s, clock=time.time)
    access = AccountAccess(tokens, partial(tell_ended, frame.system), time.time)
    limits = SignInLimits(frame.counters, frame.settings.section(LIMITS, SignInLimitSettings))
    void_s = settings.access_valid_s + AFTER_S
    signing = SigningIn(access, settings, void_s)
    desk = SignInDesk(
        facts=frame.facts, access=access, signing=signing, limits=limits, settings=settings,
        void_s=void_s,
    )  # fmt: skip
    kept = frame.settings.section(PASSWORDS, PasswordSettings)
    pool, mail = PasswordPool(frame.system, kept), MailOffice(frame)
    passwords = PasswordDesk(
        facts=frame.facts, access=access, signing=signing, limits=limits, pool=pool, mail=mail,
        record=frame.audit.record, settings=kept, void_s=void_s,
    )  # fmt: skip
    factors = SecondFactorDesk(
        facts=frame.facts, signing=signing, limits=limits, passwords=passwords, mail=mail,
        record=frame.audit.record,
        settings=frame.settings.section(FACTORS, SecondFactorSettings), devices=kept.devices,
    )  # fmt: skip

    async def export(user: str) -> list[dict[str, Any]]:
        parts = [await desk.export(user), await passwords.export(user), await factors.export(user)]
        return [dict(chain(*(one.items() for part in parts for one in part)))] if parts[0] else []

    async def erase(user: str) -> None:
        await passwords.erase(user)
        await desk.erase(user)

    sessions = SessionDesk(frame.facts, access, void_s)
    standing = StandingDesk(frame.facts, access, void_s=void_s, guest_void_s=settings.guest_void_s)
    vouchers = vouchers_of(frame.settings, frame.folder, lambda: keys.present)
    provided = ProviderDesk(desk, vouchers)
    links = LinkDesk(frame.system, frame.facts, access, settings, vouchers)
    profiles = ProfileDesk(settings, frame.facts)
    make = partial(AccessKeeper, frame.facts, keys, access, settings)
    frame.system.supervise([ChildSpec(id="0", factory=make)], key=KEEPER)
    return Running(
        routes={
            AccountLink: AskService(links.link, outlives=True),
            AccountUnlink: AskService(links.unlink, outlives=True),
            AccountIdentities: AskService(links.identities),
            AccountGet: AskService(profiles.own),
            AccountRead: AskService(profiles.read),
            AccountUpdate: AskService(profiles.update, outlives=True),
            AccountSearch: AskService(profiles.search),
            AccountBan: AskService(standing.ban, outlives=True),
            AccountUnban: AskService(standing.unban, outlives=True),
            AccountClose: AskService(standing.close, outlives=True),
            AccountReopen: AskService(standing.reopen, outlives=True),
            AccountStandingGet: AskService(standing.look),
            AccountSessions: AskService(sessions.list),
            AccountEndSession: AskService(sessions.end, outlives=True),
            AccountEndSessions: AskService(sessions.end_all, outlives=True),
            AccountGrant: AskService(standing.grant, outlives=True),
            AccountRevoke: AskService(standing.revoke, outlives=True),
        },
        api=(
            *desk.routes(),
            *sessions.routes(),
            *provided.routes(),
            *IntrospectionDesk(access).routes(),
            *passwords.routes(),
            *factors.routes(),
            *OwnerDesk(frame.facts).routes(),
        ),
        authenticate=desk.authenticate,
        access=access,
        readings=lambda: chain(
            readings(desk, provided, access, limits, profiles),
            password_readings(passwords, pool, factors),
            mail.readings(),
        ),
        export=export,
        erase=erase,
    )


def vouchers_of(
    settings: ServiceSettings, folder: Path, keys: Callable[[], AccessKeys | None]
) -> Vouchers:
    """Return the providers of the configuration. Raises NoSuchProvider."""
    own = settings.section(SERVICE, AccountSettings)
    outgoing = Outgoing(
        timeout_s=own.provider_timeout_s,
        answer_bytes=own.provider_answer_bytes,
        at_once=own.provider_requests,
    )
    flows = Flows(keys, own.flow_valid_s, time.time)
    issuers: dict[str, OidcSettings] = settings.section("oidc", dict)
    others: dict[str, ProviderSettings] = settings.section("providers", dict)
    return load_vouchers(
        issuers, others, folder, flows, outgoing, most_waiting=own.provider_waiting
    )


def check(settings: ServiceSettings, folder: Path) -> None:
    """Raise NoSuchProvider if a provider of the configuration cannot be used."""
    vouchers_of(settings, folder, lambda: None)


def tell_ended(system: ActorSystem, session: str, ended: AccessEnded) -> None:
    """Tell a session of this node that it must end, unless it has ended."""
    with contextlib.suppress(pykka.ActorDeadError):
        system.ref(SESSION, session).notify(ended)


def readings(
    desk: SignInDesk,
    provided: ProviderDesk,
    access: AccountAccess,
    limits: SignInLimits,
    profiles: ProfileDesk,
) -> Iterator[Reading]:
    """Yield the metrics of accounts."""
    for way, count in desk.signed_in.items():
        yield counter("accounts_signed_in", "Sign-ins, by the way.", count, way=way)
    yield counter("accounts_refreshed", "Refresh tokens used.", desk.refreshed)
    for what, count in profiles.counted.items():
        yield counter("accounts_profiles", "Accounts changed, read, found.", count, what=what)
    text = "Refresh tokens that were used a second time, which ends their sign-in."
    yield counter("accounts_reused", text, desk.reused)
    for budget, count in limits.refused.items():
        text = "Attempts to sign in that were refused, by the budget that was used up."
        yield counter("accounts_attempts_refused", text, count, budget=budget)
    for code, count in provided.refused.items():
        yield counter("accounts_refused", "Proofs of providers refused, by why.", count, code=code)
    yield gauge("accounts_endings", "Users with a sign-in that has just ended.", access.endings)


def password_readings(
    desk: PasswordDesk, pool: PasswordPool, factors: SecondFactorDesk
) -> Iterator[Reading]:
    """Yield the metrics of passwords and second factors."""
    for what, count in factors.counts.items():
        text = "What became of second factors."
        yield counter("accounts_second_factors", text, count, what=what)
    for what, count in desk.counts.items():
        yield counter("accounts_passwords", "What became of passwords.", count, what=what)
    yield gauge("accounts_passwords_waiting", "Passwords that wait for a thread.", pool.waiting)
    text = "Sign-ins refused because too many passwords waited."
    yield counter("accounts_passwords_busy", text, pool.refused)


ACCOUNTS: Final = Service(
    name=SERVICE,
    area=account.AREA,
    sections={
        SERVICE: AccountSettings,
        "oidc": dict[str, OidcSettings],
        "providers": dict[str, ProviderSettings],
        PASSWORDS: PasswordSettings,
        MAIL: MailSettings,
        FACTORS: SecondFactorSettings,
        LIMITS: SignInLimitSettings,
    },
    check=check,
    kinds={},
    start=start,
    announces=(
        "account.created",
        "account.banned",
        "account.unbanned",
        "account.closed",
        "account.erased",
    ),
    scopes=(
        "account.sign_in", "account.sign_ins", "account.end_sign_ins", "account.claim_owner",
        "account.introspect",
        "account.change_password", "account.second_factor",
    ),
    commands=lambda _: (
        *rows.COMMANDS, *identities.COMMANDS, *owner.COMMANDS, *password_rows.COMMANDS,
        *factor_rows.COMMANDS, *mail_rows.COMMANDS, *profile_rows.COMMANDS,
        *standing_rows.COMMANDS,
    ),
    queries=lambda _: (
        *rows.QUERIES, *identities.QUERIES, *password_rows.QUERIES,
        *factor_rows.QUERIES, *profile_rows.QUERIES,
        *standing_rows.QUERIES,
    ),
    tools=owner_tools,
    greeting=greeting,
)  # fmt: skip
