"""The reports of this node's matches, until they are written into the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

MOST_JOINED: Final = 10_000
"""So many joins wait to be written at most; then the oldest are forgotten."""


class ReportBatch(NamedTuple):
    """Reports that are written together.

    `running` has matches with their numbers of players. `ended` has matches that are over, each
    with whether the key that it was created with is kept. `joined` has users and the matches that
    they have joined.
    """

    running: list[tuple[str, int]]
    ended: list[tuple[str, bool]]
    joined: Sequence[tuple[str, str]] = ()


class Standing:
    """Keeps the last report of each match until it is `written`.

    A match that players join and leave all the time therefore costs one row a write, and a write
    that fails loses nothing. There are at most as many reports as matches that may run.

    Attributes:
        ring: called when a match ends while no end is waiting to be written. It must not raise.
    """

    def __init__(self) -> None:
        self.ring: Callable[[], None] = lambda: None
        self._players: dict[str, int] = {}
        self._changed: dict[str, int] = {}
        self._ended: dict[str, bool] = {}
        self._unheard: set[str] = set()
        self._joined: dict[tuple[str, str], None] = {}

    # --- reports ---------------------------------------------------------------------------------

    def runs(self, match: str, players: int) -> None:
        """Take the report that a match runs and has so many players."""
        self._players[match] = players
        self._changed[match] = players
        self._unheard.discard(match)

    def joins(self, match: str, user: str) -> None:
        """Take the report that a user has joined a match."""
        self._joined.pop((user, match), None)
        self._joined[user, match] = None
        if len(self._joined) > MOST_JOINED:
            del self._joined[next(iter(self._joined))]

    def ends(self, match: str, *, keeps_key: bool = True) -> None:
        """Take the report that a match is over.

        `keeps_key` False: the match was never made, so the key of its creation is free again.
        """
        self.leaves(match)
        self._unheard.discard(match)
        if not self._ended:
            self.ring()
        self._ended[match] = keeps_key

    def leaves(self, match: str) -> None:
        """Forget a match that is not in the memory of this node any more."""
        self._players.pop(match, None)
        self._changed.pop(match, None)

    # --- questions -------------------------------------------------------------------------------

    def players(self, match: str) -> int | None:
        """Return the number of players of a match, or None if it is not on this node."""
        return self._players.get(match)

    def ended(self) -> frozenset[str]:
        """Return the matches that are over and whose rows may still be there."""
        return frozenset(self._ended)

    # --- waking ----------------------------------------------------------------------------------

    def expects(self, matches: Iterable[str]) -> None:
        """Take note that these matches were called, and have to report."""
        self._unheard.update(matches)

    def unheard(self) -> list[str]:
        """Return the matches that were called and have not reported."""
        return sorted(self._unheard)

    # --- writing ---------------------------------------------------------------------------------

    def to_write(self, most: int) -> ReportBatch:
        """Return the next reports to be written, at most so many. Ends come first."""
        ended = list(islice(self._ended.items(), most))
        running = list(islice(self._changed.items(), most - len(ended)))
        return ReportBatch(running, ended, tuple(islice(self._joined, most)))

    def written(self, batch: ReportBatch) -> None:
        """Forget reports that are in the rows now."""
        for match, players in batch.running:
            if self._changed.get(match) == players:
                del self._changed[match]
        for match, _ in batch.ended:
            self._ended.pop(match, None)
        for joined in batch.joined:
            self._joined.pop(joined, None)
