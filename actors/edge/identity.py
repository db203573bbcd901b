"""Who a client is. A session is opened with an identity, and its messages to topics carry it."""

from __future__ import annotations

import msgspec


class Identity(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A session and its user.

    Attributes:
        session: the key of the session's actor; in a cluster it begins with its node, see
            `node_of`. Empty: the request came over HTTP.
        user: the same for all sessions of a person.
        name: the name that others see.
        language: a tag of BCP 47; empty: not known.
        roles: what the user may do beyond what any user may, included roles among them.
        address: the network address, if it has limits of its own; else None.
        key: the API key of the back end that asks, for itself or for the user; empty: the user
            asks.
        sign_in: the sign-in of the account that it came from; empty: a guest without an account.
    """

    session: str
    user: str
    name: str
    language: str = ""
    roles: frozenset[str] = frozenset()
    address: str | None = None
    key: str = ""
    sign_in: str = ""


def node_of(session: str) -> str | None:
    """Return the id of the node that a session lives on; None: of a server without a cluster."""
    node, slash, _ = session.partition("/")
    return node if slash else None
