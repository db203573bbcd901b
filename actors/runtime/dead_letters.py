"""Messages that did not reach an actor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Final, NamedTuple

import structlog

from .checks import check_callable
from .ref import ActorRef

_KEPT: Final = 100
_LOGGED_PER_S: Final = 10


class DeadLetter(NamedTuple):
    """A message that was not handled: its receiver, the reason, and the time in seconds.

    The time is that of trio's clock.
    """

    ref: ActorRef
    message: Any
    reason: str
    at_s: float


class DeadLetters:
    """Counts all dead letters, keeps the last 100, logs at most 10 a second, and tells subscribers.

    Many dead letters usually come from one mistake that happens a million times. It must be visible
    in the log, without a million log lines.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.count = 0
        self.last: deque[DeadLetter] = deque(maxlen=_KEPT)
        self._now = now
        self._log = structlog.get_logger("actors")
        self._subscribers: dict[object, tuple[Callable[[DeadLetter], object], Context]] = {}
        self._second = -1
        self._logged = 0
        self._unlogged = 0

    def subscribe(self, callback: Callable[[DeadLetter], object]) -> Callable[[], None]:
        """Have `callback` called with every dead letter.

        Returns a function that ends the subscription.

        The callback sees a copy of the context variables that are set now, not those of the sender.
        """
        check_callable("callback", callback)
        subscription = object()
        self._subscribers[subscription] = (callback, copy_context())

        def unsubscribe() -> None:
            self._subscribers.pop(subscription, None)

        return unsubscribe

    def add(self, ref: ActorRef, message: Any, reason: str) -> None:
        letter = DeadLetter(ref, message, reason, self._now())
        self.count += 1
        self.last.append(letter)
        for callback, context in tuple(self._subscribers.values()):
            try:
                context.copy().run(callback, letter)  # a copy: a callback may cause another letter
            except BaseException:
                self._log.exception("dead_letter_subscriber_failed")
        second = int(letter.at_s)
        if second != self._second:
            self._second, self._logged = second, 0
        if self._logged < _LOGGED_PER_S:
            self._logged += 1
            self._log.info(
                "dead_letter",
                kind=ref.kind,
                key=ref.key,
                message=type(message).__name__,
                reason=reason,
                unlogged=self._unlogged,
            )
            self._unlogged = 0
        else:
            self._unlogged += 1
