"""The queries that walk the graph of friends.

They look at `BREADTH` friends of a user, and at as many of each of these, so that nobody with very
many friends makes a query slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from actors.acquaintances import Fellow
from persistence.postgres.arrays import Int8Array, TextArray, columns
from persistence.queries import QueryKind, ReadTransaction
from protocol.messages.friend import Suggestion

BREADTH: Final = 200


class MutualFriends(msgspec.Struct, frozen=True, gc=False):
    """Reads the friends that a user shares with another one, by id. Answer: `MutualPage`.

    There are none if one has blocked the other.
    """

    user: str
    other: str
    limit: int


class MutualPage(NamedTuple):
    """The first of `total` shared friends."""

    friends: list[str]
    total: int


class SuggestUsers(msgspec.Struct, frozen=True, gc=False):
    """Reads whom a user might know: friends of friends, and those of `fellows`.

    Who shares more friends comes first, then who was played with later. Left out are those with a
    tie to the user, and who is blocked or has blocked the user. Answer: a list of `Suggestion`.
    """

    user: str
    fellows: Sequence[Fellow]
    limit: int


class NotBlocked(msgspec.Struct, frozen=True, gc=False):
    """Reads which of these users the user has not blocked, nor have they blocked the user.

    Answer: a set of users.
    """

    user: str
    others: Sequence[str]


_MUTUAL: Final = """
    SELECT a.other_id, count(*) OVER ()
    FROM friend_ties AS a
    JOIN friend_ties AS b ON b.user_id = %s AND b.other_id = a.other_id AND b.state = 0
    WHERE a.user_id = %s AND a.state = 0
    AND NOT EXISTS (SELECT FROM friend_blocks WHERE (user_id, other_id) IN ((%s, %s), (%s, %s)))
    ORDER BY a.other_id LIMIT %s
"""
_SUGGEST: Final = """
    WITH own AS MATERIALIZED (
        SELECT other_id FROM friend_ties WHERE user_id = %s AND state = 0 LIMIT %s
    ), met AS (
        SELECT theirs.other_id AS user_id, 1 AS mutual, NULL::int8 AS at_ms
        FROM own
        CROSS JOIN LATERAL (
            SELECT f.other_id FROM friend_ties AS f
            WHERE f.user_id = own.other_id AND f.state = 0 LIMIT %s
        ) AS theirs
        UNION ALL
        SELECT n.user_id COLLATE "C", 0, n.at_ms
        FROM unnest(%b::text[], %b::int8[]) AS n (user_id, at_ms)
    )
    SELECT user_id, sum(mutual), max(at_ms) FROM met
    WHERE user_id <> %s AND user_id NOT IN ( -- which is hashed once
        SELECT other_id FROM friend_ties WHERE user_id = %s
        UNION ALL SELECT other_id FROM friend_blocks WHERE user_id = %s
        UNION ALL SELECT user_id FROM friend_blocks WHERE other_id = %s
    )
    GROUP BY user_id ORDER BY 2 DESC, 3 DESC NULLS LAST, 1 LIMIT %s
"""
_NOT_BLOCKED: Final = """
    SELECT n.user_id FROM unnest(%b::text[]) AS n (user_id)
    WHERE NOT EXISTS (
        SELECT FROM friend_blocks AS b
        WHERE (b.user_id, b.other_id) IN ((%s, n.user_id), (n.user_id, %s))
    )
"""


def _mutual(reading: ReadTransaction, query: MutualFriends) -> MutualPage:
    user, other = query.user, query.other
    given = (other, user, user, other, other, user, query.limit)
    rows = reading.read(_MUTUAL, given).fetchall()
    return MutualPage([friend for friend, _ in rows], rows[0][1] if rows else 0)


def _suggest(reading: ReadTransaction, query: SuggestUsers) -> list[Suggestion]:
    user = query.user
    fellows, times = columns(query.fellows) or ((), ())
    given = (
        user, BREADTH, BREADTH, TextArray(fellows), Int8Array(times), user, user, user, user,
        query.limit,
    )  # fmt: skip
    return [Suggestion(*row) for row in reading.read(_SUGGEST, given)]


def _not_blocked(reading: ReadTransaction, query: NotBlocked) -> set[str]:
    given = (TextArray(query.others), query.user, query.user)
    return {user for (user,) in reading.read(_NOT_BLOCKED, given)}


GRAPH_QUERIES: Final = (
    QueryKind(MutualFriends, _mutual),
    QueryKind(SuggestUsers, _suggest),
    QueryKind(NotBlocked, _not_blocked),
)
