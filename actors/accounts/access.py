"""`AccountAccess`: which access tokens are valid on this node, and which sessions must end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from actors.edge.access import AccessEnded, Grant
from actors.edge.access_tokens import AccessTokens
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from protocol.errors import (
    ACCOUNT_BANNED,
    ACCOUNT_CLOSED,
    ACCOUNT_GONE,
    BANNED,
    SIGN_IN_ENDED,
    SIGNED_OUT,
    CloseCode,
    ErrorCode,
)
from protocol.messages.standing import FOR_EVER_MS

GUESTS: Final = ""
"""Stands where the id of a sign-in does, for the sessions that the user opened as a guest."""
ALL: Final = "*"
"""Stands where the id of a sign-in does, for all sessions of the user."""
WHY: Final[dict[str, tuple[ErrorCode, CloseCode]]] = {
    "signed_out": (SIGNED_OUT, SIGN_IN_ENDED),
    "banned": (BANNED, ACCOUNT_BANNED),
    "closed": (ACCOUNT_CLOSED, ACCOUNT_GONE),
}
"""Why sessions end -> the error that answers a request, and the code that closes a connection."""


class Ending(msgspec.Struct, frozen=True):
    """Says that a sign-in is over, or that a user may not be here.

    Attributes:
        user: the user.
        sign_in: the id of the sign-in; or GUESTS, or ALL.
        why: a key of WHY.
        until: when the ending ceases to hold, in seconds since 1970, UTC. For a ban this is its
            end, and a time in the past if it was lifted. For a sign-in it is the time at which the
            last of its tokens has run out.
        ends: the end of a ban, or 0 for all else. It may be long after `until`: by then no token is
            valid, and the account itself says that it is banned.
        reason: why a user is banned, for that user.
    """

    user: str
    sign_in: str
    why: str
    until: float
    ends: float = 0.0
    reason: str = ""

    def refusal(self, now: float) -> Refused:
        """Return what a request is answered with."""
        if self.why == "banned":
            return ban_refusal(self.ends, self.reason, self.ends - now)
        return Refused(WHY[self.why][0])


def ban_refusal(ends: float, reason: str, left_s: float) -> Refused:
    """Return what a banned user is told: until when, and why.

    Arguments:
        ends: the end of the ban, in seconds since 1970, UTC.
        reason: why, in the words of whoever banned the user.
        left_s: how long the ban lasts still.
    """
    if ends >= FOR_EVER_MS / 1000:
        return Refused(BANNED, f"for ever: {reason}")
    until = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Refused(BANNED, f"until {until}: {reason}", retry_in_s=max(0.0, left_s))


class AccountAccess:
    """Reads access tokens, and refuses those whose sign-in or user has an ending.

    Everything is in memory, so sessions are opened even while PostgreSQL is away.

    Arguments:
        tokens: reads access tokens.
        tell: tells a session of this node, by its key.
        clock: seconds since 1970, UTC.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        tell: Callable[[str, AccessEnded], None],
        clock: Callable[[], float],
    ) -> None:
        self.tokens = tokens
        self._tell = tell
        self._clock = clock
        self._endings: dict[str, dict[str, Ending]] = {}
        self._sign_ins: dict[str, tuple[str, str]] = {}  # session -> user, sign-in
        self._sessions: dict[str, set[str]] = {}  # user -> sessions

    @property
    def endings(self) -> int:
        """How many users have an ending that this node keeps."""
        return len(self._endings)

    # --- see `actors.edge.access.Access` -------------------------------------------------------

    def verify(self, token: str) -> Grant:
        """Return what a token gives."""
        grant = self.tokens.read(token)
        self.check(grant.user, grant.sign_in)
        return grant

    def check(self, user: str, sign_in: str) -> None:
        """Check that a session of this user may go on."""
        endings = self._endings.get(user)
        if endings is not None:
            for which in (ALL, sign_in):
                ending = endings.get(which)
                if ending is not None and (now := self._clock()) < ending.until:
                    raise ending.refusal(now)

    def entered(self, who: Identity) -> None:
        """Note a session that has begun, or that has another sign-in now."""
        self._sign_ins[who.session] = (who.user, who.sign_in)
        self._sessions.setdefault(who.user, set()).add(who.session)

    def left(self, who: Identity) -> None:
        """Note that a session has ended."""
        self._sign_ins.pop(who.session, None)
        sessions = self._sessions.get(who.user)
        if sessions is not None:
            sessions.discard(who.session)
            if not sessions:
                del self._sessions[who.user]

    # --- endings -------------------------------------------------------------------------------

    def apply(self, endings: Iterable[Ending]) -> None:
        """Keep endings, and end the sessions that they concern. To repeat it is harmless."""
        now = self._clock()
        for ending in endings:
            of_user = self._endings.setdefault(ending.user, {})
            if now < ending.until:
                of_user[ending.sign_in] = ending
                self._end_sessions(ending)
            else:
                of_user.pop(ending.sign_in, None)
                if not of_user:
                    del self._endings[ending.user]

    def forget_old(self) -> None:
        """Forget the endings that have ceased to hold."""
        now = self._clock()
        for user, endings in list(self._endings.items()):
            kept = {which: one for which, one in endings.items() if now < one.until}
            if kept:
                self._endings[user] = kept
            else:
                del self._endings[user]

    def _end_sessions(self, ending: Ending) -> None:
        for session in tuple(self._sessions.get(ending.user, ())):
            if ending.sign_in in (ALL, self._sign_ins[session][1]):
                self._tell(session, AccessEnded(WHY[ending.why][1]))
