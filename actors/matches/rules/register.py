"""The register of matches: which run and whose they are, and the keys of those that ended.

A value that events change, apart from the actor that owns it. It holds no params and no more of an
ended match than its idempotency key, so that its size follows from its bounds: a few hundred bytes
for each match that may run and each key that may be kept.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any, Final

import msgspec

REFUSED: Final = "refused"
"""Why a match is closed that was announced, and that its game then did not accept."""


class Opened(msgspec.Struct, frozen=True, gc=False, tag="match.opened", omit_defaults=True):
    """A match was made; `at` in milliseconds since 1970, UTC.

    `params` and `seed` are in logs from when a match was announced before it was made: such a match
    may still have to be made. None: it is there.
    """

    match: str
    game: str
    at: int
    user: str
    key: str | None = None
    params: dict[str, Any] | None = None
    seed: int | None = None


class Closed(msgspec.Struct, frozen=True, gc=False, tag="match.closed"):
    """A match is over. `reason` is the match's own word."""

    match: str
    reason: str
    at: int


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The key with which a user had a match made that has ended, at `at`."""

    user: str
    key: str
    match: str
    at: int


class Stock(msgspec.Struct, frozen=True, gc=False, tag="match.stock"):
    """All that is known at this point of the log: what came before it is not needed any more."""

    running: list[Opened]
    kept: list[Kept]


class Register:
    """What the events say, and what is being made and no event says yet.

    Arguments:
        keep: how many keys of ended matches; of more, the oldest go.
    """

    def __init__(self, keep: int) -> None:
        self.running: dict[str, Opened] = {}
        """Oldest first."""
        self.making: dict[str, Opened] = {}
        """Reserved by `reserve`, until `apply` or `release`."""
        self._keep = keep
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._keys: dict[tuple[str, str], str] = {}  # of those that are made, or run
        self._of: Counter[str] = Counter()  # user -> the same, counted

    def __len__(self) -> int:
        """Entries: what a `Stock` holds."""
        return len(self.running) + len(self._kept)

    # --- questions -------------------------------------------------------------------------------

    def find(self, user: str, key: str) -> str | None:
        """The match of this user with this key, be it in the making, running or ended."""
        match = self._keys.get((user, key))
        if match is not None:
            return match
        kept = self._kept.get((user, key))
        return None if kept is None else kept.match

    def count(self) -> int:
        """Matches that run or are being made."""
        return len(self.running) + len(self.making)

    def count_of(self, user: str) -> int:
        """The same of one user."""
        return self._of[user]

    def stock(self) -> Stock:
        """The event that stands for all before it."""
        return Stock(list(self.running.values()), list(self._kept.values()))

    # --- what is being made ----------------------------------------------------------------------

    def reserve(self, opened: Opened) -> None:
        """Count a match and its key while it is being made."""
        self.making[opened.match] = opened
        self._count(opened)

    def release(self, match: str) -> None:
        """It was not made."""
        opened = self.making.pop(match, None)
        if opened is not None:
            self._discount(opened)

    # --- events ----------------------------------------------------------------------------------

    def apply(self, event: Opened | Closed | Stock) -> None:
        match event:
            case Opened():
                self.release(event.match)
                self.running[event.match] = event
                self._count(event)
            case Closed() if event.match in self.running:
                opened = self.running.pop(event.match)
                self._discount(opened)
                if opened.key is not None and event.reason != REFUSED:
                    self._keep_key(Kept(opened.user, opened.key, opened.match, event.at))
            case Stock():
                self._replace(event)

    def made(self, match: str) -> None:
        """It is known to be there, so that what it was to be made of is not needed any more."""
        opened = self.running.get(match)
        if opened is not None and opened.params is not None:
            self.running[match] = msgspec.structs.replace(opened, params=None, seed=None)

    def forget(self, before: int) -> None:
        """Forget the keys of what ended before so many milliseconds since 1970."""
        while self._kept and next(iter(self._kept.values())).at < before:
            self._kept.popitem(last=False)

    def _replace(self, stock: Stock) -> None:
        self.running.clear()
        self._kept.clear()
        self._keys.clear()
        self._of.clear()
        for opened in stock.running:
            self.running[opened.match] = opened
        for opened in (*stock.running, *self.making.values()):
            self._count(opened)
        for kept in stock.kept:
            self._keep_key(kept)

    # --- counting --------------------------------------------------------------------------------

    def _count(self, opened: Opened) -> None:
        self._of[opened.user] += 1
        if opened.key is not None:
            self._keys[opened.user, opened.key] = opened.match

    def _discount(self, opened: Opened) -> None:
        self._of[opened.user] -= 1
        if not self._of[opened.user]:
            del self._of[opened.user]
        if opened.key is not None and self._keys.get((opened.user, opened.key)) == opened.match:
            del self._keys[opened.user, opened.key]

    def _keep_key(self, kept: Kept) -> None:
        self._kept[kept.user, kept.key] = kept
        self._kept.move_to_end((kept.user, kept.key))
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)
