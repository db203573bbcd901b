"""The commands that change ties between users, and blocks.

A command holds the locks of both its users, taken in one order for a whole batch. So whatever both
do at once, on whichever nodes, takes effect one after the other, and both sides of a tie are
written together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from actors.edge.failures import Refused
from actors.friends.rules.ties import (
    Act,
    Bond,
    IsBlocked,
    NotAsked,
    Pair,
    TieCounts,
    TieDenied,
    TooMany,
    TooManyBlocks,
    tie_after,
)
from persistence.commands import CommandKind, Transaction
from persistence.postgres.arrays import Int8Array, TextArray, columns
from protocol.errors import FORBIDDEN, NOT_ASKED, QUOTA_EXCEEDED, TOO_MANY_FRIENDS, ErrorCode

SERVICE: Final = "friends"
STATES: Final[Sequence[Bond]] = ("friend", "requested", "asked")
"""The states of ties, as the numbers that rows have."""
ENTRY: Final = "friend.tie"
"""The type of entries in inboxes that tell of a tie."""


class ChangeTie(msgspec.Struct, frozen=True):
    """Does what a user wants with another user. Answer: `Tied`.

    Attributes:
        user: who acts.
        other: the other user.
        act: what is to be done.
        most: what a user may have.
    """

    user: str
    other: str
    act: Act
    most: TieCounts


class Tied(msgspec.Struct, frozen=True, gc=False):
    """How the user stands to the other now, since when. `state` None: there is no tie."""

    state: Bond | None
    since: int


class EraseTies(msgspec.Struct, frozen=True):
    """Deletes all ties and blocks of a user. Answer: `TiesErased`.

    Where others have blocked the user, that stays: it is theirs, and the user may come back.
    """

    user: str


class TiesErased(msgspec.Struct, frozen=True):
    """The answer to `EraseTies`: how many ties and blocks there were."""

    ties: int


_CODES: Final[dict[type[TieDenied], ErrorCode]] = {
    IsBlocked: FORBIDDEN,
    NotAsked: NOT_ASKED,
    TooMany: TOO_MANY_FRIENDS,
    TooManyBlocks: QUOTA_EXCEEDED,
}

_PRESENT: Final = """
    SELECT n.user_id, n.other_id, t.state, t.since_ms, b.user_id IS NOT NULL, r.user_id IS NOT NULL
    FROM unnest(%b::text[], %b::text[]) AS n (user_id, other_id)
    LEFT JOIN friend_ties AS t USING (user_id, other_id)
    LEFT JOIN friend_blocks AS b USING (user_id, other_id)
    LEFT JOIN friend_blocks AS r ON (r.user_id, r.other_id) = (n.other_id, n.user_id)
"""
_TALLIES: Final = """
    SELECT u.user_id,
           (SELECT count(*) FROM friend_ties AS t WHERE t.user_id = u.user_id AND t.state = 0),
           coalesce(w.requested, 0), coalesce(w.asked, 0),
           (SELECT count(*) FROM friend_blocks AS b WHERE b.user_id = u.user_id)
    FROM unnest(%b::text[]) AS u (user_id)
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE t.state = 1) AS requested,
               count(*) FILTER (WHERE t.state = 2) AS asked
        FROM friend_ties AS t WHERE t.user_id = u.user_id AND t.state <> 0
    ) AS w ON true
"""
_NOW: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_DELETE_TIES: Final = """
    DELETE FROM friend_ties AS t USING unnest(%b::text[], %b::text[]) AS n (user_id, other_id)
    WHERE (t.user_id, t.other_id) = (n.user_id, n.other_id)
"""
_WRITE_TIES: Final = """
    INSERT INTO friend_ties (user_id, other_id, state, since_ms)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::int8[], %b::int8[])
    ON CONFLICT (user_id, other_id) DO UPDATE
    SET state = excluded.state, since_ms = excluded.since_ms
"""
_DELETE_BLOCKS: Final = """
    DELETE FROM friend_blocks AS b USING unnest(%b::text[], %b::text[]) AS n (user_id, other_id)
    WHERE (b.user_id, b.other_id) = (n.user_id, n.other_id)
"""
_WRITE_BLOCKS: Final = """
    INSERT INTO friend_blocks (user_id, other_id, since_ms)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::int8[])
    ON CONFLICT (user_id, other_id) DO NOTHING
"""
_BLOCKS_CHANGED: Final = """
    INSERT INTO friend_block_changes (user_id, changed_at)
    SELECT n, clock_timestamp() FROM unnest(%b::text[]) AS n
    ON CONFLICT (user_id) DO UPDATE SET changed_at = excluded.changed_at
"""
_ERASE_OTHER_SIDES: Final = """
    DELETE FROM friend_ties AS t USING friend_ties AS own
    WHERE own.user_id = %s AND (t.user_id, t.other_id) = (own.other_id, own.user_id)
"""

_encode: Final = msgspec.msgpack.Encoder().encode
_Key = tuple[str, str]


def _change_all(tx: Transaction, commands: Sequence[ChangeTie]) -> Sequence[Any]:
    """Read all pairs that are touched, tie_after on each command in turn, and write all at once."""
    ledger = _Ledger(tx, commands)
    answers = [ledger.take(command) for command in commands]
    ledger.write(tx)
    return answers


class _Ledger:
    """The pairs of users that a batch of commands touches, with the changes of the commands so far.

    Each pair is kept once, from the side of the user whose id is less.
    """

    def __init__(self, tx: Transaction, commands: Sequence[ChangeTie]) -> None:
        self._pairs: dict[_Key, Pair] = {}
        self._since: dict[_Key, int] = {}
        self._tallies: dict[str, TieCounts] = {}
        self._before: dict[_Key, Pair] = {}
        self._told: list[tuple[str, str, Bond | str | None]] = []
        keys = sorted({_key(command.user, command.other) for command in commands})
        users = sorted({user for key in keys for user in key})
        # All are sent before the first answer is read, so together they take one round trip.
        tallies = tx.read(_TALLIES, [TextArray(users)])
        now = tx.read(_NOW)
        for user, other, state, since, blocks, blocked in tx.read(_PRESENT, _texts(keys)):
            tie = None if state is None else STATES[state]
            self._pairs[user, other] = Pair(tie, blocks, blocked)
            self._since[user, other] = since or 0
        for user, *counts in tallies:
            self._tallies[user] = TieCounts(*counts)
        ((self._now,),) = now.fetchall()

    def take(self, command: ChangeTie) -> Tied | Refused:
        """Do a command and return its answer, or do nothing and return the refusal."""
        user, other = command.user, command.other
        key = _key(user, other)
        before = self._pairs[key] if key[0] == user else self._pairs[key].turned()
        tallies = self._tallies
        mine, theirs = tallies[user], tallies[other]
        try:
            after = tie_after(command.act, before, mine, theirs, command.most)
        except TieDenied as denied:
            return Refused(_CODES[type(denied)], str(denied))
        if after != before:
            self._before.setdefault(key, self._pairs[key])
            self._pairs[key] = after if key[0] == user else after.turned()
            self._since[key] = self._now
            tallies[user] = mine.changed(before, after)
            tallies[other] = theirs.changed(before.turned(), after.turned())
            self._tell(user, other, before, after)
        return Tied(after.tie, self._since[key])

    def _tell(self, user: str, other: str, before: Pair, after: Pair) -> None:
        """Note what each side is told. Who is blocked sees the tie end, and nothing else."""
        if before.blocks != after.blocks:
            self._told.append((user, other, "blocked" if after.blocks else None))
        elif before.tie != after.tie:
            self._told.append((user, other, after.tie))
        if before.tie != after.tie:
            self._told.append((other, user, after.turned().tie))

    def write(self, tx: Transaction) -> None:
        """Write the changes, and tell both sides through their inboxes."""
        ended: list[_Key] = []
        tied: list[tuple[_Key, tuple[int, int]]] = []
        unblocked: list[_Key] = []
        blocked: list[_Key] = []
        for (one, two), before in self._before.items():
            after, since = self._pairs[one, two], self._since[one, two]
            for key, was, now in (
                ((one, two), before, after),
                ((two, one), before.turned(), after.turned()),
            ):
                if now.tie is not None:
                    tied.append((key, (STATES.index(now.tie), since)))
                elif was.tie is not None:
                    ended.append(key)
                if now.blocks != was.blocks:
                    (blocked if now.blocks else unblocked).append(key)
        if ended:
            tx.write(_DELETE_TIES, _texts(ended))
        if tied:
            keys, numbers = zip(*tied, strict=True)
            tx.write(_WRITE_TIES, [*_texts(keys), *map(Int8Array, columns(numbers))])
        if unblocked:
            tx.write(_DELETE_BLOCKS, _texts(unblocked))
        if blocked:
            since_ms = Int8Array([self._now] * len(blocked))
            tx.write(_WRITE_BLOCKS, [*_texts(blocked), since_ms])
        if changed := sorted({user for user, _ in (*blocked, *unblocked)}):
            tx.write(_BLOCKS_CHANGED, [TextArray(changed)])
        for user, other, state in self._told:
            tx.push(user, ENTRY, _encode({"user": other, "state": state}))


def _key(user: str, other: str) -> _Key:
    return (user, other) if user < other else (other, user)


def _texts(keys: Sequence[_Key]) -> list[TextArray]:
    return list(map(TextArray, columns(keys)))


def _erase(tx: Transaction, command: EraseTies) -> TiesErased:
    tx.write(_ERASE_OTHER_SIDES, (command.user,))
    ties = tx.write("DELETE FROM friend_ties WHERE user_id = %s", (command.user,))
    blocks = tx.write("DELETE FROM friend_blocks WHERE user_id = %s", (command.user,))
    tx.write("DELETE FROM friend_block_changes WHERE user_id = %s", (command.user,))
    return TiesErased(ties.rowcount + blocks.rowcount)


def _lock_both(command: ChangeTie) -> Iterable[str]:
    return (f"{SERVICE}:{command.user}", f"{SERVICE}:{command.other}")


def _lock_one(command: EraseTies) -> Iterable[str]:
    return (f"{SERVICE}:{command.user}",)


COMMANDS: Final = (
    CommandKind(
        service=SERVICE,
        name="change",
        command=ChangeTie,
        answer=Tied,
        locks=_lock_both,
        run_all=_change_all,
    ),
    CommandKind(
        service=SERVICE,
        name="erase",
        command=EraseTies,
        answer=TiesErased,
        locks=_lock_one,
        run=_erase,
    ),
)
