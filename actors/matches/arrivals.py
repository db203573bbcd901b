"""Joins of a match that wait until the player's place is durable."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from actors.edge.failures import Refused
from actors.edge.topic_messages import Join
from actors.matches.messages import Arrived
from actors.matches.pending import Pending
from actors.matches.rules.record import PlayerPlace
from actors.runtime.errors import Refusal, bare
from actors.runtime.future import Future
from protocol.errors import UNAVAILABLE


class Piping(Protocol):
    """What arrivals need of their match."""

    def pipe_to_self(self, future: Future[Any], message: Callable[[Future[Any]], Any]) -> None:
        """See `Actor.pipe_to_self`."""


class Arrivals:
    """Answers each join once the commit that it waits for is done.

    The answer is made in a turn of the match, so that a crash of the game there fails the match. If
    the match's incarnation ends first, the joins that wait are answered with an error at once.
    """

    def __init__(self, match: Piping) -> None:
        self._match = match
        self._places = Pending()
        self._answers: set[Future[Any]] = set()

    def put(self, player: str, durable: Future[Any]) -> None:
        """Take note that the player took a place, which is durable when the future is done."""
        self._places.put(player, durable)

    def durable(self, player: str) -> Future[Any] | None:
        """Return the future that a join of the player has to wait for, or None."""
        return self._places.get(player)

    def wait(self, durable: Future[Any], join: Join, place: PlayerPlace) -> Future[Any]:
        """Return a future of the answer to a join.

        The match gets an `Arrived` when the place is durable, and then calls `answer`.
        """
        answer: Future[Any] = Future()
        self._answers.add(answer)
        # Even if this incarnation has ended by then.
        durable.on_done(partial(_tell_failure, answer))
        self._match.pipe_to_self(durable, lambda _: Arrived(join, place, answer))
        return answer

    def answer(self, message: Arrived, arrive: Callable[[], Any]) -> None:
        """Answer the join with what `arrive` returns, or with the `Refusal` that it raises."""
        answer = message.answer
        if not answer.done:  # else the commit has failed
            try:
                answer.set(arrive())
            except Refusal as refusal:
                answer.set_exception(bare(refusal))
        self._answers.discard(answer)

    def fail(self) -> None:
        """Answer the joins that wait with an error, because this incarnation ends."""
        for answer in self._answers:
            answer.settle_quietly(error=Refused(UNAVAILABLE, "the match is restarting"))
        self._answers.clear()


def _tell_failure(answer: Future[Any], done: Future[Any]) -> None:
    if (error := done.exception()) is not None:
        answer.settle_quietly(error=error)
