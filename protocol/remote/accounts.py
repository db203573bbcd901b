"""The account of a session's user, and what others tell of themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

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
from protocol.messages.sign_ins import (
    AccountEndSession,
    AccountEndSessions,
    AccountSessions,
    SignInEntry,
    SignIns,
    SignInsEnded,
)
from protocol.messages.standing import AccountClose
from protocol.remote.calls import Caller, key_or_new
from protocol.remote.patience import patiently


class Accounts:
    """The accounts of a server; `session.accounts`.

    Every method raises the errors of `Session.request`. `RequestFailed.code` is `no_account` if the
    session is a guest's, who has none.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def own(self) -> Account:
        """Read the account of the session's user."""
        return await self._caller.request(AccountGet(), Account)

    async def read(self, users: Iterable[str]) -> list[Profile]:
        """Return what these users tell of themselves. Those without an account are left out."""
        request = AccountRead(users=list(users))
        return (await self._caller.request(request, Profiles)).profiles

    async def update(
        self,
        *,
        version: int | None = None,
        username: str | None = None,
        name: str | None = None,
        avatar_url: str | None = None,
        language: str | None = None,
        time_zone: str | None = None,
        public_metadata: str | None = None,
        private_metadata: str | None = None,
        key: str | None = "",
    ) -> Account:
        """Change the account of the session's user; returns it as it is then.

        What is None stays. Metadata are objects of JSON as text. `RequestFailed.code` is
        `name_taken` if another user has the username, or one that looks like it.

        Arguments:
            version: change it only if the account has this version.
            username: letters and digits, with `_`, `-` or `.` between them.
            name: the display name.
            avatar_url: the address of a picture, by https; empty: none.
            language: a tag of BCP 47; empty: not known.
            time_zone: a name of the IANA database; empty: not known.
            public_metadata: what everyone may read.
            private_metadata: what the user alone may read.
            key: the idempotency key; "": a new one; None: it is never sent twice.
        """
        request = AccountUpdate(
            version=version, username=username, name=name, avatar_url=avatar_url,
            language=language, time_zone=time_zone, public_metadata=public_metadata,
            private_metadata=private_metadata, key=key_or_new(key),
        )  # fmt: skip
        return await self._caller.request(request, Account)

    async def sessions(self) -> list[SignInEntry]:
        """Return where the user is signed in, the last used first."""
        return (await self._caller.request(AccountSessions(), SignIns)).sessions

    async def end_session(self, sign_in: str) -> None:
        """End a sign-in. Its sessions are closed as `sign_in_ended`."""
        await self._caller.request(AccountEndSession(sign_in=sign_in), SignInsEnded)

    async def end_sessions(self, *, others: bool = False) -> int:
        """End all sign-ins, or all others; returns how many."""
        return (await self._caller.request(AccountEndSessions(others=others), SignInsEnded)).ended

    async def close(self) -> None:
        """Close the account. The session ends."""
        await self._caller.request(AccountClose(), type(None))

    async def search(self, prefix: str, *, page: int = 20) -> AsyncIterator[Profile]:
        """Yield the accounts whose usernames begin so. It waits where the server finds it too fast.

        `page` is how many each request asks for.
        """
        cursor: str | None = None
        while True:
            request = AccountSearch(prefix=prefix, limit=page, cursor=cursor)
            answer = await patiently(self._caller, request, ProfilesFound)
            for one in answer.profiles:
                yield one
            cursor = answer.cursor
            if cursor is None:
                return
