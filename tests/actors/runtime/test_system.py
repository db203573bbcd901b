from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
import trio

import actors
from actors import DeadLetter
from actors.runtime.testing import open_system, settle

from .sample import Add, Counter, Crash, Get, Member, Nap


async def test_two_systems_live_side_by_side(autojump_clock: object) -> None:
    class Opener(actors.Actor):
        def on_receive(self, message: Any) -> Any:
            return Counter.start(kind="inner").ask(Get())

    async with open_system("one") as one, open_system("two") as two:
        first, second = (system.start(Counter, kind="c", key="x") for system in (one, two))
        await first.ask(Add(1))
        assert await second.ask(Get()) == 0
        assert actors.ActorSystem.current() is two
        opener = one.start(Opener)
        assert await opener.ask("open") == 0
        assert len(list(one.actors("inner"))) == 1
        assert not list(two.actors("inner"))


async def test_kinds_stop_in_the_reverse_order_of_their_first_start(autojump_clock: object) -> None:
    diary: list[str] = []
    async with open_system() as system:
        for name in ("ann", "bob", "cid"):
            system.start(Member, name, diary, kind=name)
        system.register(actors.Kind("late", lambda key: Member(key, diary)))
        await system.ref("late", "dan").ask(Get())
        diary.clear()
    assert diary == ["dan stops", "cid stops", "bob stops", "ann stops"]


async def test_cancellation_stops_all_in_order_and_lets_them_finish(autojump_clock: object) -> None:
    diary: list[str] = []

    class Slow(Member):
        async def on_stop(self) -> None:  # type: ignore[override]  # hooks may be async
            await trio.sleep(1.0)
            diary.append(f"{self.name} stops")

    asked: actors.Future[Any] | None = None
    with trio.move_on_after(5.0) as scope:
        async with open_system() as system:
            slow = system.start(Slow, "slow", diary)
            system.start(Member, "ann", diary, kind="other")
            asked = slow.ask(Nap(6.0), timeout=60.0)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert asked is not None
    assert asked.result() == "awake"
    assert diary[2:] == ["ann stops", "slow stops"]


async def test_an_exception_of_the_body_comes_out_as_it_is(autojump_clock: object) -> None:
    diary: list[str] = []

    async def fail() -> None:
        async with open_system() as system:
            system.start(Member, "ann", diary)
            await settle()
            raise ValueError("body")

    with pytest.raises(ValueError, match="body"):
        await fail()
    assert diary == ["ann starts", "ann stops"]


async def test_an_actor_that_never_stops_is_killed_after_its_deadline(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        for _ in range(3):
            counter = system.start(Counter, policy=actors.RestartPolicy(shutdown_s=2.0))
            counter.tell(Nap(1000.0))
        await settle()
        began = system.now()
    assert trio.current_time() - began == pytest.approx(2.0)


async def test_a_name_is_given_once(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter, kind="c", key="a")
        with pytest.raises(actors.ActorExists, match="c/a"):
            system.start(Counter, kind="c", key="a")
        await counter.stop()
        system.start(Counter, kind="c", key="a")


async def test_only_actors_of_the_runtime_are_started(autojump_clock: object) -> None:
    async with open_system() as system:
        with pytest.raises(TypeError, match="no actor"):
            system.start(dict)
        with pytest.raises(RuntimeError, match="Counter has no place in a system yet"):
            super(actors.Actor, Counter).start()  # as Pykka starts its own actors


async def test_dead_letters_are_counted_kept_and_told(autojump_clock: object) -> None:
    letters: list[DeadLetter] = []

    def broken(letter: DeadLetter) -> None:
        raise ValueError("subscriber")

    async with open_system() as system:
        end = system.dead_letters.subscribe(letters.append)
        system.dead_letters.subscribe(broken)
        nobody = system.ref("nobody", "x")
        for number in range(150):
            with pytest.raises(actors.ActorDeadError):
                nobody.tell(number)
        assert system.dead_letters.count == len(letters) == 150
        assert len(system.dead_letters.last) == 100
        assert letters[7] == DeadLetter(nobody, 7, "dead", letters[7].at_s)
        end()
        with pytest.raises(actors.ActorDeadError):
            nobody.tell("more")
        assert len(letters) == 150


async def test_statistics_count(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        for _ in range(10):
            counter.tell(Add(1))
        counter.tell(Crash())
        napping = counter.ask(Nap(1.0))
        await settle()
        statistics = system.statistics()
        assert statistics.actors == 1
        assert statistics.handled >= 12
        assert statistics.restarts == 1
        assert statistics.workers == 1
        await napping
        assert system.statistics().workers == 0


async def test_workers_are_reused_and_do_not_pile_up(autojump_clock: object) -> None:
    async with open_system() as system:
        counters = [system.start(Counter) for _ in range(200)]
        before = trio.lowlevel.current_statistics().tasks_living
        replies = [counter.ask(Nap(1.0)) for counter in counters]
        await settle()
        assert system.statistics().workers == 200
        for reply in replies:
            await reply
        await settle()
        assert trio.lowlevel.current_statistics().tasks_living - before <= 32


async def test_an_actors_context_is_the_systems_and_not_its_callers(
    autojump_clock: object,
) -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default="system's")

    class Reader(Counter):
        @actors.handles(str)
        async def read(self, message: str) -> str:
            return variable.get()

    async with open_system() as system:
        reader = system.start(Reader)
        await settle()
        variable.set("caller's")
        assert await reader.ask("?") == "system's"


async def test_a_busy_actor_does_not_starve_the_rest_of_the_loop() -> None:
    class Endless(actors.Actor):
        def on_receive(self, message: Any) -> None:
            self.actor_ref.tell(message)

    async with open_system() as system:
        endless = system.start(Endless)
        for _ in range(100):
            endless.tell("again")
        counter = system.start(Counter)
        with trio.fail_after(60):
            for _ in range(20):
                await trio.sleep(0.001)
                assert await counter.ask(Get()) == 0
        endless.stop()


async def test_call_soon_reaches_the_loop_from_a_thread() -> None:
    where: list[int] = []
    async with open_system() as system:

        def work() -> None:
            system.call_soon(lambda: 1 / 0)
            system.call_soon(lambda: where.append(threading.get_ident()))

        await trio.to_thread.run_sync(work)
        await trio.sleep(0.01)
    assert where == [threading.get_ident()]


def test_ctrl_c_stops_the_system_in_order() -> None:
    diary: list[str] = []

    class Interrupter(Member):
        @actors.handles(str)
        def interrupt(self, message: str) -> None:
            signal.raise_signal(signal.SIGINT)
            diary.append("handler finishes")

    async def main() -> None:
        async with actors.ActorSystem() as system:
            system.start(Member, "ann", diary)
            interrupter = system.start(Interrupter, "int", diary, kind="interrupter")
            interrupter.tell("now")
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert diary == ["ann starts", "int starts", "handler finishes", "int stops", "ann stops"]


async def test_persistent_actors_need_stores_and_a_system_has_them_once() -> None:
    async with open_system() as system:
        with pytest.raises(RuntimeError, match="no stores"):
            _ = system.journal


async def test_a_system_is_opened_once(autojump_clock: object) -> None:
    system = actors.ActorSystem("twice")
    async with system:
        with pytest.raises(RuntimeError, match="twice: a system is opened once"):
            async with system:
                pass
        assert await Counter.start().ask(Get()) == 0
    with pytest.raises(RuntimeError, match="twice: a system is opened once"):
        async with system:
            pass
