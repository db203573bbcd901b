"""Friends, requests and blocks of a session's user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from protocol.messages.envelope import Request
from protocol.messages.friend import (
    BlockAdd,
    Blocked,
    BlockList,
    BlockRemove,
    BlocksListed,
    FellowsFound,
    Friend,
    FriendAccept,
    FriendDecline,
    FriendList,
    FriendMutual,
    FriendPlayed,
    FriendRemove,
    FriendRequest,
    FriendsListed,
    FriendsSuggested,
    FriendSuggest,
    FriendTie,
    MutualFriendsFound,
    PlayedTogether,
    Suggestion,
    TieState,
)
from protocol.remote.calls import Caller, key_or_new
from protocol.remote.patience import patiently


class Friends:
    """The friends of a session's user; `session.friends`.

    Every method raises the errors of `Session.request`. `RequestFailed.code` may be `forbidden`
    where one has blocked the other, `not_asked`, or `too_many_friends`. What others do is told by
    entries of the type `friend.tie` in `session.inbox()`.

    Changes have an idempotency `key`. By default one is made here, so that they are sent again
    after a break and act once. None: no key, and they are never sent twice.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def request(self, user: str, *, key: str | None = "") -> FriendTie:
        """Ask a user to be a friend; if that user has asked already, they are friends at once."""
        request = FriendRequest(user=user, key=key_or_new(key))
        return await self._caller.request(request, FriendTie)

    async def accept(self, user: str, *, key: str | None = "") -> FriendTie:
        """Accept the request of a user."""
        request = FriendAccept(user=user, key=key_or_new(key))
        return await self._caller.request(request, FriendTie)

    async def decline(self, user: str, *, key: str | None = "") -> None:
        """Decline the request of a user, if there is one."""
        await self._do(FriendDecline(user=user, key=key_or_new(key)))

    async def remove(self, user: str, *, key: str | None = "") -> None:
        """End a friendship, or take a request back, if there is one."""
        await self._do(FriendRemove(user=user, key=key_or_new(key)))

    async def block(self, user: str, *, key: str | None = "") -> None:
        """Block a user: nothing of that one is shown any more, and friendship and requests end."""
        await self._do(BlockAdd(user=user, key=key_or_new(key)))

    async def unblock(self, user: str, *, key: str | None = "") -> None:
        """Block a user no longer."""
        await self._do(BlockRemove(user=user, key=key_or_new(key)))

    async def list(self, state: TieState | None = None, *, page: int = 50) -> AsyncIterator[Friend]:
        """Yield friends and requests by the id of the other, or those of one state.

        A long list takes many requests, of `page` each. Where the server finds them too fast
        (`rate_limited`), the iteration waits as long as it says, and goes on.
        """
        cursor: str | None = None
        while True:
            request = FriendList(state=state, limit=page, cursor=cursor)
            answer = await patiently(self._caller, request, FriendsListed)
            for friend in answer.friends:
                yield friend
            cursor = answer.cursor
            if cursor is None:
                return

    async def blocked(self, *, page: int = 50) -> AsyncIterator[Blocked]:
        """Yield the users that the user has blocked, as `list` does."""
        cursor: str | None = None
        while True:
            request = BlockList(limit=page, cursor=cursor)
            answer = await patiently(self._caller, request, BlocksListed)
            for one in answer.blocked:
                yield one
            cursor = answer.cursor
            if cursor is None:
                return

    async def mutual(self, user: str, *, limit: int = 50) -> MutualFriendsFound:
        """Return the first friends that the user shares with another one, and how many they are."""
        return await self._caller.request(FriendMutual(user=user, limit=limit), MutualFriendsFound)

    async def suggest(self, *, limit: int = 20) -> Sequence[Suggestion]:
        """Return users whom the user might know, the best first."""
        return (await self._caller.request(FriendSuggest(limit=limit), FriendsSuggested)).users

    async def played(self, *, limit: int = 20) -> Sequence[PlayedTogether]:
        """Return with whom the user has played lately, the latest first."""
        return (await self._caller.request(FriendPlayed(limit=limit), FellowsFound)).users

    async def _do(self, request: Request) -> None:
        await self._caller.request(request, type(None))
