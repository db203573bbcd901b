"""Budgets of one network address: for connections, new sessions and resumes.

An address is a home, a school behind one NAT, or somebody who opens connections all day. The
clients of a home or a school come all at once now and then, and stay. So an address may hold many
sessions, its bursts are large, and its rates are small.

Resumes have a budget of their own, and a part of all sessions is kept for them. So a flood of new
sessions does not keep out a player who was there before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import trio

from actors.edge.rules.bucket import Bucket
from actors.edge.rules.by_name import ByName
from actors.edge.settings import SessionSettings
from actors.edge.traffic import Traffic
from protocol.errors import TOO_MANY_SESSIONS, RequestError
from protocol.server.settings import WireSettings

KEPT_FOR_RESUMES: Final = 0.1
"""The part of `sessions.max_sessions` and `sessions.address_sessions` that new sessions may not
take."""
AGAIN_S: Final = 5.0
"""When a refused client may try again, if somebody else has to leave first."""
_REFUSALS_PER_S: Final = 10.0
_REFUSALS_BURST: Final = 20
"""How often a refused address is told the reason, which costs a read and a write. Beyond it, its
sockets are closed at once."""
_SPARE: Final = 1024
"""How many addresses are known before it is asked which of them can be forgotten."""


def for_new(sessions: int) -> int:
    """Return how many of `sessions` new sessions may take; the rest is kept for resumes."""
    return sessions - int(sessions * KEPT_FOR_RESUMES)


class Share(NamedTuple):
    """The budgets that a session shares with the other sessions of its address."""

    deliveries: Bucket
    """For pushes to other clients."""
    activations: Bucket
    """For rooms and matches that are not in memory yet."""


class Visitor:
    """One address: its connections, its sessions and its budgets."""

    __slots__ = (
        "activations", "connections", "connects", "deliveries", "opens", "refusals", "resumes",
        "sessions", "traffic",
    )  # fmt: skip

    def __init__(self, wire: WireSettings, settings: SessionSettings) -> None:
        self.connections = 0
        self.sessions = 0
        self.connects = Bucket(wire.address_connects_per_s, wire.address_connects_burst)
        self.refusals = Bucket(_REFUSALS_PER_S, _REFUSALS_BURST)
        self.deliveries = Bucket(
            settings.address_deliveries_per_s, settings.address_deliveries_burst
        )
        self.activations = Bucket(
            settings.address_activations_per_s, settings.address_activations_burst
        )
        self.traffic = Traffic(settings)
        self.opens = Bucket(settings.address_opens_per_s, settings.address_opens_burst)
        self.resumes = Bucket(settings.address_resumes_per_s, settings.address_resumes_burst)

    def gone(self, now: float) -> bool:
        """Whether the address can be forgotten: it holds nothing, and every budget is full."""
        buckets = (
            self.connects, self.deliveries, self.activations, self.refusals, self.opens,
            self.resumes,
        )  # fmt: skip
        return (
            not (self.connections or self.sessions)
            and self.traffic.idle(now)
            and all(bucket.full(now) for bucket in buckets)
        )


class Doorman:
    """Knows the addresses of a node; a `protocol.server.addresses.Door`.

    An address of None has no limits: it is a proxy's own, or the machine's.

    Arguments:
        wire: the limits to connections.
        settings: the limits to sessions.
        clock: seconds, on a clock that does not go back.

    Attributes:
        refused_sessions: how many sessions were refused, for the metrics.
    """

    def __init__(
        self,
        wire: WireSettings,
        settings: SessionSettings,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.refused_sessions = 0
        self._wire = wire
        self._settings = settings
        self._clock = clock
        self._visitors = ByName(Visitor.gone, _SPARE)
        self._new = partial(Visitor, wire, settings)

    def __len__(self) -> int:
        return len(self._visitors)

    # --- connections -----------------------------------------------------------------------------

    def enter(self, address: str) -> float | None:
        """See `protocol.server.addresses.Door`."""
        now = self._clock()
        visitor = self._visitor(address, now)
        most = self._wire.address_connections
        again_s = _again_in(visitor.connections, most, visitor.connects, now)
        if again_s is None:
            visitor.connections += 1
            return None
        return max(0.001, again_s) if visitor.refusals.take(now) else 0.0

    def leave(self, address: str) -> None:
        """See `protocol.server.addresses.Door`."""
        self._visitors[address].connections -= 1

    def traffic(self, address: str | None) -> Traffic | None:
        """Return what a connection of this address has to share with others; None: nothing."""
        return None if address is None else self._visitor(address, self._clock()).traffic

    # --- sessions --------------------------------------------------------------------------------

    def charge_session(self, address: str | None) -> None:
        """Charge the address for a new session.

        Raises:
            RequestError: TOO_MANY_SESSIONS; `retry_in_s` says when to try again.
        """
        if address is not None:
            now = self._clock()
            visitor = self._visitor(address, now)
            most = for_new(self._settings.address_sessions)
            self._admit(visitor, visitor.opens, now, most)

    def charge_resume(self, address: str | None, *, anew: bool) -> None:
        """Charge the address for a resume; `anew`: its session has ended, and needs a new one.

        Raises:
            RequestError: TOO_MANY_SESSIONS; `retry_in_s` says when to try again.
        """
        if address is not None:
            now = self._clock()
            visitor = self._visitor(address, now)
            most = self._settings.address_sessions if anew else 0
            self._admit(visitor, visitor.resumes, now, most)

    def began(self, address: str | None) -> Share | None:
        """Count a session of this address that has begun; returns its share in the budgets."""
        if address is None:
            return None
        visitor = self._visitor(address, self._clock())
        visitor.sessions += 1
        return Share(visitor.deliveries, visitor.activations)

    def ended(self, address: str | None) -> None:
        """Count a session of this address that has ended."""
        if address is not None:
            self._visitors[address].sessions -= 1

    def _admit(self, visitor: Visitor, budget: Bucket, now: float, most: int) -> None:
        again_s = _again_in(visitor.sessions, most, budget, now)
        if again_s is not None:
            self.refused_sessions += 1
            raise RequestError(TOO_MANY_SESSIONS, retry_in_s=again_s)

    def _visitor(self, address: str, now: float) -> Visitor:
        return self._visitors.get(address, now, self._new)


def _again_in(held: int, most: int, budget: Bucket, now: float) -> float | None:
    """Take one from the budget and return None; or return in how many seconds to try again.

    `most`: how many the address may hold at once; 0: no limit.
    """
    if most and held >= most:
        return AGAIN_S
    return None if budget.take(now) else budget.ready_in(now)
