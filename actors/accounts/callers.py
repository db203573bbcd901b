"""Who asks for something of an account: who may, and as whom the audit log names them."""

from __future__ import annotations

from typing import Any

from actors.edge.failures import Refused
from actors.edge.identity import Identity
from protocol.errors import FORBIDDEN, NO_ACCOUNT


def check_player(who: Identity) -> None:
    """Raise Refused unless a player asks, or a back end on behalf of one."""
    if who.key and who.user == f"key-{who.key}":
        raise Refused(FORBIDDEN, "a key has no account; name a user")


def check_back_end(who: Identity | None) -> None:
    """Raise Refused unless a back end asks with its API key."""
    if who is None or not who.key:
        raise Refused(FORBIDDEN, "a back end with an API key asks for this")


def by_whom(who: Identity) -> str:
    """Return who asks, for the audit log."""
    return f"key-{who.key}" if who.key else who.user


def there(found: Any) -> Any:
    """Return what was read of an account. Raises Refused: NO_ACCOUNT, if that is None."""
    if found is None:
        raise Refused(NO_ACCOUNT)
    return found
