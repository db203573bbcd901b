"""Who a client is: what a session is opened with, and what its messages carry."""

from __future__ import annotations

import msgspec


class Identity(msgspec.Struct, frozen=True, gc=False):
    """A session and whose it is.

    `session` is the key of its actor. `user` is the same for all sessions of a person. `name` is
    what others are shown. `language`: a tag of BCP 47, empty if it is not known. `roles`: what the
    user may do beyond what anyone may. `address`: the network address, where it has limits of its
    own; None: it has none.
    """

    session: str
    user: str
    name: str
    language: str = ""
    roles: frozenset[str] = frozenset()
    address: str | None = None
