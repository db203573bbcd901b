"""Joins that wait until the place that they took is durable."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from actors.edge.failures import Refused
from actors.edge.topic_messages import Join
from actors.matches.messages import Arrived
from actors.matches.pending import Pending
from actors.matches.rules.record import Place
from actors.runtime.errors import Refusal, bare
from actors.runtime.future import Future
from protocol.errors import UNAVAILABLE


class Piping(Protocol):
    """What arrivals need of their match."""

    def pipe_to_self(self, future: Future[Any], message: Callable[[Future[Any]], Any]) -> None:
        """See `Actor.pipe_to_self`."""


class Arrivals:
    """Has each join answered once the commit that it waits for is done, in a turn of the match: a
    game that crashes in it fails the match.

    It is not answered by an incarnation that ends first: who joined is then told so, and need not
    wait for a deadline.
    """

    def __init__(self, match: Piping) -> None:
        self._match = match
        self._places = Pending()
        self._answers: set[Future[Any]] = set()

    def put(self, player: str, durable: Future[Any]) -> None:
        """The player took a place, which is to be durable then."""
        self._places.put(player, durable)

    def durable(self, player: str) -> Future[Any] | None:
        """What the player's join has to wait for; None: nothing."""
        return self._places.get(player)

    def wait(self, durable: Future[Any], join: Join, place: Place) -> Future[Any]:
        """The answer to a join. The match gets `Arrived`, and is to `answer`."""
        answer: Future[Any] = Future()
        self._answers.add(answer)
        durable.on_done(partial(_tell_failure, answer))  # also if this incarnation is gone by then
        self._match.pipe_to_self(durable, lambda _: Arrived(join, place, answer))
        return answer

    def answer(self, message: Arrived, arrive: Callable[[], Any]) -> None:
        """Answer with what `arrive` returns, or the `Refusal` that it raises."""
        answer = message.answer
        if not answer.done:  # else the commit has failed
            try:
                answer.set(arrive())
            except Refusal as refusal:
                answer.set_exception(bare(refusal))
        self._answers.discard(answer)

    def fail(self) -> None:
        """Tell those who wait that this incarnation will not answer."""
        for answer in self._answers:
            answer.settle_quietly(error=Refused(UNAVAILABLE, "the match is restarting"))
        self._answers.clear()


def _tell_failure(answer: Future[Any], done: Future[Any]) -> None:
    if (error := done.exception()) is not None:
        answer.settle_quietly(error=error)
