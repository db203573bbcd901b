"""Who has played with whom, as one service asks and another one answers.

It stands here because no service needs the other: a server may have either of them without the
other.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class PlayedWith(msgspec.Struct, frozen=True, gc=False):
    """Asks with whom a user has played lately. Answer: a list of `Fellow`, the latest first.

    A server without a service of games answers nothing: `Facts.ask` fails with LookupError.
    """

    user: str
    limit: int


class Fellow(NamedTuple):
    """Another player, and when the two came together last, in milliseconds since 1970, UTC."""

    user: str
    at: int
