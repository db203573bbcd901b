"""Scopes: what a key may call: an op or a route, all of an area ("storage.*"), or all ("*")."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from actors.edge.failures import Refused
from protocol.errors import BAD_MESSAGE
from protocol.roles import STAFF


def check_scopes(scopes: Iterable[str], names: Iterable[str]) -> None:
    """Check that each scope is one of a server with ops and routes of these names.

    Raises Refused: BAD_MESSAGE, with the names that may have been meant.
    """
    areas = {name.partition(".")[0] for name in names}
    known = {"*", *names, *(f"{area}.*" for area in areas)}
    for scope in scopes:
        if scope not in known:
            close = difflib.get_close_matches(scope, sorted(known), n=3, cutoff=0.6)
            hint = f"; perhaps {' or '.join(close)}" if close else ""
            named = f"no op, route or area is called {scope[:64]!r}{hint}"
            raise Refused(BAD_MESSAGE, f"{named}; write storage.read, 'storage.*' or '*'")


def check_roles(roles: Iterable[str]) -> None:
    """Check that each role is one of staff. Raises Refused: BAD_MESSAGE."""
    for role in roles:
        if role not in STAFF:
            there_are = ", ".join(reversed(STAFF))
            raise Refused(BAD_MESSAGE, f"no role of staff is called {role[:64]!r}: {there_are}")
