"""Every duration is checked where it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio

import actors
from actors.runtime.testing import Probe, advance, open_system, settle
from actors.runtime.watchdog import Watchdog, interruptible

from .sample import Counter, Get

NO_DURATIONS = [math.nan, -1.0, -math.inf, 10**400]


class Sleeper(Counter):
    """Calls back what it is sent, with itself."""

    @actors.handles(tuple)
    def call(self, message: tuple[Callable[[Any], Any]]) -> None:
        message[0](self)


@pytest.mark.parametrize("seconds", NO_DURATIONS)
async def test_a_duration_is_checked_at_the_call(autojump_clock: object, seconds: float) -> None:
    async with open_system() as system:
        sleeper = system.start(Sleeper)
        for call in (
            lambda: sleeper.ask(Get(), timeout=seconds),
            lambda: sleeper.stop(timeout=seconds),
            lambda: system.after(seconds, lambda: None),
            lambda: actors.Future[int]().get(timeout=seconds),
            lambda: actors.ActorSystem(default_timeout_s=seconds),
            lambda: interruptible(seconds),
            lambda: Watchdog(system, stuck_after_s=seconds),
        ):
            with pytest.raises(ValueError, match=r"s, and not|float can hold"):
                cast("Callable[[], Any]", call)()
        with pytest.raises(ValueError, match=r"at least 0 s|float can hold"):
            await advance(seconds)
        for in_actor in (
            lambda actor: actor.start_timer(seconds, "message"),
            lambda actor: actor.start_ticks(seconds, "message"),
            lambda actor: actor.start_ticks(1.0, "message", first_s=seconds),
        ):
            with pytest.raises(ValueError, match=r"s, and not|float can hold"):
                await sleeper.ask((in_actor,))
        await settle()
        assert await Probe(system, reply="lives").ref.ask("?") == "lives"


@pytest.mark.parametrize("seconds", [*NO_DURATIONS, 0.0])
def test_settings_are_durations(seconds: float) -> None:
    settings: list[tuple[Callable[..., Any], str]] = [
        (actors.JournalSettings, "append_timeout_s"),
        (actors.SnapshotSettings, "save_timeout_s"),
        (actors.DurabilitySettings, "read_timeout_s"),
    ]
    if seconds:  # 0 s is a sensible value of these
        settings += [
            (actors.JournalSettings, "pace_s"),
            (actors.JournalSettings, "drain_s"),
            (actors.SnapshotSettings, "flush_s"),
        ]
    for make, name in settings:
        with pytest.raises(ValueError, match=name):
            make(**{name: seconds})


@pytest.mark.parametrize("seconds", NO_DURATIONS)
def test_an_actor_class_is_checked_when_it_is_made(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"Forgetful\.snapshot_interval_s"):
        type("Forgetful", (actors.PersistentActor,), {"snapshot_interval_s": seconds})


@pytest.mark.parametrize("timeout", ["5", True, object()])
async def test_what_is_no_number_is_a_type_error(timeout: Any) -> None:
    async with open_system() as system:
        with pytest.raises(TypeError, match="timeout is a number"):
            system.start(Counter).ask(Get(), timeout=timeout)


async def test_a_bad_duration_from_a_thread_is_refused_in_the_thread() -> None:
    async with open_system() as system:
        counter = system.start(Counter)

        def ask() -> Any:
            with pytest.raises(ValueError, match="timeout"):
                counter.ask(Get(), timeout=math.nan, block=True)
            return counter.ask(Get(), timeout=math.inf, block=True)

        assert await trio.to_thread.run_sync(ask) == 0


async def test_for_ever_is_a_duration(autojump_clock: object) -> None:
    async with open_system(default_timeout_s=math.inf) as system:
        sleeper = system.start(Sleeper)
        await sleeper.ask((lambda actor: actor.start_timer(math.inf, "never"),))
        await sleeper.ask((lambda actor: actor.start_ticks(math.inf, "never"),))
        system.after(math.inf, lambda: None)
        await trio.sleep(1e6)
        assert await sleeper.ask(Get(), timeout=0) == 0


@pytest.mark.parametrize("interval_s", [5e-324, 1e-20, 1e-9])
async def test_ticks_that_the_clock_cannot_tell_apart_are_refused(
    autojump_clock: object, interval_s: float
) -> None:
    async with open_system() as system:
        with pytest.raises(ValueError, match="interval_s is from 1e-06"):
            await system.start(Sleeper).ask((lambda actor: actor.start_ticks(interval_s, "tick"),))
