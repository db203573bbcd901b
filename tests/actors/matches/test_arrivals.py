from __future__ import annotations

import weakref
from typing import Any

import pytest
import trio.testing

import actors
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.edge.topic_messages import Join
from actors.matches.arrivals import Arrivals
from actors.matches.messages import Arrived
from actors.matches.rules.record import PlayerPlace
from actors.runtime.future import Future
from actors.runtime.testing import open_system, settle
from protocol.errors import MATCH_ENDED, UNAVAILABLE
from tests.actors.table import refused

ADA = Join(Identity("s", "ada", "Ada"), 1)


class Entrance(actors.Actor):
    """An actor that only has arrivals. Whoever joins waits for `durable`."""

    def __init__(self) -> None:
        super().__init__()
        self.durable: Future[Any] = Future()
        self.arrivals = Arrivals(weakref.proxy(self))
        self.answer: Any = "welcome"

    @actors.handles(Join)
    def join(self, message: Join) -> Any:
        self.arrivals.put(message.who.user, self.durable)
        return self.arrivals.wait(self.durable, message, PlayerPlace("Ada"))

    @actors.handles(Arrived)
    def arrived(self, message: Arrived) -> None:
        self.arrivals.answer(message, self.arrive)

    def arrive(self) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def on_failure(self, *_: Any) -> None:
        self.arrivals.fail()

    def on_stop(self) -> None:
        self.arrivals.fail()


async def test_a_join_is_answered_once_it_is_durable(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_system() as system:
        entrance = Entrance()
        answer = system.start(lambda: entrance).ask(ADA)
        await settle()
        assert not answer.done
        assert entrance.arrivals.durable("ada") is entrance.durable
        assert entrance.arrivals.durable("bob") is None
        entrance.durable.set(None)
        assert await answer == "welcome"
        assert entrance.arrivals.durable("ada") is None


async def test_a_commit_that_fails_is_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_system() as system:
        entrance = Entrance()
        answer = system.start(lambda: entrance).ask(ADA)
        await settle()
        entrance.durable.set_exception(actors.Fenced("another was faster"))
        with pytest.raises(actors.Fenced):
            await answer


async def test_what_is_refused_late_is_the_answer_and_no_failure(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_system() as system:
        entrance = Entrance()
        entrance.answer = Refused(MATCH_ENDED)
        ref = system.start(lambda: entrance)
        answer = ref.ask(ADA)
        await settle()
        entrance.durable.set(None)
        await refused(MATCH_ENDED, answer)
        assert ref.is_alive()


@pytest.mark.parametrize("how", ["stops", "crashes"])
async def test_an_incarnation_that_goes_first_says_so_to_those_who_wait(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_system() as system:
        entrance = Entrance()
        ref = system.start(lambda: entrance)
        answer = ref.ask(ADA)
        await settle()
        if how == "stops":
            await ref.stop()
        else:
            entrance.answer = ZeroDivisionError("in the game")
            entrance.durable.set(None)
        await refused(UNAVAILABLE, answer)
