"""The queries that read ties between users, and blocks. They run at the same time as commands."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from actors.friends.commands import STATES
from persistence.queries import QueryKind, ReadTransaction
from protocol.messages.friend import Blocked, FriendTie, TieState


class ListTies(msgspec.Struct, frozen=True, gc=False):
    """Lists the ties of a user after this other one, by the other's id; `state` None: all.

    Answer: a `TiesPage`.
    """

    user: str
    state: TieState | None
    after: str
    limit: int


class ListBlocks(msgspec.Struct, frozen=True, gc=False):
    """Lists the users that a user has blocked, after this one, by their id.

    Answer: a `BlocksPage`.
    """

    user: str
    after: str
    limit: int


class ExportTies(msgspec.Struct, frozen=True, gc=False):
    """Reads all ties and blocks of a user. Answer: a list of plain dicts."""

    user: str


class TiesPage(NamedTuple):
    """A page of ties. `more` says whether the list goes on after it."""

    ties: list[FriendTie]
    more: bool


class BlocksPage(NamedTuple):
    """A page of blocked users. `more` says whether the list goes on after it."""

    blocked: list[Blocked]
    more: bool


_LIST_TIES: Final = """
    SELECT other_id, state, since_ms FROM friend_ties
    WHERE user_id = %s AND other_id > %s AND state = ANY(%s)
    ORDER BY other_id LIMIT %s
"""
_LIST_BLOCKS: Final = """
    SELECT other_id, since_ms FROM friend_blocks
    WHERE user_id = %s AND other_id > %s ORDER BY other_id LIMIT %s
"""
_EXPORT: Final = """
    SELECT other_id, state, since_ms FROM friend_ties WHERE user_id = %s
    UNION ALL
    SELECT other_id, NULL, since_ms FROM friend_blocks WHERE user_id = %s
    ORDER BY 3, 1
"""


def _list_ties(reading: ReadTransaction, query: ListTies) -> TiesPage:
    states = list(range(len(STATES))) if query.state is None else [STATES.index(query.state)]
    # One more than is shown says whether the list goes on.
    found = reading.read(_LIST_TIES, (query.user, query.after, states, query.limit + 1)).fetchall()
    ties = [FriendTie(other, STATES[state], since) for other, state, since in found[: query.limit]]
    return TiesPage(ties, len(found) > query.limit)


def _list_blocks(reading: ReadTransaction, query: ListBlocks) -> BlocksPage:
    found = reading.read(_LIST_BLOCKS, (query.user, query.after, query.limit + 1)).fetchall()
    return BlocksPage([Blocked(*row) for row in found[: query.limit]], len(found) > query.limit)


def _export(reading: ReadTransaction, query: ExportTies) -> list[dict[str, Any]]:
    return [
        {"user": other, "state": "blocked" if state is None else STATES[state], "since": since}
        for other, state, since in reading.read(_EXPORT, (query.user, query.user))
    ]


QUERIES: Final = (
    QueryKind(ListTies, _list_ties),
    QueryKind(ListBlocks, _list_blocks),
    QueryKind(ExportTies, _export),
)
