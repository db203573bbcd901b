from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from time import perf_counter

import pytest
import structlog

import actors
from actors import HandlerHung
from actors.runtime import watchdog
from actors.runtime.testing import open_system
from actors.runtime.watchdog import interruptible

from .sample import Counter, Get


@pytest.fixture(autouse=True)
def silent_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget earlier lines, because at most one line a second is logged."""
    # The guard belongs to the process, so no test can have one of its own.
    monkeypatch.setattr(watchdog._guard, "_complain_from", 0.0)  # noqa: SLF001


def spin(seconds: float) -> None:
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


def hang() -> None:
    while True:
        pass


def long_enough_to_be_found() -> None:
    """Wait for several looks of the helper thread."""
    spin(5 * watchdog.LOOK_EVERY_S)


class Clock:
    """A clock for the watchdog, which only a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog, "perf_counter", clock)
    return clock


def test_code_that_hangs_is_interrupted() -> None:
    began = perf_counter()
    with pytest.raises(HandlerHung), interruptible(0.1):
        hang()
    assert perf_counter() - began >= 0.1


def test_code_that_is_in_time_is_left_alone(clock: Clock) -> None:
    for _ in range(5):
        with interruptible(0.05):
            clock.now += 0.04
            long_enough_to_be_found()


def test_the_limit_is_that_of_the_block_not_of_what_comes_after(clock: Clock) -> None:
    with interruptible(0.05):
        pass
    clock.now += 1.0
    long_enough_to_be_found()


def test_an_inner_block_has_its_own_limit(clock: Clock) -> None:
    with interruptible(5.0):
        with pytest.raises(HandlerHung), interruptible(0.05):  # noqa: PT012 -- then it is late
            clock.now += 0.06
            hang()
        clock.now += 1.0
        long_enough_to_be_found()


def test_an_outer_limit_holds_inside_an_inner_block(clock: Clock) -> None:
    with pytest.raises(HandlerHung), interruptible(0.1), interruptible(60.0):  # noqa: PT012
        clock.now += 0.2
        hang()


def test_an_interruption_that_is_swallowed_comes_again_after_the_limit(clock: Clock) -> None:
    with interruptible(0.05):
        for _ in range(2):
            clock.now += 0.04
            long_enough_to_be_found()
            with pytest.raises(HandlerHung):  # noqa: PT012 -- then it is late
                clock.now += 0.02
                hang()
    clock.now += 1.0
    long_enough_to_be_found()


def test_a_block_that_swallowed_one_may_still_end_in_time(clock: Clock) -> None:
    with interruptible(0.2):
        with pytest.raises(HandlerHung):  # noqa: PT012 -- then it is late
            clock.now += 0.3
            hang()
        clock.now += 0.1
        long_enough_to_be_found()
    clock.now += 1.0
    long_enough_to_be_found()


def swallow() -> None:
    while True:
        try:  # noqa: SIM105 -- the very loop that is meant
            pass
        except BaseException:
            pass


def swallow_calls() -> None:
    while True:
        try:  # noqa: SIM105 -- a manager's exit can be interrupted, this cannot
            spin(0.02)
        except BaseException:
            pass


def swallow_sleeps() -> None:
    while True:
        try:
            time.sleep(1)
        except BaseException:
            spin(0.01)


def swallow_twice() -> None:
    while True:
        try:
            try:  # noqa: SIM105 -- likewise
                spin(0.02)
            except BaseException:
                pass
        except BaseException:
            continue


def swallow_in_layers() -> None:
    while True:
        try:
            swallow_twice()
        except BaseException:
            pass
        finally:
            spin(0.01)


def swallow_by_manager() -> None:
    while True:
        with contextlib.suppress(BaseException):
            spin(0.02)


def swallow_in_depth(depth: int = 200) -> None:
    while True:
        try:
            if depth:
                swallow_in_depth(depth - 1)
            else:
                spin(0.02)
        except BaseException:
            pass


def swallow_inside_a_block_of_its_own() -> None:
    while True:
        try:
            with interruptible(60.0):
                spin(0.02)
        except BaseException:
            pass


def swallow_and_log() -> None:
    while True:
        try:
            spin(0.001)
        except BaseException:
            logging.getLogger("tests.swallower").exception("again")


class Careless:
    def __del__(self) -> None:
        spin(0.5)


@pytest.mark.parametrize(
    "loop",
    [
        swallow,
        swallow_calls,
        swallow_sleeps,
        swallow_twice,
        swallow_in_layers,
        swallow_by_manager,
        swallow_in_depth,
        swallow_inside_a_block_of_its_own,
        swallow_and_log,
    ],
)
def test_a_loop_that_swallows_everything_is_left_in_the_end(loop: Callable[[], None]) -> None:
    for _ in range(3):
        with pytest.raises(HandlerHung), interruptible(0.05):
            loop()
        spin(0.1)  # nothing comes after


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_the_interpreter_drops_comes_again() -> None:
    def run() -> None:
        Careless()  # what its __del__ raises goes nowhere
        hang()

    with pytest.raises(HandlerHung), interruptible(0.05):
        run()


def test_an_end_at_the_very_limit_is_never_hit_outside_the_block() -> None:
    # Signals from a thread that sends them all the time, to a guard that is always overdue.
    ended = threading.Event()

    def pelt() -> None:
        main = threading.main_thread().ident
        assert main is not None
        while not ended.is_set():
            signal.pthread_kill(main, signal.SIGVTALRM)

    thread = threading.Thread(target=pelt)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    hit = done = 0
    try:
        with interruptible(60.0):  # so that there is a handler
            thread.start()
        while done <= 1000 or not hit:
            block = interruptible(0.0)
            try:
                with block:
                    spin(0.0)
                    done += 1
            except HandlerHung:
                hit += 1
            assert block.outer is None  # the one before is not guarded any more
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(interval)


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
    with pytest.raises(HandlerHung), interruptible(0.05):
        time.sleep(1e6)


class Game(Counter):
    @actors.handles(float)
    def tick(self, _message: float) -> None:
        with interruptible(0.05):
            hang()

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


class Stubborn(Counter):
    @actors.handles(float)
    def tick(self, _message: float) -> None:
        with interruptible(0.05, {"kind": "game", "key": self.actor_ref.key}):
            swallow_in_layers()


async def test_a_game_that_swallows_everything_fails_alone_and_the_loop_goes_on() -> None:
    with structlog.testing.capture_logs() as entries:
        async with open_system() as system:
            game, other = system.start(Stubborn, key="g"), system.start(Counter, 3)
            with pytest.raises(HandlerHung):
                await game.ask(10.0)
            assert await other.ask(Get()) == 3
            assert await game.ask(Get()) == 0
            assert system.restarts == 1
    swallowed = [entry for entry in entries if entry["event"] == "interruption_swallowed"]
    assert swallowed[0]["key"] == "g"


async def test_a_slow_handler_is_counted_and_named() -> None:
    with structlog.testing.capture_logs() as entries:
        async with open_system() as system:
            game = system.start(Game, kind="game", key="g")
            await game.ask("block")
            assert system.statistics().slow_handlers == 1
    (slow,) = [entry for entry in entries if entry["event"] == "slow_handler"]
    assert (slow["kind"], slow["key"], slow["message"]) == ("game", "g", "str")
    assert slow["seconds"] >= 0.5
