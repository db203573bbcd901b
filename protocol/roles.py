"""Roles: who may ask for an op, or call a route of HTTP.

Each op and each route names one role, and whoever asks must have it. One that names none is for
nobody. A role of staff includes others: an owner may do what an operator may, and so on down to a
viewer. `with_included` adds these once, when it is known who asks; after that, a check is one look
into a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Final

ANYONE: Final = "anyone"
"""Everybody, even without a session, a token or a key."""
PLAYER: Final = "player"
"""Every user: who has a session or a token, and a back end with a key."""
VIEWER: Final = "viewer"
"""Staff who look: at the audit log, for example."""
MODERATOR: Final = "moderator"
"""Staff who keep order among players."""
SUPPORT: Final = "support"
"""Staff who help players with what is theirs."""
OPERATOR: Final = "operator"
"""Staff who run the server: its keys and its webhooks."""
OWNER: Final = "owner"
"""Staff who say who is staff."""

_INCLUDED: Final[Mapping[str, tuple[str, ...]]] = {
    OWNER: (OPERATOR,),
    OPERATOR: (MODERATOR, SUPPORT),
    MODERATOR: (VIEWER,),
    SUPPORT: (VIEWER,),
    VIEWER: (),
}
STAFF: Final = tuple(_INCLUDED)
"""The roles of staff, the mightiest first."""
ROLES: Final = (ANYONE, PLAYER, *reversed(STAFF))
"""Every role of the server's own. A game's services may have others."""


def with_included(roles: Iterable[str]) -> frozenset[str]:
    """Return roles and all that they include."""
    found: set[str] = set()
    pending = list(roles)
    while pending:
        role = pending.pop()
        if role not in found:
            found.add(role)
            pending += _INCLUDED.get(role, ())
    return frozenset(found)


def allows(required: str | None, roles: Set[str]) -> bool:
    """Return whether somebody with these roles, included ones among them, may ask.

    `required` is the role of the op or the route. None: nobody may.
    """
    return required is not None and (required == ANYONE or required in roles)


def role_needed(required: str | None) -> str:
    """Return what somebody is told who may not ask."""
    return "nobody may" if required is None else f"it needs the role {required}"
