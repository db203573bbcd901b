"""`Reconnect`: how often to try again to reach a store that is away."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class Reconnect:
    """Says when a store that is away may be tried again.

    The pause is `first_s` seconds after the first failure, and doubles up to `max_s`.
    """

    def __init__(
        self, first_s: float, max_s: float, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._clock = clock
        self._pause_s = 0.0
        self._until = 0.0
        self.reason = ""

    @property
    def waiting(self) -> bool:
        """Whether it is too early for another attempt. `reason` says why the last one failed."""
        return self._clock() < self._until

    def failed(self, reason: str) -> None:
        self._pause_s = min(self._max_s, self._pause_s * 2 or self._first_s)
        self._until = self._clock() + self._pause_s
        self.reason = reason

    def succeeded(self) -> None:
        self._pause_s = 0.0
        self._until = 0.0
