"""The future of an ask. It knows which actor was asked, and with which message."""

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
    """The actor that was asked: what the error of a missing reply says about it."""

    @property
    def kind(self) -> str:
        """The first half of its name."""

    @property
    def key(self) -> str:
        """The second half of its name."""

    def trouble(self) -> BaseException | None:
        """Return the exception that the actor failed with, if it has not started again since."""


class ReplyTable(dict[type, bool]):
    """Maps the type of a handler's result to whether the result is followed, as a future is.

    It is a dict with `__missing__`, because a look-up costs less than a call of `isinstance`.
    """

    def __missing__(self, returned: type) -> bool:
        follow = self[returned] = issubclass(returned, _TO_FOLLOW)
        return follow


_TO_FOLLOW: Final = (
    pykka.Future,
    # The types below are refused as replies. An asker who awaited one would run code outside of the
    # actor, or wait for another loop or thread.
    concurrent.futures.Future,
    Awaitable,
    Generator,
    AsyncGenerator,
)
REPLIES: Final = ReplyTable()


class Reply(Future[Any]):
    """The future of an ask.

    It is always settled in the end, even if the actor or the system ends.
    """

    __slots__ = ("_ref", "timeout_s")

    def __init__(self, home: Home, ref: Answerer, message: Any, timeout_s: float) -> None:
        # The base's __init__ is repeated here instead of called, to save a call with each ask.
        self._home = home
        self._state = PENDING
        self._value = message  # until the reply replaces it: a message must not outlive its reply
        self._waiters = None
        self._event = None
        self._ref = ref
        self.timeout_s = timeout_s

    def set(self, value: Any = None) -> None:
        """Set the reply, as Pykka does from a thread. A future of this runtime is followed."""
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
        """Fail with `error`, or with AskTimeout since the deadline has passed, if still pending."""
        if not self.done:
            if error is None:
                error = AskTimeout(*self._question(), self.timeout_s, self._ref.trouble())
            super().expire(error)

    def abandon(self) -> None:
        """Fail with ActorDeadError: the system has ended, so no deadline will pass any more."""
        if not self.done:
            name, message = self._question()
            self.expire(
                pykka.ActorDeadError(f"{name}: its system ended before it answered {message}")
            )

    def _question(self) -> tuple[str, str]:
        """Return the actor's name and the type of the message."""
        return f"{self._ref.kind}/{self._ref.key}", type(self._value).__name__
