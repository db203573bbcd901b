"""`ProfileDesk`: answers requests for accounts as their users and others see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from actors.accounts.callers import by_whom, there
from actors.accounts.profile_rows import ReadAccount, ReadProfiles, SearchProfiles, UpdateProfile
from actors.accounts.rules import profiles
from actors.accounts.rules.usernames import (
    BadUsername,
    ReservedUsername,
    Username,
    fold,
    username,
)
from actors.accounts.settings import AccountSettings
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import Facts
from actors.runtime.future import Future
from protocol.errors import (
    BAD_CURSOR,
    BAD_MESSAGE,
    BAD_USERNAME,
    NAME_RESERVED,
    OUT_OF_RANGE,
    TOO_LONG,
)
from protocol.messages.profile import (
    Account,
    AccountGet,
    AccountRead,
    AccountSearch,
    AccountUpdate,
    Profile,
    Profiles,
    ProfilesFound,
)

T = TypeVar("T")


class ProfileDesk:
    """Answers requests, and counts them. The answers are futures.

    Each method raises Refused if the request is over a limit, or has what a field cannot have.

    Attributes:
        counted: how many accounts were changed, and how many profiles were read and found.
    """

    def __init__(self, settings: AccountSettings, facts: Facts) -> None:
        self._settings = settings
        self._facts = facts
        self.counted = Counter(changed=0, read=0, found=0)

    def own(self, who: Identity, _: AccountGet) -> Future[Account]:
        """Read the account of the user who asks."""
        return self._facts.ask(ReadAccount(who.user)).map(there)

    def read(self, _: Identity, request: AccountRead) -> Future[Profiles]:
        """Read what others may see."""
        most = self._settings.read_batch
        if len(request.users) > most:
            raise Refused(OUT_OF_RANGE, f"users: at most {most}")

        def done(found: list[Profile]) -> Profiles:
            self.counted["read"] += len(found)
            return Profiles(found)

        return self._facts.ask(ReadProfiles(request.users)).map(done)

    def update(self, who: Identity, request: AccountUpdate) -> Future[Account]:
        """Change the account of the user who asks."""
        command = self._command(who, request)

        def done(account: Account) -> Account:
            self.counted["changed"] += 1
            return account

        return self._facts.execute(command, user=who.user, key=request.key).map(done)

    def search(self, _: Identity, request: AccountSearch) -> Future[ProfilesFound]:
        """Find accounts by the beginning of their usernames."""
        most, limit = self._settings.list_limit, request.limit
        if limit > most:
            raise Refused(OUT_OF_RANGE, f"limit: at most {most}")
        prefix, after = fold(request.prefix), request.cursor or ""
        if after and ("\0" in after or not after.startswith(prefix)):
            raise Refused(BAD_CURSOR)

        def done(rows: list[tuple[str, Profile]]) -> ProfilesFound:
            found = [profile for _, profile in rows[:limit]]
            self.counted["found"] += len(found)
            return ProfilesFound(found, rows[limit - 1][0] if len(rows) > limit else None)

        # One more than asked for shows whether the list goes on.
        return self._facts.ask(SearchProfiles(prefix, after, limit + 1)).map(done)

    def _command(self, who: Identity, request: AccountUpdate) -> UpdateProfile:
        settings = self._settings
        most = settings.metadata_bytes

        def url(text: str) -> str:
            return profiles.avatar_url(text, settings.avatar_url_characters)

        def of_json(field: str) -> Callable[[str], str]:
            return lambda text: profiles.metadata(field, text, most)

        try:
            return UpdateProfile(
                user=who.user,
                version=request.version,
                username=_given(request.username, lambda text: username_of(text, settings)),
                name=_given(request.name, shown_name),
                avatar_url=_given(request.avatar_url, url),
                language=_given(request.language, profiles.language_tag),
                time_zone=_given(request.time_zone, profiles.time_zone),
                public_metadata=_given(request.public_metadata, of_json("public_metadata")),
                private_metadata=_given(request.private_metadata, of_json("private_metadata")),
                by=by_whom(who),
            )
        except profiles.FieldTooLong as error:
            raise Refused(TOO_LONG, str(error)) from None
        except profiles.BadField as error:
            raise Refused(BAD_MESSAGE, str(error)) from None


def username_of(text: str, settings: AccountSettings) -> Username:
    """Return the username that a text is. Raises Refused: it can be none."""
    try:
        return username(
            text,
            least=settings.username_least,
            most=settings.username_most,
            reserved=settings.reserved_names,
        )
    except BadUsername as error:
        raise Refused(BAD_USERNAME, str(error)) from None
    except ReservedUsername as error:
        raise Refused(NAME_RESERVED, str(error)) from None


def shown_name(text: str) -> str:
    """Return the display name that a text is. Raises Refused: it can be none."""
    try:
        return profiles.display_name(text)
    except profiles.BadField as error:
        raise Refused(BAD_MESSAGE, str(error)) from None


def _given(text: str | None, kept: Callable[[str], T]) -> T | None:
    return None if text is None else kept(text)
