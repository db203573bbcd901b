"""The queries that read the rows of matches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from actors.acquaintances import Fellow, PlayedWith
from actors.matches.entry import MatchEntry
from persistence.queries import QueryKind, ReadTransaction


class ListMatches(msgspec.Struct, frozen=True, gc=False):
    """Find the newest matches of these games, at most `limit`. Answer: a list of `Listed`."""

    games: Sequence[str]
    limit: int


class Listed(NamedTuple):
    """A running match. `at` is the time of its creation, in milliseconds since 1970, UTC."""

    match: str
    game: str
    players: int
    at: int


class MatchOfKey(msgspec.Struct, frozen=True, gc=False):
    """Find the match that a user created with this key. Answer: its name, or None."""

    user: str
    key: str


class MatchesOfCreator(msgspec.Struct, frozen=True, gc=False):
    """Find everything about matches that a user created. Answer: a list of `Creation`."""

    user: str


class Creation(msgspec.Struct, frozen=True, gc=False):
    """A match that a user created. `at` is the time of its creation, or of its end if it is over,
    in milliseconds since 1970, UTC. Of one that is over, neither game nor address is known.
    """

    match: str
    game: str | None
    at: int
    key: str | None
    address: str | None


class RunningMatches(msgspec.Struct, frozen=True, gc=False):
    """Find the running matches after this name, at most `limit`. Answer: a list of `MatchEntry`."""

    after: str
    limit: int


class UnmadeMatches(msgspec.Struct, frozen=True, gc=False):
    """Find the oldest matches that were entered at least `age_ms` ago and were not made, at most
    `limit`. Answer: a list of `MatchEntry`.
    """

    age_ms: int
    limit: int


class IsTakenOver(msgspec.Struct, frozen=True, gc=False):
    """Find out whether the rows have taken over the old directory. Answer: a bool."""


_LIST: Final = "SELECT match, game, players, created_ms FROM list_matches(%s::text[], %s)"
_OF_KEY: Final = """
    SELECT match FROM matches WHERE user_id = %s AND key = %s
    UNION ALL
    SELECT match FROM ended_match_keys WHERE user_id = %s AND key = %s
"""
_OF_CREATOR: Final = """
    SELECT match, game, created_ms, key, address FROM matches WHERE user_id = %s
    UNION ALL
    SELECT match, NULL, ended_ms, key, NULL FROM ended_match_keys WHERE user_id = %s
    ORDER BY 3, 1
"""
_RUNNING: Final = """
    SELECT match, game, created_ms, start FROM matches WHERE match > %s ORDER BY match LIMIT %s
"""
_UNMADE: Final = """
    SELECT match, game, created_ms, start FROM matches
    WHERE start IS NOT NULL
    AND created_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint - %s
    ORDER BY created_ms LIMIT %s
"""


def _list(reading: ReadTransaction, query: ListMatches) -> list[Listed]:
    return [Listed(*row) for row in reading.read(_LIST, (list(query.games), query.limit))]


def _of_key(reading: ReadTransaction, query: MatchOfKey) -> str | None:
    name = (query.user, query.key.encode())
    row = reading.read(_OF_KEY, name + name).fetchone()
    return None if row is None else str(row[0])


def _of_creator(reading: ReadTransaction, query: MatchesOfCreator) -> list[Creation]:
    return [
        Creation(match, game, at, None if key is None else key.decode(), address)
        for match, game, at, key, address in reading.read(_OF_CREATOR, (query.user, query.user))
    ]


def _running(reading: ReadTransaction, query: RunningMatches) -> list[MatchEntry]:
    return [MatchEntry(*row) for row in reading.read(_RUNNING, (query.after, query.limit))]


def _unmade(reading: ReadTransaction, query: UnmadeMatches) -> list[MatchEntry]:
    return [MatchEntry(*row) for row in reading.read(_UNMADE, (query.age_ms, query.limit))]


def _is_taken_over(reading: ReadTransaction, _: IsTakenOver) -> bool:
    return reading.read("SELECT 1 FROM match_directory WHERE taken_over").fetchone() is not None


LATEST_MATCHES: Final = 50
LATEST_PLAYERS: Final = 100
"""Of the last matches of a user so many are looked at, and in each of them so many players."""

_PLAYED_WITH: Final = """
    SELECT theirs.user_id, max(greatest(own.joined_ms, theirs.joined_ms))
    FROM (
        SELECT match, joined_ms FROM match_players
        WHERE user_id = %s ORDER BY joined_ms DESC LIMIT %s
    ) AS own
    CROSS JOIN LATERAL (
        SELECT p.user_id, p.joined_ms FROM match_players AS p
        WHERE p.match = own.match ORDER BY p.joined_ms DESC LIMIT %s
    ) AS theirs
    WHERE theirs.user_id <> %s
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %s
"""


def _played_with(reading: ReadTransaction, query: PlayedWith) -> list[Fellow]:
    user = query.user
    given = (user, LATEST_MATCHES, LATEST_PLAYERS, user, query.limit)
    return [Fellow(*row) for row in reading.read(_PLAYED_WITH, given)]


QUERIES: Final = (
    QueryKind(PlayedWith, _played_with),
    QueryKind(ListMatches, _list),
    QueryKind(MatchOfKey, _of_key),
    QueryKind(MatchesOfCreator, _of_creator),
    QueryKind(RunningMatches, _running),
    QueryKind(UnmadeMatches, _unmade),
    QueryKind(IsTakenOver, _is_taken_over),
)
