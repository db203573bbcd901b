"""The queries that read ties between users, and blocks. They run at the same time as commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from actors.friends.commands import STATES
from actors.friends.graph import GRAPH_QUERIES
from persistence.postgres.arrays import TextArray
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


class BlocksOf(msgspec.Struct, frozen=True, gc=False):
    """Reads whom a user has blocked. Answer: a list of users."""

    user: str


class ChangedBlocks(msgspec.Struct, frozen=True, gc=False):
    """Reads whose blocks have changed since a time. Answer: `BlockChanges`.

    `since`: in seconds since 1970, by PostgreSQL's clock; 0: only the time is asked for.
    """

    since: float


class BlockChanges(NamedTuple):
    """Users whose blocks have changed, with the times of the changes; and the database's time."""

    users: dict[str, float]
    now: float


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
_BLOCKS_OF: Final = """
    SELECT user_id, other_id FROM friend_blocks WHERE user_id = ANY(%b::text[])
"""
_CHANGED_BLOCKS: Final = """
    SELECT n.now, c.user_id, extract(epoch FROM c.changed_at)::float8
    FROM (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) AS n
    LEFT JOIN friend_block_changes AS c ON %s > 0 AND c.changed_at > to_timestamp(%s)
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


def _blocks_of_all(reading: ReadTransaction, queries: Sequence[BlocksOf]) -> Sequence[list[str]]:
    found: dict[str, list[str]] = {query.user: [] for query in queries}
    for user, other in reading.read(_BLOCKS_OF, [TextArray(list(found))]):
        found[user].append(other)
    return [found[query.user] for query in queries]


def _changed_blocks(reading: ReadTransaction, query: ChangedBlocks) -> BlockChanges:
    rows = reading.read(_CHANGED_BLOCKS, (query.since, query.since)).fetchall()
    return BlockChanges({user: at for _, user, at in rows if user is not None}, rows[0][0])


def _export(reading: ReadTransaction, query: ExportTies) -> list[dict[str, Any]]:
    return [
        {"user": other, "state": "blocked" if state is None else STATES[state], "since": since}
        for other, state, since in reading.read(_EXPORT, (query.user, query.user))
    ]


QUERIES: Final = (
    QueryKind(ListTies, _list_ties),
    QueryKind(ListBlocks, _list_blocks),
    QueryKind(BlocksOf, answer_all=_blocks_of_all),
    QueryKind(ChangedBlocks, _changed_blocks),
    QueryKind(ExportTies, _export),
    *GRAPH_QUERIES,
)
