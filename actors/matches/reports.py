"""The reports of a match, for its row in the directory of matches."""

from __future__ import annotations

from actors.matches.messages import MatchReport
from actors.matches.playthrough import Playthrough
from actors.matches.standing import Standing


class Reports:
    """Reports the state of a match each time it changes. A report costs an entry in a dict."""

    def __init__(self, standing: Standing, name: str, play: Playthrough) -> None:
        self._standing = standing
        self._name = name
        self._play = play

    def tell(self) -> MatchReport:
        """Report the match's state, and return the report."""
        record, name = self._play.record, self._name
        if record.created is None:
            self._standing.ends(name)
            return MatchReport(name, 0, "unknown")
        if record.ended is not None:
            self._standing.ends(name)
            return MatchReport(name, len(record.places), record.ended.reason)
        self._standing.runs(name, len(record.places))
        return MatchReport(name, len(record.places))

    def tell_joined(self, user: str) -> None:
        """Report that a user has joined the match."""
        self._standing.joins(self._name, user)

    def tell_refused(self) -> None:
        """Report that the game refused the match."""
        self._standing.ends(self._name, keeps_key=False)

    def fall_silent(self) -> None:
        """Report that this incarnation has ended. The match itself may go on."""
        self._standing.leaves(self._name)
