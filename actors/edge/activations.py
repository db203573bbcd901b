"""Limits the rate at which clients load rooms, matches and inboxes by naming them.

A join of a name that is not in memory makes the node read the stores and build an actor. An empty
room leaves memory again, and so does a match that does not exist. So a limit on their number would
not stop a client that names one after the other, and the rate is limited instead.

In a cluster the node of the room or match decides, which knows whether it is in memory. So a
session has a budget on each node that it has something loaded on.
"""

from __future__ import annotations

import trio

from actors.edge.failures import Refused
from actors.edge.rules.bucket import Bucket, VisitorBudgets, take_all
from actors.edge.settings import SessionSettings
from actors.edge.topic_messages import TopicMessage
from actors.runtime.ref import ActorRef
from actors.runtime.system_view import SystemView
from protocol.errors import BUSY, RATE_LIMITED, RequestError

_SESSION = RequestError(RATE_LIMITED, "too many rooms or matches that were not in memory")
_ADDRESS = RequestError(RATE_LIMITED, "its address names too many that were not in memory")
_NODE = RequestError(BUSY, "too many rooms or matches are being brought to life")


class Activations:
    """The node's budget of activations; each session and each address has a smaller one.

    Users have none: a guest is a new user each time, and a token makes one session at a time. An
    address has one because sessions are cheap: a hundred of them could keep the node busy with
    rooms that nobody talks in.

    Attributes:
        refused: how many requests were refused for a budget, for the metrics.
    """

    __slots__ = ("_addresses", "_all", "_settings", "_visitors", "refused")

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._all = Bucket(settings.activations_all_per_s, settings.activations_all_burst)
        self.refused = 0
        self._visitors = VisitorBudgets(settings.activations_per_s, settings.activations_burst)
        self._addresses = VisitorBudgets(
            settings.address_activations_per_s, settings.address_activations_burst
        )

    def of_session(self) -> Bucket:
        """Return the budget of a new session."""
        return Bucket(self._settings.activations_per_s, self._settings.activations_burst)

    def refuse(
        self, system: SystemView, session: Bucket, shared: Bucket | None, owner: ActorRef
    ) -> RequestError | None:
        """Charge the session if `owner` is not in memory. Returns a refusal, or None.

        If the owner is on another node, that one does so.
        """
        if system.lookup(owner.kind, owner.key) is not None:
            return None
        if not system.belongs_here(owner.kind, owner.key):
            return None
        return self.charge(system.now(), session, shared)

    def admit_visitor(self, message: object) -> None:
        """Charge a session of another node, whose message is about to load its actor on this one.

        Raises Refused: a budget is used up, its own, its address's or this node's.
        """
        if not isinstance(message, TopicMessage) or not message.loads:
            return
        now, who = trio.current_time(), message.who
        shared = None if who.address is None else self._addresses.budget(who.address, now)
        refusal = self.charge(now, self._visitors.budget(who.session, now), shared)
        if refusal is not None:
            raise Refused(refusal.error, refusal.detail, retry_in_s=refusal.retry_in_s)

    def charge(self, now: float, session: Bucket, shared: Bucket | None) -> RequestError | None:
        """Charge a session, its address and the node for one activation; all of them or none.

        Arguments:
            now: seconds, on a clock that does not go back.
            session: the session's budget.
            shared: its address's budget; None: the address has no limits.

        Returns a refusal, or None.
        """
        short = take_all(now, 1, session, shared, self._all)
        if short is None:
            return None
        self.refused += 1
        row = _SESSION if short is session else _NODE if short is self._all else _ADDRESS
        return RequestError(row.error, row.detail, retry_in_s=short.ready_in(now))
