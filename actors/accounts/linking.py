"""`LinkDesk`: answers the ops by which a player adds ways into the account, and takes them away."""

from __future__ import annotations

from typing import Any, Final

from actors.accounts.access import AccountAccess
from actors.accounts.identities import (
    CUSTOM,
    DEVICE,
    LinkIdentity,
    ListIdentities,
    UnlinkIdentity,
    hash_of,
)
from actors.accounts.settings import AccountSettings
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import Facts
from actors.runtime.future import Future
from protocol.errors import BAD_MESSAGE, FORBIDDEN, UNKNOWN_PROVIDER
from protocol.messages.identities import AccountIdentities, AccountLink, AccountUnlink

DEVICE_CHARACTERS: Final = range(16, 129)
CUSTOM_CHARACTERS: Final = range(1, 129)


class LinkDesk:
    """Answers `account.link`, `account.unlink` and `account.identities`.

    Arguments:
        facts: keeps the rows.
        access: is told at once that a guest's way was taken.
        settings: the section of accounts.
    """

    def __init__(self, facts: Facts, access: AccountAccess, settings: AccountSettings) -> None:
        self._facts = facts
        self._access = access
        self._settings = settings

    def link(self, who: Identity, request: AccountLink) -> Future[Any]:
        """Add a way."""
        check_player(who)
        return self.linked(who, request.provider, self._subject(who, request))

    def linked(self, who: Identity, provider: str, subject: str) -> Future[Any]:
        """Add an identity that was shown to be the user's."""
        command = LinkIdentity(
            who.user, who.name, not who.sign_in and not who.key, provider, hash_of(subject),
            self._settings.identities, by_whom(who),
        )  # fmt: skip
        return self._facts.execute(command, user=who.user)

    def unlink(self, who: Identity, request: AccountUnlink) -> Future[Any]:
        """Take a way."""
        check_player(who)
        command = UnlinkIdentity(
            who.user, request.provider, request.id, self._settings.guest_void_s, by_whom(who)
        )
        return self._facts.execute(command, user=who.user).map(
            lambda done: self._access.apply(done.endings)  # other nodes look for it
        )

    def identities(self, who: Identity, _: AccountIdentities) -> Future[Any]:
        """List the ways."""
        return self._facts.ask(ListIdentities(who.user))

    def _subject(self, who: Identity, request: AccountLink) -> str:
        proof = request.proof
        if request.provider == DEVICE:
            if len(proof) not in DEVICE_CHARACTERS:
                raise Refused(BAD_MESSAGE, "a device's id has 16 to 128 characters")
        elif request.provider == CUSTOM:
            if not who.key:
                raise Refused(FORBIDDEN, "a back end with an API key asks for this")
            if len(proof) not in CUSTOM_CHARACTERS:
                raise Refused(BAD_MESSAGE, "a custom id has 1 to 128 characters")
        else:
            raise Refused(UNKNOWN_PROVIDER)
        return proof


def check_player(who: Identity) -> None:
    """Raise Refused unless a player asks, or a back end on behalf of one."""
    if who.key and who.user == f"key-{who.key}":
        raise Refused(FORBIDDEN, "a key has no account; name a user")


def by_whom(who: Identity) -> str:
    """Return who asks, for the audit log."""
    return f"key-{who.key}" if who.key else who.user
