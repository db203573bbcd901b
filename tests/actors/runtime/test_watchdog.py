from __future__ import annotations

import threading
import time
from time import perf_counter

import pytest
import structlog
import trio

import actors
from actors import HandlerHung
from actors.runtime.testing import open_system
from actors.runtime.watchdog import Watchdog, interruptible

from .sample import Counter, Get


def spin(seconds: float) -> None:
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


def test_code_that_hangs_is_interrupted() -> None:
    began = perf_counter()
    with pytest.raises(HandlerHung), interruptible(0.1):
        spin(10.0)
    assert 0.1 <= perf_counter() - began < 2.0


def test_code_that_is_in_time_is_left_alone() -> None:
    for _ in range(50):
        with interruptible(0.05):
            spin(0.002)
    spin(0.2)


def test_the_limit_is_that_of_the_block_not_of_what_comes_after() -> None:
    with interruptible(0.05):
        pass
    spin(0.3)


def test_an_inner_block_has_its_own_limit() -> None:
    with interruptible(5.0):
        with pytest.raises(HandlerHung), interruptible(0.05):
            spin(10.0)
        spin(0.1)


def test_an_outer_limit_holds_inside_an_inner_block() -> None:
    with pytest.raises(HandlerHung), interruptible(0.1), interruptible(60.0):
        spin(10.0)


def test_an_interruption_that_is_swallowed_comes_once() -> None:
    with interruptible(0.05):
        with pytest.raises(HandlerHung):
            spin(10.0)
        spin(0.2)


def test_other_exceptions_pass() -> None:
    with pytest.raises(KeyError), interruptible(1.0):
        raise KeyError


def test_off_the_main_thread_nothing_is_interrupted() -> None:
    outcome: list[str] = []

    def work() -> None:
        with interruptible(0.01):
            spin(0.2)
        outcome.append("finished")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcome == ["finished"]


def test_a_sleep_is_interrupted_too() -> None:
    began = perf_counter()
    with pytest.raises(HandlerHung), interruptible(0.05):
        time.sleep(10.0)
    assert perf_counter() - began < 2.0


class Game(Counter):
    @actors.handles(float)
    def tick(self, seconds: float) -> None:
        with interruptible(0.05):
            spin(seconds)

    @actors.handles(str)
    def block(self, message: str) -> None:
        spin(0.5)


async def test_a_game_that_hangs_fails_alone_and_the_loop_goes_on() -> None:
    async with open_system() as system:
        game, other = system.start(Game), system.start(Counter, 3)
        with pytest.raises(HandlerHung):
            await game.ask(10.0)
        assert await other.ask(Get()) == 3
        assert await game.ask(Get()) == 0
        assert system.restarts == 1


async def test_a_slow_handler_is_counted_and_named() -> None:
    with structlog.testing.capture_logs() as entries:
        async with open_system() as system:
            game = system.start(Game, kind="game", key="g")
            await game.ask("block")
            assert system.statistics().slow_handlers == 1
    (slow,) = [entry for entry in entries if entry["event"] == "slow_handler"]
    assert (slow["kind"], slow["key"], slow["message"]) == ("game", "g", "str")
    assert slow["seconds"] >= 0.5


async def test_a_watchdog_names_who_blocks_the_loop_while_it_does() -> None:
    with structlog.testing.capture_logs() as entries:
        async with open_system() as system:
            with Watchdog(system, stuck_after_s=0.1) as watchdog:
                game = system.start(Game, kind="game", key="g")
                await game.ask("block")
                await trio.sleep(0.1)
                assert watchdog.stuck == 1
    (blocked,) = [entry for entry in entries if entry["event"] == "loop_blocked"]
    assert (blocked["kind"], blocked["key"], blocked["message"]) == ("game", "g", "str")
    assert "spin(0.5)" in blocked["stack"]
