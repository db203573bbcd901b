"""Charges a request for the number of clients that it is pushed to.

A message to a room of ten thousand is ten thousand frames. A limit on messages does not see that:
100 messages a second are a million frames a second there, more than a node can send. So deliveries
have budgets: one for each session, a larger one for each address, because anybody can open many
sessions, and the largest for the node.

In a cluster a node charges what its own rooms and matches push, also for sessions of other nodes.
So a session has a budget on each node that it has something pushed on.
"""

from __future__ import annotations

from typing import Final

import trio

from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.edge.rules.bucket import Bucket, VisitorBudgets, take_all
from actors.edge.settings import SessionSettings
from protocol.errors import BUSY, RATE_LIMITED

FREE: Final = 100
"""A push to at most so many clients is free. The limit on messages is the narrower one there, since
to commit a message costs more than to push it to so few."""


class Fanout:
    """Holds the node's budget of deliveries, and makes the budgets of its sessions.

    Attributes:
        refused: how many requests were refused for a budget, for the metrics.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self.refused = 0
        self._settings = settings
        self._node = Bucket(settings.deliveries_all_per_s, settings.deliveries_all_burst)
        self._visitors = VisitorBudgets(settings.deliveries_per_s, settings.deliveries_burst)
        self._addresses = VisitorBudgets(
            settings.address_deliveries_per_s, settings.address_deliveries_burst
        )

    def budget(self) -> Bucket:
        """Return the budget of a new session."""
        return Bucket(self._settings.deliveries_per_s, self._settings.deliveries_burst)

    def charge_visitor(self, who: Identity, deliveries: int) -> None:
        """Charge a session of another node, its address and this node. Raises as `charge`."""
        now, address = trio.current_time(), who.address
        shared = None if address is None else self._addresses.budget(address, now)
        self.charge(self._visitors.budget(who.session, now), shared, deliveries)

    def charge(self, budget: Bucket, shared: Bucket | None, deliveries: int) -> None:
        """Charge a session's budget, its address's and the node's; all of them or none.

        Arguments:
            budget: the session's.
            shared: its address's; None: the address has no limits.
            deliveries: how many clients the request is pushed to.

        Raises:
            Refused: BUSY if the node's budget is used up, else RATE_LIMITED; `retry_in_s` says when
                to try again.
        """
        now = trio.current_time()
        short = take_all(now, deliveries, budget, shared, self._node)
        if short is None:
            return
        self.refused += 1
        if short is budget:
            error, detail = RATE_LIMITED, f"It would go to {deliveries:,} at once."
        elif short is self._node:
            error, detail = BUSY, "The server pushes as much as it may."
        else:
            error, detail = RATE_LIMITED, "Its address has too much pushed to others."
        raise Refused(error, detail, retry_in_s=short.ready_in(now, deliveries))
