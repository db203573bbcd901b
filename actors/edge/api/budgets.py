"""The budget of one caller of the HTTP API: its rate, and how many of its requests run at once.

A caller may come with any number of connections, so its budget is kept under its name. A budget
that is full again is forgotten. Each node has budgets of its own. Behind one port, the kernel
spreads the connections of a caller over all nodes.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from actors.edge.activations import Activations
from actors.edge.api.callers import ApiCaller
from actors.edge.rules.bucket import Bucket
from actors.edge.rules.by_name import ByName
from actors.edge.settings import SessionSettings
from protocol.errors import RATE_LIMITED, TOO_MANY_REQUESTS, RequestError

_SPARE: Final = 4096
"""How many budgets are kept before the full ones are looked for and forgotten."""


class CallerBudget:
    """The budget of one caller.

    Attributes:
        activations: the budget for actors that its requests bring to life.
        under_way: how many of its requests are being answered.
    """

    __slots__ = ("_bytes", "_most", "_requests", "activations", "under_way")

    def __init__(
        self, settings: SessionSettings, activations: Activations, caller: ApiCaller
    ) -> None:
        rate, burst = caller.requests_per_s, caller.burst
        self._requests = Bucket(
            settings.messages_per_s if rate is None else rate,
            settings.messages_burst if burst is None else burst,
        )
        # A key with ten times the rate of a session sends ten times its bytes.
        times = 1.0
        if rate is not None and settings.messages_per_s:
            times = max(1.0, rate / settings.messages_per_s)
        self._bytes = Bucket(settings.bytes_per_s * times, settings.bytes_burst * times)
        self._most = round(settings.in_flight * times)
        self.activations = activations.of_session()
        self.under_way = 0

    def admit(self, now: float, cost: int, size: int) -> None:
        """Charge a request of this cost and size in bytes. Raises RequestError over a limit."""
        if self.under_way >= self._most:
            raise RequestError(TOO_MANY_REQUESTS)
        for bucket, amount in ((self._requests, cost), (self._bytes, size)):
            if not bucket.take(now, amount):
                retry_in_s = bucket.ready_in(now, amount)
                raise RequestError(RATE_LIMITED, "this caller", retry_in_s=retry_in_s)

    def full(self, now: float) -> bool:
        """Whether it is as full as a new one, and no request is under way."""
        buckets = (self._requests, self._bytes, self.activations)
        return not self.under_way and all(bucket.full(now) for bucket in buckets)


class CallerBudgets:
    """The budgets of all callers, by name."""

    def __init__(self, settings: SessionSettings, activations: Activations) -> None:
        self._settings = settings
        self._activations = activations
        self._budgets = ByName(CallerBudget.full, _SPARE)

    def __len__(self) -> int:
        return len(self._budgets)

    def of(self, caller: ApiCaller, now: float) -> CallerBudget:
        """Return a caller's budget."""
        new = partial(CallerBudget, self._settings, self._activations, caller)
        return self._budgets.get(caller.budget, now, new)
