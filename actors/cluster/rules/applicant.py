"""A process that wants to join under a name that the register says is taken."""

from __future__ import annotations

from collections.abc import Iterable

from actors.cluster.rules.answers import Beaten
from actors.cluster.rules.lease import Contact, Timing
from actors.cluster.rules.view import Node


class Applicant:
    """Finds out whether the node of its name lives.

    It must be able to bury that node itself, because there may be no other node to do so.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._contact = Contact(timing)
        self._apart_since_s: float | None = None

    def may_bury(self, now_s: float, answer: Beaten) -> bool:
        """Take an answer of Valkey about that node; returns whether it is dead.

        It is dead once its heartbeats have been missing, and Valkey has been there, for a whole
        lease.
        """
        if not answer.generation:
            return False
        self._contact.answered(now_s, answer.generation)
        return (
            bool(answer.missing)
            and answer.calm_s >= self._timing.lease_s
            and self._contact.held(now_s)
        )

    def of_another(self, nodes: Iterable[Node], answer: Beaten) -> str | None:
        """Return a living node that knows another generation of Valkey's data; None: none does.

        Such a node is about to hear of this generation, or to begin another one; or it has another
        Valkey.

        Arguments:
            nodes: those whose processes are not known to have ended.
            answer: the answer of this process's Valkey.
        """
        fresh_s = self._timing.lease_s / 2
        for node in nodes:
            if node.renewed_s < fresh_s and node.generation != answer.generation:
                return node.id
        return None

    def apart(self, now_s: float, of_another: str | None) -> bool:
        """Take the result of `of_another`; returns whether it named a node for too long."""
        if of_another is None:
            self._apart_since_s = None
            return False
        if self._apart_since_s is None:
            self._apart_since_s = now_s
        return now_s - self._apart_since_s > 2 * self._timing.lease_s
