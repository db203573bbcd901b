"""The register of matches: the running ones, their users, and the idempotency keys of ended ones.

It is a value that events change; the directory is the actor that owns it. Of an ended match it
keeps the idempotency key only, and it keeps no params. So its size is bounded: a few hundred bytes
for each match that may run, and for each key that may be kept.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any, Final

import msgspec

REFUSED: Final = "refused"
"""The reason with which a match is closed that its game refused after it had been announced."""


class Opened(msgspec.Struct, frozen=True, gc=False, tag="match.opened", omit_defaults=True):
    """A match was created. `at` is in milliseconds since 1970, UTC.

    `params` and `seed` are set only in logs of older versions, which announced a match before it
    was created. Such a match may still have to be created.
    """

    match: str
    game: str
    at: int
    user: str
    key: str | None = None
    params: dict[str, Any] | None = None
    seed: int | None = None


class Closed(msgspec.Struct, frozen=True, gc=False, tag="match.closed"):
    """A match is over. `reason` is the one that the match reported."""

    match: str
    reason: str
    at: int


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The idempotency key of a match that ended at `at`, and the user who created it."""

    user: str
    key: str
    match: str
    at: int


class Stock(msgspec.Struct, frozen=True, gc=False, tag="match.stock"):
    """Everything that is known at this point of the log, so that earlier events are not needed."""

    running: list[Opened]
    kept: list[Kept]


class Register:
    """What the events say, and the matches that are being created and are in no event yet.

    Arguments:
        keep: how many keys of ended matches are kept. The oldest are forgotten first.

    Attributes:
        running: the running matches by name, the oldest first.
        making: the matches that are being created: those of `reserve`, until `apply` or `release`.
    """

    def __init__(self, keep: int) -> None:
        self.running: dict[str, Opened] = {}
        self.making: dict[str, Opened] = {}
        self._keep = keep
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._keys: dict[tuple[str, str], str] = {}  # (user, key) -> match, running or being made
        self._of: Counter[str] = Counter()  # user -> how many matches, running or being made

    def __len__(self) -> int:
        """Return how many entries a `Stock` would have."""
        return len(self.running) + len(self._kept)

    # --- questions -------------------------------------------------------------------------------

    def find(self, user: str, key: str) -> str | None:
        """Return the user's match with this key, whether it is being made, runs or has ended."""
        match = self._keys.get((user, key))
        if match is not None:
            return match
        kept = self._kept.get((user, key))
        return None if kept is None else kept.match

    def count(self) -> int:
        """Return how many matches run or are being made."""
        return len(self.running) + len(self.making)

    def count_of(self, user: str) -> int:
        """Return how many matches of one user run or are being made."""
        return self._of[user]

    def stock(self) -> Stock:
        """Return the event that replaces all events before it."""
        return Stock(list(self.running.values()), list(self._kept.values()))

    # --- matches that are being made -------------------------------------------------------------

    def reserve(self, opened: Opened) -> None:
        """Count a match and its key while it is being made."""
        self.making[opened.match] = opened
        self._count(opened)

    def release(self, match: str) -> None:
        """Remove a match that was not made after all."""
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
        """Drop the params and seed of a match that has reported, so that it exists."""
        opened = self.running.get(match)
        if opened is not None and opened.params is not None:
            self.running[match] = msgspec.structs.replace(opened, params=None, seed=None)

    def forget(self, before: int) -> None:
        """Forget the keys of matches that ended before this time, in milliseconds since 1970,
        UTC.
        """
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
