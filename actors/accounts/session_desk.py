"""`SessionDesk`: answers users who look where they are signed in, and end it."""

from __future__ import annotations

from actors.accounts.access import ALL, AccountAccess
from actors.accounts.linking import by_whom
from actors.accounts.rows import Endings, EndSignIns, ListSignIns, SignInRow
from actors.edge.identity import Identity
from actors.facts import Facts
from actors.runtime.future import Future
from protocol.messages.sign_ins import (
    AccountEndSession,
    AccountEndSessions,
    AccountSessions,
    SignInEntry,
    SignIns,
    SignInsEnded,
)


class SessionDesk:
    """Answers the ops of sign-ins. The answers are futures.

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

    def _ended(self, who: Identity, sign_in: str, kept: str = "") -> Future[SignInsEnded]:
        command = EndSignIns(
            user=who.user, sign_in=sign_in, void_s=self._void_s, kept=kept, by=by_whom(who)
        )
        return self._facts.execute(command, user=who.user).map(self._apply)

    def _apply(self, done: Endings) -> SignInsEnded:
        self._access.apply(done.endings)
        return SignInsEnded(len(done.endings))
