"""`FriendDesk`: answers clients' requests about friends and blocks by commands and queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from actors.acquaintances import Fellow, PlayedWith
from actors.edge.blocks import Blocks
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import Facts, storable
from actors.friends.commands import ChangeTie, EraseTies, Tied
from actors.friends.graph import MutualFriends, MutualPage, NotBlocked, SuggestUsers
from actors.friends.queries import BlocksPage, ExportTies, ListBlocks, ListTies, TiesPage
from actors.friends.rules.cursors import NotOfThisList, cursor_after, last_of
from actors.friends.rules.ties import Act, TieCounts
from actors.friends.settings import FriendSettings
from actors.runtime.future import Future
from protocol.errors import BAD_CURSOR, BAD_MESSAGE, OUT_OF_RANGE
from protocol.messages.friend import (
    BlockAdd,
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
)

T = TypeVar("T")
Online = Callable[[Sequence[str]], Future[Collection[str]]]
"""Returns a future of those of these users who have a connection, on any node."""


class _Change(Protocol):
    @property
    def user(self) -> str: ...
    @property
    def key(self) -> str | None: ...


class FriendDesk:
    """Answers clients' requests, and counts them. The answers are futures.

    Each method raises Refused if the request is over a limit.

    Arguments:
        settings: the limits.
        facts: runs the commands and queries.
        online: says who has a connection.
        blocks: told of each block, so that it holds on this node before it is answered.

    Attributes:
        changed: how many changes were made, by what was asked.
        refused: how many were refused, by the code of the error.
    """

    def __init__(
        self, settings: FriendSettings, facts: Facts, online: Online, blocks: Blocks
    ) -> None:
        self._blocks = blocks
        self._settings = settings
        self._facts = facts
        self._online = online
        self._most = TieCounts(
            settings.friends, settings.requested, settings.asked, settings.blocks
        )
        self.changed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    # --- changes ---------------------------------------------------------------------------------

    def request(self, who: Identity, request: FriendRequest) -> Future[FriendTie]:
        """Ask a user to be a friend."""
        return self._change(who, request, "request").map(_tie_with(request.user))

    def accept(self, who: Identity, request: FriendAccept) -> Future[FriendTie]:
        """Accept a request."""
        return self._change(who, request, "accept").map(_tie_with(request.user))

    def decline(self, who: Identity, request: FriendDecline) -> Future[None]:
        """Decline a request."""
        return self._change(who, request, "decline").map(_nothing)

    def remove(self, who: Identity, request: FriendRemove) -> Future[None]:
        """End a friendship, or take a request back."""
        return self._change(who, request, "remove").map(_nothing)

    def block(self, who: Identity, request: BlockAdd) -> Future[None]:
        """Block a user."""
        return self._change(who, request, "block").map(
            lambda _: self._blocked(who.user, request.user, blocks=True)
        )

    def unblock(self, who: Identity, request: BlockRemove) -> Future[None]:
        """Block a user no longer."""
        return self._change(who, request, "unblock").map(
            lambda _: self._blocked(who.user, request.user, blocks=False)
        )

    def _blocked(self, user: str, other: str, *, blocks: bool) -> None:
        """Have a change hold on this node.

        It may be the answer to a retry, after which other changes came. So the rows are read too.
        """
        self._blocks.change(user, other, blocks=blocks)
        self._blocks.reload((user,))

    def _change(self, who: Identity, request: _Change, act: Act) -> Future[Tied]:
        if request.user == who.user:
            raise Refused(BAD_MESSAGE, "user: it is the one who asks")
        command = ChangeTie(who.user, request.user, act, self._most)
        changed = self._facts.execute(command, user=who.user, key=storable(request.key))

        def done(answer: Future[Any]) -> None:
            error = answer.exception()
            if error is None:
                self.changed[act] += 1
            elif isinstance(error, Refused):
                self.refused[error.error.code] += 1

        changed.when_done(done)
        return changed

    # --- lists -----------------------------------------------------------------------------------

    def friends(self, who: Identity, request: FriendList) -> Future[FriendsListed]:
        """List a page of friends and requests, and say which friends are online."""
        self._check_limit(request.limit)
        of = f"friends {request.state}"
        query = ListTies(who.user, request.state, _after(of, request.cursor), request.limit)

        def found(page: TiesPage) -> Future[FriendsListed]:
            friends = [tie.user for tie in page.ties if tie.state == "friend"]
            return self._online(friends).map(lambda there: _listed(of, page, there))

        return self._facts.ask(query).then(found)

    def blocks(self, who: Identity, request: BlockList) -> Future[BlocksListed]:
        """List a page of blocked users."""
        self._check_limit(request.limit)
        of = "blocks"

        def done(page: BlocksPage) -> BlocksListed:
            last = cursor_after(of, page.blocked[-1].user) if page.more else None
            return BlocksListed(page.blocked, last)

        query = ListBlocks(who.user, _after(of, request.cursor), request.limit)
        return self._facts.ask(query).map(done)

    # --- the graph -------------------------------------------------------------------------------

    def mutual(self, who: Identity, request: FriendMutual) -> Future[MutualFriendsFound]:
        """List the friends that the user shares with another one."""
        self._check_limit(request.limit)
        found: Future[MutualPage] = self._facts.ask(
            MutualFriends(who.user, request.user, request.limit)
        )
        return found.map(lambda page: MutualFriendsFound(*page))

    def suggest(self, who: Identity, request: FriendSuggest) -> Future[FriendsSuggested]:
        """List whom the user might know."""
        self._check_limit(request.limit)

        def ask(fellows: Sequence[Fellow]) -> Future[FriendsSuggested]:
            found: Future[list[Suggestion]] = self._facts.ask(
                SuggestUsers(who.user, fellows, request.limit)
            )
            return found.map(FriendsSuggested)

        return self._with_fellows(who.user, self._settings.list_limit, ask)

    def played(self, who: Identity, request: FriendPlayed) -> Future[FellowsFound]:
        """List with whom the user has played lately, without those who are blocked either way."""
        self._check_limit(request.limit)

        def ask(fellows: Sequence[Fellow]) -> Future[FellowsFound]:
            asked: Future[set[str]] = self._facts.ask(
                NotBlocked(who.user, [fellow.user for fellow in fellows])
            )
            return asked.map(
                lambda shown: FellowsFound(
                    [PlayedTogether(*fellow) for fellow in fellows if fellow.user in shown]
                )
            )

        return self._with_fellows(who.user, request.limit, ask)

    def _with_fellows(
        self, user: str, limit: int, ask: Callable[[Sequence[Fellow]], Future[T]]
    ) -> Future[T]:
        """Find out with whom a user has played, and then ask on."""
        answer: Future[T] = Future()

        def found(done: Future[Sequence[Fellow]]) -> None:
            error = done.exception()
            if error is None:
                answer.follow(ask(done.result()))
            elif isinstance(error, LookupError):  # a server without games
                answer.follow(ask(()))
            else:
                answer.settle_quietly(error=error)

        self._facts.ask(PlayedWith(user, limit)).when_done(found)
        return answer

    def _check_limit(self, limit: int) -> None:
        if limit > self._settings.list_limit:
            raise Refused(OUT_OF_RANGE, f"limit: at most {self._settings.list_limit}")

    # --- export and erase ------------------------------------------------------------------------

    async def export(self, user: str) -> list[dict[str, Any]]:
        """Return every tie and every block of a user."""
        found: list[dict[str, Any]] = await self._facts.ask(ExportTies(user))
        return found

    async def erase(self, user: str) -> None:
        """Delete every tie and every block of a user."""
        await self._facts.execute(EraseTies(user), user=user)


def _tie_with(other: str) -> Callable[[Tied], FriendTie]:
    def tie(tied: Tied) -> FriendTie:
        assert tied.state is not None, "a request leaves a tie, and so does an acceptance"
        return FriendTie(other, tied.state, tied.since)

    return tie


def _nothing(_: Tied) -> None:
    return None


def _listed(of: str, page: TiesPage, online: Collection[str]) -> FriendsListed:
    friends = [
        Friend(tie.user, tie.state, tie.since, tie.state == "friend" and tie.user in online)
        for tie in page.ties
    ]
    return FriendsListed(friends, cursor_after(of, friends[-1].user) if page.more else None)


def _after(of: str, cursor: str | None) -> str:
    try:
        return last_of(of, cursor)
    except NotOfThisList:
        raise Refused(BAD_CURSOR) from None
