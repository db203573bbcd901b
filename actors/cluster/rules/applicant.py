"""A process that wants to join under a name that the register says is taken."""

from __future__ import annotations

from actors.cluster.rules.answers import Beaten
from actors.cluster.rules.lease import Contact, Timing


class Applicant:
    """Finds out whether the node of its name lives.

    It must be able to bury that node itself: there may be no other who could.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._contact = Contact(timing)

    def may_bury(self, now_s: float, answer: Beaten) -> bool:
        """Take an answer of Valkey about that node; returns whether it is dead.

        It is missing for a whole lease then, and Valkey was there all the time.
        """
        if not answer.generation:
            return False
        self._contact.answered(now_s, answer.generation)
        return (
            bool(answer.missing)
            and answer.calm_s >= self._timing.lease_s
            and self._contact.held(now_s)
        )
