"""`LinkDesk`: answers the ops by which a player adds ways into the account, and takes them away."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec

from actors.accounts.access import AccountAccess
from actors.accounts.callers import by_whom, check_back_end, check_player
from actors.accounts.errand import run_errand
from actors.accounts.identities import (
    CUSTOM,
    DEVICE,
    LinkIdentity,
    ListIdentities,
    UnlinkIdentity,
    hash_of,
)
from actors.accounts.providers import Proof, Shown
from actors.accounts.settings import AccountSettings
from actors.accounts.vouchers import Vouchers
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import TIMEOUT_S, Facts
from actors.runtime.future import Future
from actors.runtime.system import ActorSystem
from protocol.errors import BAD_MESSAGE, UNKNOWN_PROVIDER
from protocol.messages.identities import (
    AccountIdentities,
    AccountIdentity,
    AccountIdentityList,
    AccountLink,
    AccountUnlink,
)

DEVICE_CHARACTERS: Final = range(16, 129)
CUSTOM_CHARACTERS: Final = range(1, 129)


class LinkDesk:
    """Answers `account.link`, `account.unlink` and `account.identities`.

    Arguments:
        system: runs what takes a while.
        facts: keeps the rows.
        access: is told at once that a guest's way was taken.
        settings: the section of accounts.
        vouchers: the providers of the configuration.
    """

    def __init__(
        self,
        system: ActorSystem,
        facts: Facts,
        access: AccountAccess,
        settings: AccountSettings,
        vouchers: Vouchers,
    ) -> None:
        self._system = system
        self._facts = facts
        self._access = access
        self._settings = settings
        self._vouchers = vouchers

    def link(self, who: Identity, request: AccountLink) -> Future[Any]:
        """Add a way."""
        check_player(who)
        if request.provider in self._vouchers:
            return run_errand(
                self._system,
                partial(self._link_provided, who, request),
                self._vouchers.timeout_s + TIMEOUT_S,
            )
        shown = Shown(issuer=request.provider, subject=_subject(who, request))
        return self._linked(who, shown)

    def unlink(self, who: Identity, request: AccountUnlink) -> Future[Any]:
        """Take a way."""
        check_player(who)
        command = UnlinkIdentity(
            who.user,
            self._vouchers.issuer_of(request.provider),
            request.id,
            self._settings.guest_void_s,
            by_whom(who),
        )
        return self._facts.execute(command, user=who.user).map(
            lambda done: self._access.apply(done.endings)  # other nodes look for it
        )

    def identities(self, who: Identity, _: AccountIdentities) -> Future[Any]:
        """List the ways."""
        return self._facts.ask(ListIdentities(who.user)).map(
            lambda found: AccountIdentityList([self._named(one) for one in found.identities])
        )

    async def _link_provided(self, who: Identity, request: AccountLink) -> Any:
        proof = Proof(
            text=request.proof, is_code=request.code, state=request.state, secret=request.secret
        )
        return await self._linked(who, await self._vouchers.shown(request.provider, proof))

    def _linked(self, who: Identity, shown: Shown) -> Future[Any]:
        command = LinkIdentity(
            user=who.user,
            name=who.name,
            guest=not who.sign_in and not who.key,
            provider=shown.issuer,
            subject=hash_of(shown.subject),
            most=self._settings.identities,
            by=by_whom(who),
            flow=shown.flow,
            flow_until=shown.flow_until,
        )
        return self._facts.execute(command, user=who.user).map(self._named)

    def _named(self, identity: AccountIdentity) -> AccountIdentity:
        name = self._vouchers.name_of(identity.provider)
        return msgspec.structs.replace(identity, provider=name)


def _subject(who: Identity, request: AccountLink) -> str:
    """Return the subject of an identity of this server's own kinds."""
    proof = request.proof
    if request.provider == DEVICE:
        if len(proof) not in DEVICE_CHARACTERS:
            raise Refused(BAD_MESSAGE, "a device's id has 16 to 128 characters")
    elif request.provider == CUSTOM:
        check_back_end(who)
        if len(proof) not in CUSTOM_CHARACTERS:
            raise Refused(BAD_MESSAGE, "a custom id has 1 to 128 characters")
    else:
        raise Refused(UNKNOWN_PROVIDER)
    return proof
