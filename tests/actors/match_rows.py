"""The rows of matches in memory: a model of those in PostgreSQL, for tests on a clock that jumps.

`tests/actors/matches/test_rows_model.py` holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import trio

from actors.edge.failures import Refused
from actors.facts import Facts
from actors.matches.commands import (
    ForgetCreator,
    ForgetKeys,
    ForgetPlayers,
    KeysForgotten,
    OpenMatch,
    ReportMatches,
    TakeOver,
)
from actors.matches.entry import MatchEntry
from actors.matches.queries import (
    Creation,
    IsTakenOver,
    Listed,
    ListMatches,
    MatchesOfCreator,
    MatchOfKey,
    RunningMatches,
    UnmadeMatches,
)
from actors.runtime.future import Future
from persistence import StoreUnavailable
from protocol.errors import TOO_MANY_MATCHES, UNAVAILABLE


@dataclass(frozen=True)
class Row:
    """A running match."""

    entry: MatchEntry
    user: str
    key: str | None
    address: str | None
    players: int = 0
    joined: bool = False


def _now_ms() -> int:
    return round(trio.current_time() * 1000)


class MatchRows(Facts):
    """Runs the commands and queries of matches, immediately.

    Attributes:
        away: PostgreSQL is.
        holds_reports: what matches report is not written yet.
        writes: how many reports were written.
    """

    def __init__(self, *, taken_over: bool = True, now_ms: Any = _now_ms) -> None:
        self.taken_over = taken_over
        self.running: dict[str, Row] = {}  # oldest first
        self.keys: dict[tuple[str, str], tuple[str, int]] = {}  # of ended ones, likewise
        self.away = False
        self.holds_reports = False
        self.writes = 0
        self._now_ms = now_ms
        self._replica = None

    def execute(self, command: msgspec.Struct, *, user: str, key: str | None = None) -> Future[Any]:
        assert user
        assert key is None
        return self._answer(command)

    def ask(self, query: msgspec.Struct) -> Future[Any]:
        return self._answer(query)

    def _answer(self, asked: msgspec.Struct) -> Future[Any]:
        answer: Future[Any] = Future()
        if self.holds_reports and isinstance(asked, ReportMatches):
            return answer
        if self.away:
            answer.set_exception(StoreUnavailable("postgresql", "away"))
            return answer
        try:
            answer.set(self.answer(asked))
        except Refused as refused:
            answer.set_exception(refused)
        return answer

    def answer(self, asked: msgspec.Struct) -> Any:
        """Return the answer. Raises the error that the asker would get."""
        match asked:
            case OpenMatch():
                return self._open(asked)
            case ReportMatches():
                self._report(asked)
            case ForgetKeys():
                return self._forget(asked)
            case ForgetPlayers():
                return KeysForgotten(None, 0)  # it knows no players
            case ForgetCreator(user):
                self._forget_creator(user)
            case TakeOver():
                self._take_over(asked)
            case ListMatches(games, limit):
                rows = [one for one in self.running.values() if one.entry.game in games]
                return [
                    Listed(one.entry.match, one.entry.game, one.players, one.entry.at)
                    for one in rows[::-1][:limit]
                ]
            case MatchOfKey(user, key):
                known = self._known(user, key)
                return None if known is None else known.match
            case MatchesOfCreator(user):
                return self._created_by(user)
            case RunningMatches(after, limit):
                names = sorted(name for name in self.running if name > after)[:limit]
                return [self.running[name].entry for name in names]
            case UnmadeMatches(age_ms, limit):
                old = [one.entry for one in self.running.values() if one.entry.start is not None]
                return [one for one in old if one.at <= self._now_ms() - age_ms][:limit]
            case IsTakenOver():
                return self.taken_over
            case _:
                raise LookupError(asked)
        return None

    def _known(self, user: str, key: str) -> MatchEntry | None:
        for row in self.running.values():
            if (row.user, row.key) == (user, key):
                return row.entry
        ended = self.keys.get((user, key))
        return None if ended is None else MatchEntry(ended[0], "", 0, None)

    def _open(self, one: OpenMatch) -> MatchEntry:
        if not self.taken_over:
            raise Refused(UNAVAILABLE)
        if one.key is not None and (known := self._known(one.user, one.key)) is not None:
            return known
        rows, limits = list(self.running.values()), one.limits
        of_address = limits.of_address if one.address is not None else 0
        for most, counted, detail in (
            (limits.of_user, [row for row in rows if row.user == one.user], "of this user run"),
            (
                of_address or 10**9,
                [row for row in rows if row.address == one.address],
                "that clients of this address had made run",
            ),
            (limits.of_all, rows, ""),
        ):
            if len(counted) >= most:
                unjoined = [row.entry.at for row in counted if not row.joined]
                left_s = (
                    max(0.5, (min(unjoined) + limits.unjoined_ms - self._now_ms()) / 1000)
                    if unjoined
                    else None
                )
                text = f"{most} {detail}" if detail else ""
                raise Refused(TOO_MANY_MATCHES, text, retry_in_s=left_s)
        entry = MatchEntry(one.match, one.game, self._now_ms(), one.start)
        self.running[one.match] = Row(entry, one.user, one.key, one.address)
        return entry

    def _report(self, one: ReportMatches) -> None:
        self.writes += 1
        for match, players in one.running:
            if (row := self.running.get(match)) is not None:
                self.running[match] = replace(
                    row,
                    entry=msgspec.structs.replace(row.entry, start=None),
                    players=players,
                    joined=row.joined or players > 0,
                )
        for match, keeps in one.ended:
            gone = self.running.pop(match, None)
            if gone is not None and gone.key is not None and keeps:
                self.keys[gone.user, gone.key] = (match, self._now_ms())

    def _forget(self, one: ForgetKeys) -> KeysForgotten:
        before = len(self.keys)
        young = [
            (name, kept)
            for name, kept in self.keys.items()
            if kept[1] >= self._now_ms() - one.age_ms
        ]
        self.keys = dict(young[-one.kept :])
        return KeysForgotten(None, before - len(self.keys))

    def _created_by(self, user: str) -> list[Creation]:
        running = [
            Creation(row.entry.match, row.entry.game, row.entry.at, row.key, row.address)
            for row in self.running.values()
            if row.user == user
        ]
        ended = [
            Creation(match, None, at, key, None)
            for (owner, key), (match, at) in self.keys.items()
            if owner == user
        ]
        return sorted([*running, *ended], key=lambda one: (one.at, one.match))

    def _forget_creator(self, user: str) -> None:
        for match, row in self.running.items():
            if row.user == user:
                self.running[match] = replace(row, key=None, address=None)
        self.keys = {name: kept for name, kept in self.keys.items() if name[0] != user}

    def _take_over(self, one: TakeOver) -> None:
        if self.taken_over:
            return
        self.taken_over = True
        for old in one.running:
            entry = MatchEntry(old.match, old.game, old.at, old.start)
            self.running[old.match] = Row(entry, old.user, old.key, None)
        for kept in one.ended:
            self.keys[kept.user, kept.key] = (kept.match, kept.at)
