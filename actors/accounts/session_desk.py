"""`SessionDesk`: answers users who look where they are signed in, and end it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.accounts.access import ALL, AccountAccess
from actors.accounts.callers import by_whom
from actors.accounts.rows import Endings, EndSignIns, ListSignIns, SignInRow
from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import Facts
from actors.runtime.future import Future
from protocol.errors import FORBIDDEN, NOT_FOUND
from protocol.messages.sign_ins import (
    AccountEndSession,
    AccountEndSessions,
    AccountSessions,
    SignInEntry,
    SignIns,
    SignInsEnded,
)
from protocol.roles import PLAYER


class SignInList(msgspec.Struct, frozen=True):
    """The sign-ins of the account, the last used first."""

    sign_ins: list[SignInRow]


class SessionDesk:
    """Answers the ops and the routes of sign-ins that are there. To ops the answers are futures.

    Arguments:
        facts: keeps the rows.
        access: is told at once what ends; other nodes look for it.
        void_s: how long tokens of a sign-in that ends could be valid.
    """

    def __init__(self, facts: Facts, access: AccountAccess, void_s: float) -> None:
        self._facts = facts
        self._access = access
        self._void_s = void_s

    def list(self, who: Identity, _: AccountSessions) -> Future[SignIns]:
        """List the sign-ins."""

        def shown(rows: list[SignInRow]) -> SignIns:
            return SignIns([
                SignInEntry(
                    sign_in=row.id, label=row.label, created=row.created, used=row.used,
                    expires=row.expires, current=row.id == who.sign_in,
                )
                for row in rows
            ])  # fmt: skip

        return self._facts.ask(ListSignIns(who.user)).map(shown)

    def end(self, who: Identity, request: AccountEndSession) -> Future[SignInsEnded]:
        """End one."""
        return self._ended(who, request.sign_in)

    def end_all(self, who: Identity, request: AccountEndSessions) -> Future[SignInsEnded]:
        """End all, or all others."""
        return self._ended(who, ALL, who.sign_in if request.others else "")

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes of the HTTP API."""
        return (
            ApiRoute(
                method="GET", path="/v1/sign-ins", role=PLAYER, answer=SignInList,
                scope="account.sign_ins",
                summary="List the sign-ins of the account.", handle=self._list_route,
            ),
            ApiRoute(
                method="DELETE", path="/v1/sign-ins/{id}", role=PLAYER,
                errors=(NOT_FOUND, FORBIDDEN), scope="account.end_sign_ins",
                summary="End a sign-in. Its sessions end on every node within a second.",
                handle=self._end_route,
            ),
            ApiRoute(
                method="DELETE", path="/v1/sign-ins", role=PLAYER, errors=(FORBIDDEN,),
                scope="account.end_sign_ins",
                summary="End all sign-ins of the account.", handle=self._end_all_route,
            ),
        )  # fmt: skip

    async def _list_route(self, call: ApiCall) -> SignInList:
        assert call.who is not None
        return SignInList(await self._facts.ask(ListSignIns(call.who.user)))

    async def _end_route(self, call: ApiCall) -> None:
        assert call.who is not None
        one = call.path["id"]
        if one == ALL or not (await self._ended(call.who, one, address=call.peer)).ended:
            raise Refused(NOT_FOUND)

    async def _end_all_route(self, call: ApiCall) -> None:
        assert call.who is not None
        await self._ended(call.who, ALL, address=call.peer)

    def _ended(
        self, who: Identity, sign_in: str, kept: str = "", *, address: str = ""
    ) -> Future[SignInsEnded]:
        command = EndSignIns(
            user=who.user, sign_in=sign_in, void_s=self._void_s, by=by_whom(who), kept=kept,
            address=address,
        )  # fmt: skip
        return self._facts.execute(command, user=who.user).map(self._apply)

    def _apply(self, done: Endings) -> SignInsEnded:
        self._access.apply(done.endings)
        return SignInsEnded(len(done.endings))
