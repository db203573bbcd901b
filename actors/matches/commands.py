"""The commands that change the rows of matches.

All of them take the same lock, so that limits are exact however many workers and nodes create
matches at once. A batch of commands holds it for one commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from actors.edge.failures import Refused
from actors.matches.entry import MatchEntry
from actors.matches.rules.room import Limits, MatchTally, NoRoom, check_room
from persistence.commands import CommandKind, Transaction
from persistence.postgres.arrays import ByteaArray, Int8Array, TextArray, columns
from protocol.errors import TOO_MANY_MATCHES, UNAVAILABLE

SERVICE: Final = "matches"
AGAIN_S: Final = 0.5
"""The earliest retry of a client that found no room, in seconds. An end has to be written first."""


class OpenMatch(msgspec.Struct, frozen=True, gc=False):
    """Enter a match, if there is room for it. Answer: its `MatchEntry`.

    If the user has used the key before, the answer is the entry of the match that was entered then.
    The entry of a match that has ended has no `start`. `address` is the client's; None: no limit
    applies to it.
    """

    match: str
    game: str
    user: str
    key: str | None
    address: str | None
    start: bytes
    limits: Limits


class ReportMatches(msgspec.Struct, frozen=True, gc=False):
    """Write down the state of matches. Each match in it was made.

    `running` has matches with their numbers of players. `ended` has matches whose rows are deleted,
    each with whether its key is kept.
    """

    running: Sequence[tuple[str, int]]
    ended: Sequence[tuple[str, bool]]
    joined: Sequence[tuple[str, str]] = ()
    """Users who have joined matches, as (user, match)."""


class ForgetKeys(msgspec.Struct, frozen=True, gc=False):
    """Delete the keys of matches that ended more than `age_ms` ago, and those beyond the last
    `kept`, at most `most` at once. Answer: `KeysForgotten`.
    """

    age_ms: int
    kept: int
    most: int


class ForgetPlayers(msgspec.Struct, frozen=True, gc=False):
    """Delete who has joined a match more than `age_ms` ago, at most `most` at once.

    Answer: `KeysForgotten`.
    """

    age_ms: int
    most: int


class KeysForgotten(msgspec.Struct, frozen=True, gc=False):
    """How many keys were deleted. `reached` is None if there are no more to delete for now."""

    reached: str | None
    deleted: int


class ForgetCreator(msgspec.Struct, frozen=True, gc=False):
    """Delete a user's keys, the addresses from which the user created matches, and which ones the
    user has joined.
    """

    user: str


class OldMatch(msgspec.Struct, frozen=True, gc=False):
    """A running match of the old directory; see `MatchEntry`."""

    match: str
    game: str
    at: int
    user: str
    key: str | None
    start: bytes | None


class OldKey(msgspec.Struct, frozen=True, gc=False):
    """The key of an ended match of the old directory; `at`: when the match ended."""

    user: str
    key: str
    match: str
    at: int


class TakeOver(msgspec.Struct, frozen=True, gc=False):
    """Enter what the old directory knew. It acts once for a database."""

    running: Sequence[OldMatch]
    ended: Sequence[OldKey]


_KNOWN: Final = """
    SELECT n.place, m.match, m.game, m.created_ms, m.start
    FROM unnest(%b::text[], %b::bytea[]) WITH ORDINALITY AS n (user_id, key, place)
    JOIN matches AS m USING (user_id, key)
    UNION ALL
    SELECT n.place, e.match, '', 0, NULL
    FROM unnest(%b::text[], %b::bytea[]) WITH ORDINALITY AS n (user_id, key, place)
    JOIN ended_match_keys AS e USING (user_id, key)
"""
_STANDS: Final = """
    SELECT 'user', user_id, count(*), min(created_ms) FILTER (WHERE NOT joined)
    FROM matches WHERE user_id = ANY(%b::text[]) GROUP BY user_id
    UNION ALL
    SELECT 'address', address, count(*), min(created_ms) FILTER (WHERE NOT joined)
    FROM matches WHERE address = ANY(%b::text[]) GROUP BY address
    UNION ALL
    SELECT 'all', '', running, (SELECT min(created_ms) FROM matches WHERE NOT joined)
    FROM match_directory
    UNION ALL
    SELECT 'now', '', (extract(epoch FROM clock_timestamp()) * 1000)::bigint, NULL
    FROM match_directory WHERE taken_over
"""
_ENTER: Final = """
    INSERT INTO matches (match, game, user_id, key, address, created_ms, start)
    SELECT match, game, user_id, nullif(key, ''), nullif(address, ''), created_ms,
           nullif(start, '')
    FROM unnest(
        %b::text[], %b::text[], %b::text[], %b::bytea[], %b::text[], %b::int8[], %b::bytea[]
    ) WITH ORDINALITY AS n (match, game, user_id, key, address, created_ms, start, place)
    ORDER BY place
"""
_COUNT: Final = "UPDATE match_directory SET running = running + %s"
_NOTE: Final = """
    UPDATE matches AS m
    SET players = n.players, joined = m.joined OR n.players > 0, start = NULL
    FROM unnest(%b::text[], %b::int8[]) AS n (match, players)
    WHERE m.match = n.match AND (m.players <> n.players OR m.start IS NOT NULL)
"""
_END: Final = """
    WITH ended AS (
        SELECT * FROM unnest(%b::text[], %b::int8[]) AS n (match, keeps)
    ), gone AS (
        DELETE FROM matches AS m USING ended AS n WHERE m.match = n.match
        RETURNING m.match, m.user_id, m.key, n.keeps
    ), kept AS (
        INSERT INTO ended_match_keys (user_id, key, match, ended_ms)
        SELECT user_id, key, match, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        FROM gone WHERE key IS NOT NULL AND keeps = 1
        ON CONFLICT DO NOTHING
    )
    UPDATE match_directory SET running = running - (SELECT count(*) FROM gone)
"""
_TELL_ENDED: Final = """
    SELECT announce_events(
        array_agg('match.ended'::text),
        array_agg(json_build_object('match', match, 'game', game, 'user', user_id)::text)
    ) FROM matches WHERE match = ANY(%b::text[]) HAVING count(*) > 0
"""
"""Tells webhooks of the matches whose rows are about to go, so of each once."""
_FORGET: Final = """
    DELETE FROM ended_match_keys WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM ended_match_keys
        WHERE ended_ms < greatest(
            (extract(epoch FROM clock_timestamp()) * 1000)::bigint - %s,
            (SELECT ended_ms + 1 FROM ended_match_keys ORDER BY ended_ms DESC OFFSET %s LIMIT 1)
        )
        ORDER BY ended_ms LIMIT %s
    ))
"""
_JOINED: Final = """
    INSERT INTO match_players (user_id, match, joined_ms)
    SELECT user_id, match, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM unnest(%b::text[], %b::text[]) AS n (user_id, match) ORDER BY user_id, match
    ON CONFLICT (user_id, match) DO UPDATE SET joined_ms = excluded.joined_ms
"""
_FORGET_PLAYERS: Final = """
    DELETE FROM match_players WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM match_players
        WHERE joined_ms < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - %s
        ORDER BY joined_ms LIMIT %s
    ))
"""
_FORGET_KEYS: Final = "DELETE FROM ended_match_keys WHERE user_id = %s"
_FORGET_CREATOR: Final = "UPDATE matches SET key = NULL, address = NULL WHERE user_id = %s"
_TAKEN_OVER: Final = "UPDATE match_directory SET taken_over = true WHERE NOT taken_over"
_KEEP: Final = """
    INSERT INTO ended_match_keys (user_id, key, match, ended_ms)
    SELECT * FROM unnest(%b::text[], %b::bytea[], %b::text[], %b::int8[])
    ON CONFLICT DO NOTHING
"""


def _open_all(tx: Transaction, commands: Sequence[OpenMatch]) -> Sequence[MatchEntry | Refused]:
    """Read what is there once, decide on each command in turn, and write the new rows at once."""
    register = _Register(tx, commands)
    answers = [register.take(place, command) for place, command in enumerate(commands, 1)]
    register.write(tx)
    return answers


class _Register:
    """What a batch of commands knows about running matches, and the rows that it adds."""

    def __init__(self, tx: Transaction, commands: Sequence[OpenMatch]) -> None:
        self._known: dict[int, MatchEntry] = {}
        keyed = [(place, one) for place, one in enumerate(commands, 1) if one.key is not None]
        if keyed:
            keys = [TextArray([one.user for _, one in keyed]), _keys(one for _, one in keyed)]
            for place, *entry in tx.read(_KNOWN, [*keys, *keys]):
                self._known[keyed[place - 1][0]] = MatchEntry(*entry)
        users = {one.user for one in commands}
        addresses = {one.address for one in commands if one.address is not None}
        rows = tx.read(_STANDS, [TextArray(list(users)), TextArray(list(addresses))])
        self._tallies = {(what, name): MatchTally(*tally) for what, name, *tally in rows}
        self._now = self._tallies.pop(("now", ""), MatchTally()).running
        """The time in milliseconds; 0 if the old directory has not been taken over yet."""
        self._fresh: dict[tuple[str, str | None], MatchEntry] = {}
        self._entered: list[OpenMatch] = []

    def take(self, place: int, command: OpenMatch) -> MatchEntry | Refused:
        """Enter a match, or find the match of its key, or refuse."""
        if not self._now:
            return Refused(UNAVAILABLE, "the directory of matches is being moved")
        known = self._known.get(place) or self._fresh.get((command.user, command.key))
        if known is not None:
            return known
        user, everyone = ("user", command.user), ("all", "")
        address = None if command.address is None else ("address", command.address)
        try:
            check_room(
                command.limits,
                now=self._now,
                user=self._tally(user),
                address=None if address is None else self._tally(address),
                everyone=self._tally(everyone),
            )
        except NoRoom as no_room:
            left_ms = no_room.frees_in_ms
            again_s = None if left_ms is None else max(AGAIN_S, left_ms / 1000)
            return Refused(TOO_MANY_MATCHES, str(no_room), retry_in_s=again_s)
        for name in (user, address, everyone):
            if name is not None:
                self._tallies[name] = self._tally(name).with_one(self._now)
        entry = MatchEntry(command.match, command.game, self._now, command.start)
        if command.key is not None:
            self._fresh[command.user, command.key] = entry
        self._entered.append(command)
        return entry

    def write(self, tx: Transaction) -> None:
        """Write the new rows."""
        if not self._entered:
            return
        _enter(
            tx,
            [
                (one.match, one.game, one.user, one.key, one.address, self._now, one.start)
                for one in self._entered
            ],
        )

    def _tally(self, name: tuple[str, str]) -> MatchTally:
        return self._tallies.get(name, MatchTally())


_Row = tuple[str, str, str, str | None, str | None, int, bytes | None]


def _enter(tx: Transaction, rows: Sequence[_Row]) -> None:
    matches, games, users, keys, addresses, created, starts = columns(rows)
    tx.write(
        _ENTER,
        [
            *map(TextArray, (matches, games, users)),
            ByteaArray([(key or "").encode() for key in keys]),
            TextArray([address or "" for address in addresses]),
            Int8Array(created),
            ByteaArray([start or b"" for start in starts]),
        ],
    )
    tx.write(_COUNT, (len(rows),))


def _keys(ones: Iterable[OpenMatch]) -> ByteaArray:
    return ByteaArray([(one.key or "").encode() for one in ones])


def _report(tx: Transaction, command: ReportMatches) -> None:
    if command.running:
        matches, players = columns(command.running)
        tx.write(_NOTE, [TextArray(matches), Int8Array(players)])
    if command.ended:
        matches, keeps = columns(command.ended)
        tx.write(_TELL_ENDED, [TextArray(matches)])
        tx.write(_END, [TextArray(matches), Int8Array(keeps)])
    if command.joined:
        tx.write(_JOINED, [TextArray(column) for column in columns(command.joined)])


def _forget(tx: Transaction, command: ForgetKeys) -> KeysForgotten:
    deleted = tx.write(_FORGET, (command.age_ms, command.kept, command.most)).rowcount
    return KeysForgotten(None if deleted < command.most else "", deleted)


def _forget_creator(tx: Transaction, command: ForgetCreator) -> None:
    tx.write(_FORGET_CREATOR, (command.user,))
    tx.write(_FORGET_KEYS, (command.user,))
    tx.write("DELETE FROM match_players WHERE user_id = %s", (command.user,))


def _forget_players(tx: Transaction, command: ForgetPlayers) -> KeysForgotten:
    deleted = tx.write(_FORGET_PLAYERS, (command.age_ms, command.most)).rowcount
    return KeysForgotten(None if deleted < command.most else "", deleted)


def _take_over(tx: Transaction, command: TakeOver) -> None:
    if not tx.write(_TAKEN_OVER).rowcount:
        return
    if command.running:
        _enter(
            tx,
            [
                (one.match, one.game, one.user, one.key, None, one.at, one.start)
                for one in command.running
            ],
        )
    if command.ended:
        users, keys, matches, times = columns(
            (one.user, one.key.encode(), one.match, one.at) for one in command.ended
        )
        arrays = [TextArray(users), ByteaArray(keys), TextArray(matches), Int8Array(times)]
        tx.write(_KEEP, arrays)


def _lock(_: Any) -> Iterable[str]:
    return (SERVICE,)


COMMANDS: Final = (
    CommandKind(service=SERVICE, name="open", command=OpenMatch, locks=_lock, run_all=_open_all),
    CommandKind(service=SERVICE, name="report", command=ReportMatches, locks=_lock, run=_report),
    CommandKind(service=SERVICE, name="forget", command=ForgetKeys, locks=_lock, run=_forget),
    CommandKind(
        service=SERVICE,
        name="forget-players",
        command=ForgetPlayers,
        locks=_lock,
        run=_forget_players,
    ),
    CommandKind(
        service=SERVICE,
        name="forget-creator",
        command=ForgetCreator,
        locks=_lock,
        run=_forget_creator,
    ),
    CommandKind(service=SERVICE, name="take-over", command=TakeOver, locks=_lock, run=_take_over),
)
