"""Access: who a session belongs to, by a token of the service that knows accounts.

The edge asks an `Access`, and knows nothing else of accounts. A server without such a service has
only guests. Every call is answered from memory, because a session opens within one turn of the
loop.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from actors.edge.identity import Identity
from protocol.errors import CloseCode


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What an access token gives to whoever shows it, until it runs out.

    Attributes:
        user: the account, whose sessions have this user.
        name: the name that others see; empty: the account has none yet.
        roles: the roles of the account, without those that they include.
        sign_in: the sign-in that the token came from. When it ends, so do its sessions.
        expires: when the token runs out, in seconds since 1970, UTC.
    """

    user: str
    name: str
    roles: tuple[str, ...]
    sign_in: str
    expires: float


class AccessEnded(msgspec.Struct, frozen=True, gc=False):
    """Tells a session that its sign-in has ended, or that its account may not be here any more.

    `close` is the code with which its connection is closed.
    """

    close: CloseCode


class Access(Protocol):
    """Knows access tokens, and which of them are void before their time."""

    def verify(self, token: str) -> Grant:
        """Return what a token gives.

        Raises:
            RequestError: BAD_TOKEN, TOKEN_EXPIRED, or why the account or sign-in is refused.
        """

    def check(self, user: str, sign_in: str) -> None:
        """Check that a session of this user may go on.

        `sign_in` is empty for a session that was opened as a guest's.

        Raises:
            RequestError: why it may not.
        """

    def entered(self, who: Identity) -> None:
        """Note a session of this node. It is told `AccessEnded` when its access ends.

        It is called when the session begins, and again when it has another sign-in.
        """

    def left(self, who: Identity) -> None:
        """Note that a session of this node has ended."""
