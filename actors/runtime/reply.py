"""The future of an ask, which knows who was asked what."""

from __future__ import annotations

from typing import Any, Protocol

import pykka
import trio

from .errors import AskTimeout
from .future import PENDING, Future
from .home import Home


class Answerer(Protocol):
    """Who was asked, as far as a reply that does not come must name it."""

    @property
    def kind(self) -> str:
        """The first half of the name."""

    @property
    def key(self) -> str:
        """The second."""

    def trouble(self) -> BaseException | None:
        """What the actor failed of, while it is not back."""


class Reply(Future[Any]):
    """The future of an ask. It always has a result in the end, whatever becomes of actor and
    system.
    """

    __slots__ = ("_ref", "_timeout_s")

    def __init__(self, home: Home, ref: Answerer, message: Any, timeout_s: float) -> None:
        # Not the base's __init__ but what it does: a call less on the way of every ask.
        self._home = home
        self._state = PENDING
        self._value = message  # while nothing else is there: a message must not outlive its answer
        self._waiters = None
        self._event = None
        self._ref = ref
        self._timeout_s = timeout_s

    def set(self, value: Any = None) -> None:
        """Pykka's way to answer, from a thread. A future of this runtime is followed."""
        if not isinstance(value, Future):
            super().set(value)
            return
        assert self._home is not None
        try:
            self._home.call_soon(self.follow, value)
        except trio.RunFinishedError:
            self.abandon()

    def expire(self, error: BaseException | None = None) -> None:
        """The deadline has passed, or whatever `error` says."""
        if not self.done:
            if error is None:
                error = AskTimeout(*self._question(), self._timeout_s, self._ref.trouble())
            super().expire(error)

    def abandon(self) -> None:
        """The system has ended, and with it the clock that would have let the deadline pass."""
        if not self.done:
            name, message = self._question()
            self.expire(
                pykka.ActorDeadError(f"{name}: its system ended before it answered {message}")
            )

    def _question(self) -> tuple[str, str]:
        """Who was asked, and the type of the message."""
        return f"{self._ref.kind}/{self._ref.key}", type(self._value).__name__
