from __future__ import annotations

import gc
import math
from typing import Any

import pytest
import trio

import actors
from actors import Kind
from actors.runtime.cell import Cell
from actors.runtime.testing import Probe, advance, open_system, settle

from .sample import Add, Counter, Crash, Crashed, Get, Member, Nap, Refuse

NOW = actors.Backoff(first_s=0.0)


def counters(**options: Any) -> Kind:
    return Kind("counter", lambda key: Counter(), **options)


async def test_the_first_message_brings_an_actor_to_life(autojump_clock: object) -> None:
    keys: list[str] = []

    def factory(key: str) -> Counter:
        keys.append(key)
        return Counter(len(keys))

    async with open_system() as system:
        system.register(Kind("counter", factory))
        a, b = system.ref("counter", "a"), system.ref("counter", "b")
        assert not a.is_alive()
        assert keys == []
        a.tell(Add(10))
        assert await b.ask(Get()) == 2
        assert await a.ask(Get()) == 11
        assert keys == ["a", "b"]
        assert set(system.actors("counter")) == {a, b}
        assert list(system.actors("other")) == []


async def test_an_idle_actor_is_passivated_and_comes_back_by_its_next_message(
    autojump_clock: object,
) -> None:
    diary: list[str] = []
    async with open_system() as system:
        system.register(Kind("m", lambda key: Member(key, diary), idle_after_s=10.0))
        ref = system.ref("m", "ann")
        probe = Probe(system)
        await ref.ask(Add(1))
        probe.watch(ref)
        await trio.sleep(9.0)
        assert await ref.ask(Get()) == 1
        await trio.sleep(9.0)
        assert ref.is_alive()
        await trio.sleep(12.0)
        assert not ref.is_alive()
        await probe.expect(actors.Terminated(ref, "passivated"))
        assert await ref.ask(Get()) == 0
        assert diary == ["ann starts", "ann stops", "ann starts"]


async def test_an_actor_that_has_reasons_to_stay_is_not_passivated(autojump_clock: object) -> None:
    class Host(Counter):
        def may_passivate(self) -> bool:
            return self.total == 0

    async with open_system() as system:
        system.register(Kind("host", lambda key: Host(), idle_after_s=10.0))
        host = system.ref("host", "a")
        await host.ask(Add(1))
        await trio.sleep(100.0)
        assert await host.ask(Add(-1)) == 0
        await trio.sleep(25.0)
        assert not host.is_alive()


async def test_an_actor_that_asked_twice_to_rest_is_asked_each_time_whether_it_still_may() -> None:
    class Host(Counter):
        def may_passivate(self) -> bool:
            return self.total == 0

        @actors.handles(str)
        def rest(self, message: str) -> None:
            self.passivate()

    async with open_system() as system:
        system.register(Kind("host", lambda key: Host()))
        host = system.ref("host", "a")
        for message in ("rest", Add(1), Add(-1), "rest", Add(1)):
            host.tell(message)
        await settle()
        assert host.is_alive()
        assert await host.ask(Get()) == 1
        assert await host.ask(Add(-1)) == 0
        host.tell("rest")
        await settle()
        assert not host.is_alive()


async def test_an_actor_that_breaks_when_asked_whether_to_stay_has_failed(
    autojump_clock: object,
) -> None:
    class Confused(Counter):
        def may_passivate(self) -> bool:
            raise ValueError("cannot say")

    async with open_system() as system:
        system.register(Kind("confused", lambda key: Confused(), idle_after_s=10.0))
        confused = system.ref("confused", "a")
        await confused.ask(Add(1))
        await trio.sleep(25.0)
        assert system.restarts == 1
        assert await confused.ask(Get()) == 0


async def test_an_actor_that_is_busy_is_not_idle(autojump_clock: object) -> None:
    async with open_system(default_timeout_s=1000.0) as system:
        system.register(counters(idle_after_s=10.0))
        ref = system.ref("counter", "a")
        napping = ref.ask(Nap(100.0))
        await trio.sleep(90.0)
        assert ref.is_alive()
        assert await napping == "awake"


async def test_what_arrives_during_passivation_wakes_the_actor_again(
    autojump_clock: object,
) -> None:
    class Slow(Counter):
        @actors.handles(str)
        def rest(self, message: str) -> None:
            self.passivate()

        async def on_stop(self) -> None:
            await trio.sleep(1.0)

    async with open_system() as system:
        system.register(Kind("slow", lambda key: Slow()))
        slow = system.ref("slow", "a")
        await slow.ask(Add(1))
        slow.tell("rest")
        await settle()
        asked = slow.ask(Add(5))
        assert await asked == 5


async def test_an_actor_that_was_woken_again_is_passivated_when_it_is_idle_again(
    autojump_clock: object,
) -> None:
    class Slow(Counter):
        async def on_stop(self) -> None:
            await trio.sleep(1.0)

    async with open_system() as system:
        system.register(Kind("slow", lambda key: Slow(), idle_after_s=10.0))
        slow = system.ref("slow", "a")
        await slow.ask(Add(1))
        await trio.sleep(20.5)  # it is stopping
        assert await slow.ask(Add(5)) == 5
        await trio.sleep(40.0)
        assert not slow.is_alive()


async def test_a_stop_during_passivation_is_a_stop(autojump_clock: object) -> None:
    class Slow(Counter):
        @actors.handles(str)
        def rest(self, message: str) -> None:
            self.passivate()

    async with open_system() as system:
        system.register(Kind("slow", lambda key: Slow()))
        slow = system.ref("slow", "a")
        slow.tell("rest")
        stopped = slow.stop()
        asked = slow.ask(Get())
        assert await stopped
        with pytest.raises(actors.ActorDeadError):
            await asked


async def test_only_a_registered_kind_can_passivate(autojump_clock: object) -> None:
    class Rester(Counter):
        @actors.handles(str)
        def rest(self, message: str) -> None:
            self.passivate()

    async with open_system() as system:
        with pytest.raises(RuntimeError, match="not registered"):
            await system.start(Rester).ask("rest")


async def test_crashes_are_felt_by_one_actor_only(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(counters(max_restarts=2, backoff=NOW))
        bad, good = system.ref("counter", "bad"), system.ref("counter", "good")
        probe = Probe(system)
        await good.ask(Add(7))
        await bad.ask(Get())
        probe.watch(bad)
        for number in range(3):
            with pytest.raises(Crashed):
                await bad.ask(Crash(str(number)))
        await probe.expect(actors.Terminated(bad, "failed"))
        with pytest.raises(actors.ActorFailed) as caught:
            await bad.ask(Get())
        assert 0 < caught.value.retry_after_s <= 30.0
        with pytest.raises(actors.ActorFailed):
            bad.tell(Get())
        assert await good.ask(Get()) == 7


async def test_a_failed_actor_is_tried_again_after_its_rest(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(counters(max_restarts=0, retry_failed_after_s=30.0))
        ref = system.ref("counter", "a")
        with pytest.raises(Crashed):
            await ref.ask(Crash())
        await trio.sleep(29.0)
        with pytest.raises(actors.ActorFailed):
            await ref.ask(Get())
        await trio.sleep(2.0)
        assert await ref.ask(Get()) == 0


async def test_a_failed_actor_may_stay_so_for_ever(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(counters(max_restarts=0, retry_failed_after_s=math.inf))
        ref = system.ref("counter", "a")
        ref.tell(Crash())
        await advance(100_000.0)
        with pytest.raises(actors.ActorFailed):
            await ref.ask(Get())


async def test_an_actor_started_alone_that_fails_for_good_says_so(autojump_clock: object) -> None:
    async with open_system() as system:
        ref = system.start(Counter, policy=actors.RestartPolicy(restart="temporary"))
        with pytest.raises(Crashed):
            await ref.ask(Crash())
        with pytest.raises(actors.ActorFailed) as caught:
            await ref.ask(Get())
        assert caught.value.retry_after_s == math.inf


async def test_restarts_back_off_after_the_first(autojump_clock: object) -> None:
    backoff = actors.Backoff(first_s=2.0, factor=3.0, max_s=100.0, jitter=0.0)
    async with open_system(default_timeout_s=60.0) as system:
        system.register(counters(max_restarts=5, within_s=1000.0, backoff=backoff))
        ref = system.ref("counter", "a")
        waits = []
        for number in range(4):
            ref.tell(Crash(str(number)))
            began = system.now()
            await ref.ask(Get())
            waits.append(round(system.now() - began))
        assert waits == [0, 2, 6, 18]


async def test_a_factory_that_raises_is_a_failure_of_the_actor(autojump_clock: object) -> None:
    tries = 0

    def factory(key: str) -> Counter:
        nonlocal tries
        tries += 1
        raise OSError("nothing there")

    async with open_system() as system:
        system.register(Kind("counter", factory, max_restarts=2, backoff=NOW))
        with pytest.raises(actors.ActorDeadError):
            await system.ref("counter", "a").ask(Get())
        assert tries == 3


async def test_a_permanent_actor_that_keeps_stopping_is_given_up(autojump_clock: object) -> None:
    starts = 0

    class Quitter(Counter):
        def on_start(self) -> None:
            nonlocal starts
            starts += 1
            self.stop()

    async with open_system() as system:
        quitter = system.start(Quitter, policy=actors.RestartPolicy(restart="permanent"))
        await settle()
        assert starts == 4
        assert not quitter.is_alive()


async def test_a_kind_is_registered_once(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(counters())
        assert system.registered("counter")
        with pytest.raises(ValueError, match="registered already"):
            system.register(counters())


async def test_nothing_is_brought_to_life_while_the_system_stops(autojump_clock: object) -> None:
    errors: list[BaseException | None] = []

    class Last(Counter):
        async def on_stop(self) -> None:
            asked = self.system.ref("counter", "late").ask(Get())
            with pytest.raises(actors.ActorDeadError):
                await asked
            errors.append(asked.exception())

    async with open_system() as system:
        system.start(Last)
        system.register(counters())
        await system.ref("counter", "early").ask(Get())
    assert len(errors) == 1


async def test_a_message_that_crashed_an_actor_twice_is_quarantined(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        system.register(counters(max_restarts=10, backoff=NOW))
        ref = system.ref("counter", "a")
        for _ in range(2):
            with pytest.raises(Crashed):
                await ref.ask(Crash("poison"))
        await ref.ask(Add(3))
        with pytest.raises(actors.Quarantined):
            await ref.ask(Crash("poison"))
        ref.tell(Crash("poison"))
        assert await ref.ask(Get()) == 3
        with pytest.raises(Crashed):
            await ref.ask(Crash("another poison"))
        assert (system.quarantined, system.restarts) == (2, 3)


async def test_refusals_and_ticks_are_never_quarantined(autojump_clock: object) -> None:
    class Ticker(Counter):
        def on_start(self) -> None:
            self.start_ticks(1.0, Crash("tick"))

    async with open_system() as system:
        counter = system.start(Counter)
        for _ in range(5):
            with pytest.raises(actors.Refusal):
                await counter.ask(Refuse())
        ticker = system.start(Ticker, policy=actors.RestartPolicy(max_restarts=3, within_s=60.0))
        await trio.sleep(60.0)
        assert not ticker.is_alive()
        assert system.quarantined == 0


async def test_an_actor_that_has_ended_is_not_kept_until_it_would_have_been_idle(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        system.register(counters(idle_after_s=3600.0))
        for number in range(10):
            await system.ref("counter", f"{number}").ask(Get())
            await system.ref("counter", f"{number}").stop()
        await trio.sleep(60)  # the deadlines of the asks hold whom they asked, too
        gc.collect()
        kept = [one for one in gc.get_objects() if isinstance(one, Cell) and one.kind == "counter"]
        assert kept == []


async def test_what_waits_before_a_passivation_may_keep_the_actor() -> None:
    """For example a room is empty and asks to leave memory, with a join already in its mailbox."""

    class Place(actors.Actor):
        def __init__(self, key: str) -> None:
            super().__init__()
            self.guests: list[str] = []

        @actors.handles(str)
        def take(self, who: str) -> list[str]:
            if who == "nobody":
                self.passivate()
            else:
                self.guests.append(who)
            return self.guests

        def may_passivate(self) -> bool:
            return not self.guests

    class Crowd(actors.Actor):
        @actors.handles(tuple)
        def come(self, whose: tuple[actors.ActorRef, ...]) -> None:
            (place,) = whose
            place.tell("nobody")
            place.tell("ada")

    async with open_system() as system:
        system.register(actors.Kind("place", Place))
        place = system.ref("place", "a")
        await system.start(Crowd).ask((place,))
        await trio.sleep(0.01)
        assert place.is_alive()
        assert await place.ask("bob") == ["ada", "bob"]
