"""`StandingDesk`: answers staff who ban users and give roles, and users who close their account."""

from __future__ import annotations

import msgspec

from actors.accounts.access import AccountAccess
from actors.accounts.callers import by_whom, check_player, there
from actors.accounts.standing_rows import (
    BanUser,
    ChangeRole,
    CloseAccount,
    ReadStanding,
    ReopenAccount,
    StandingChanged,
    UnbanUser,
)
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import Facts
from actors.runtime.future import Future
from protocol.errors import BAD_MESSAGE, FORBIDDEN
from protocol.messages.standing import (
    AccountBan,
    AccountClose,
    AccountGrant,
    AccountReopen,
    AccountRevoke,
    AccountStanding,
    AccountStandingGet,
    AccountUnban,
)
from protocol.roles import ANYONE, PLAYER


class StandingDesk:
    """Answers the ops of standing. The answers are futures.

    What ends takes effect on this node at once; the others look for it.

    Arguments:
        facts: keeps the rows.
        access: is told what ends.
        void_s: how long an access token of an account can be valid.
        guest_void_s: how long a token of a guest's session can be.
    """

    def __init__(
        self, facts: Facts, access: AccountAccess, *, void_s: float, guest_void_s: float
    ) -> None:
        self._facts = facts
        self._access = access
        self._void_s = void_s
        self._all_void_s = max(void_s, guest_void_s)

    def ban(self, who: Identity, request: AccountBan) -> Future[AccountStanding]:
        """Ban a user."""
        if request.user == who.user:
            raise Refused(FORBIDDEN, "nobody bans themselves")
        command = BanUser(
            user=request.user, until=request.until, reason=request.reason, by=by_whom(who),
            roles=sorted(who.roles), void_s=self._all_void_s,
        )  # fmt: skip
        return self._changed(who, command)

    def unban(self, who: Identity, request: AccountUnban) -> Future[AccountStanding]:
        """Lift a ban."""
        command = UnbanUser(user=request.user, by=by_whom(who), roles=sorted(who.roles))
        return self._changed(who, command)

    def close(self, who: Identity, _: AccountClose) -> Future[None]:
        """Close the account of the user who asks."""
        check_player(who)
        command = CloseAccount(user=who.user, by=by_whom(who), void_s=self._all_void_s)
        return self._changed(who, command).map(lambda _: None)

    def reopen(self, who: Identity, request: AccountReopen) -> Future[AccountStanding]:
        """Open an account again."""
        command = ReopenAccount(user=request.user, by=by_whom(who), roles=sorted(who.roles))
        return self._changed(who, command)

    def grant(self, who: Identity, request: AccountGrant) -> Future[AccountStanding]:
        """Give a role."""
        return self._role(who, request.user, request.role, given=True)

    def revoke(self, who: Identity, request: AccountRevoke) -> Future[AccountStanding]:
        """Take a role."""
        return self._role(who, request.user, request.role, given=False)

    def look(self, _: Identity, request: AccountStandingGet) -> Future[AccountStanding]:
        """Look at how an account stands."""
        return self._facts.ask(ReadStanding(request.user)).map(there)

    def _role(self, who: Identity, user: str, role: str, *, given: bool) -> Future[AccountStanding]:
        if role in (ANYONE, PLAYER):
            raise Refused(BAD_MESSAGE, "role: everyone has that one")
        command = ChangeRole(
            user=user, role=role, given=given, by=by_whom(who), void_s=self._void_s
        )
        return self._changed(who, command)

    def _changed(self, who: Identity, command: msgspec.Struct) -> Future[AccountStanding]:
        return self._facts.execute(command, user=who.user).map(self._apply)

    def _apply(self, done: StandingChanged) -> AccountStanding:
        self._access.apply(done.endings)
        return done.standing
