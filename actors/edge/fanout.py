"""Charges a request by how many others it is pushed to.

A message to a room of ten thousand is ten thousand frames, and a limit on messages does not see
that: 100 a second are a million frames a second, more than a node can send. So each session has a
budget of deliveries, its address a larger one, as sessions are cheap, and the node the largest.
"""

from __future__ import annotations

from typing import Final

import trio

from actors.edge.failures import Refused
from actors.edge.rules.bucket import Bucket, take_all
from actors.edge.settings import SessionSettings
from protocol.errors import BUSY, RATE_LIMITED

FREE: Final = 100
"""A push to so many at most is not charged. There the limit on messages is the narrower one, and to
commit a message costs more than to push it."""


class Fanout:
    """The node's budget, and where those of its sessions come from.

    `refused` counts what was refused for either, for the metrics.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self.refused = 0
        self._settings = settings
        self._node = Bucket(settings.deliveries_all_per_s, settings.deliveries_all_burst)

    def budget(self) -> Bucket:
        """One for a session."""
        return Bucket(self._settings.deliveries_per_s, self._settings.deliveries_burst)

    def charge(self, budget: Bucket, shared: Bucket | None, deliveries: int) -> None:
        """Charge a session's budget, the one that it has a share in, and the node's; all or none.

        Raises:
            Refused: BUSY for the node's, else RATE_LIMITED; with when to retry.
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
