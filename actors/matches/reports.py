"""The reports of a match to the directory of matches."""

from __future__ import annotations

from typing import Any, Protocol

from pykka import ActorDeadError

from actors.matches.messages import DIRECTORY, MatchReport
from actors.matches.playthrough import Playthrough
from actors.matches.rules.register import REFUSED
from actors.runtime.errors import MailboxFull
from actors.runtime.system_view import SystemView


class Telling(Protocol):
    """What `Reports` needs of its match."""

    @property
    def system(self) -> SystemView:
        """The system that the directory is an actor of."""

    @property
    def log(self) -> Any:
        """A structlog logger."""


class Reports:
    """Tells the directory the state of a match.

    If a report does not arrive, the directory asks for it at its next sweep.
    """

    def __init__(self, match: Telling, name: str, play: Playthrough) -> None:
        self._match = match
        self._name = name
        self._play = play

    def tell(self) -> MatchReport:
        """Send a report of the match's state, and return it."""
        record = self._play.record
        if record.created is None:
            report = MatchReport(self._name, 0, "unknown")
        else:
            ended = None if record.ended is None else record.ended.reason
            report = MatchReport(self._name, len(record.places), ended)
        self._send(report)
        return report

    def tell_refused(self) -> None:
        """Report that the game refused the match, so that the directory does not ask for it
        again.
        """
        self._send(MatchReport(self._name, 0, REFUSED))

    def _send(self, report: MatchReport) -> None:
        try:
            self._match.system.ref(*DIRECTORY).tell(report)
        except (MailboxFull, ActorDeadError) as error:
            self._match.log.warning("directory_not_told", error=repr(error))
