"""The future of an ask, which knows who was asked what."""

from __future__ import annotations

import concurrent.futures
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Any, Final, Protocol

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


class ReplyTable(dict[type, bool]):
    """Type of what a handler returned -> whether it is more than a value, and is to be followed.

    As a dict with `__missing__` a look-up costs less than the question whether it is a future.
    """

    def __missing__(self, returned: type) -> bool:
        follow = self[returned] = issubclass(returned, _TO_FOLLOW)
        return follow


_TO_FOLLOW: Final = (
    pykka.Future,
    # These can only be refused. To an asker they would be code that runs outside of the actor, or
    # a wait for another loop or thread.
    concurrent.futures.Future,
    Awaitable,
    Generator,
    AsyncGenerator,
)
REPLIES: Final = ReplyTable()


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
        if not REPLIES[type(value)]:
            super().set(value)
            return
        if not isinstance(value, Future):
            self.follow(value)
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
