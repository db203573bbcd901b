from __future__ import annotations

import threading

import pytest
import trio

import actors
from actors.runtime.testing import Probe, advance, assert_no_leaks, open_system, run

from .sample import Add, Counter


async def test_a_probe_records_what_comes_and_answers(autojump_clock: object) -> None:
    async with open_system() as system:
        probe = Probe(system, reply=lambda message: message * 2)
        assert await probe.ref.ask(4) == 8
        probe.ref.tell("hello")
        assert await probe.expect(int) == 4
        assert await probe.expect("hello") == "hello"
        assert probe.received == [4, "hello"]
        await probe.expect_nothing()


async def test_a_probe_waits_for_what_it_expects(autojump_clock: object) -> None:
    async with open_system() as system:
        probe = Probe(system)
        system.after(0.5, lambda: probe.ref.tell("late"))
        await probe.expect("late")


async def test_a_probe_says_what_is_wrong(autojump_clock: object) -> None:
    async with open_system() as system:
        probe = Probe(system)
        with pytest.raises(AssertionError, match="nothing came in 2"):
            await probe.expect("hello", within_s=2.0)
        probe.ref.tell("other")
        with pytest.raises(AssertionError, match="expected 'hello'; got 'other'"):
            await probe.expect("hello")
        probe.ref.tell("too much")
        with pytest.raises(AssertionError, match="too much"):
            await probe.expect_nothing()


async def test_advance_turns_the_clock(mock_clock: object) -> None:
    async with open_system() as system:
        rung: list[float] = []
        began = system.now()
        system.after(10.0, lambda: rung.append(system.now() - began))
        await advance(9.0)
        assert rung == []
        await advance(1.0)
        assert rung == [10.0]


async def test_advance_stops_at_every_time_at_which_something_is_due(mock_clock: object) -> None:
    class Busy(actors.Actor):
        def __init__(self) -> None:
            self.ticks: list[float] = []
            self.rung: list[float] = []

        def on_start(self) -> None:
            self.start_ticks(60.0, "tick")
            self.start_timer(0.1, 0.1)

        @actors.handles(str)
        def tick(self, _: str) -> None:
            self.ticks.append(self.system.now())

        @actors.handles(float)
        def ring(self, message: float) -> None:
            self.rung.append(self.system.now())
            self.start_timer(message, message)

    async with open_system() as system:
        busy = Busy()
        system.start(lambda: busy, kind="busy")
        began = system.now()
        await advance(600.0)
        assert system.now() - began == pytest.approx(600.0)
        assert [at - began for at in busy.ticks] == pytest.approx([60.0 * n for n in range(1, 11)])
        assert len(busy.rung) == pytest.approx(6000, abs=1)
        await advance(0.0)
        assert system.now() - began == pytest.approx(600.0)


async def test_advance_needs_a_clock_that_can_be_turned() -> None:
    with pytest.raises(RuntimeError, match="autojump_clock"):
        await advance(1.0)


async def test_a_task_that_is_left_is_found() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(AssertionError, match="1 tasks left"):
            async with assert_no_leaks():
                nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()


async def test_a_thread_that_is_left_is_found() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="forgotten")
    with pytest.raises(AssertionError, match="forgotten"):
        async with assert_no_leaks():
            thread.start()
    gate.set()
    thread.join()


def test_run_jumps_through_time() -> None:
    async def main(amount: int) -> int:
        async with actors.ActorSystem() as system:
            counter = system.start(Counter)
            await trio.sleep(3600.0)
            total: int = await counter.ask(Add(amount))
            return total

    assert run(main, 3) == 3
