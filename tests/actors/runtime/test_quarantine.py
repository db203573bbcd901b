"""A message that crashes its actor again and again is kept from it for a time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import actors
from actors import Kind, QuarantinePolicy
from actors.runtime.quarantine import Quarantine
from actors.runtime.testing import Probe, open_system

from .sample import Counter, Crash, Crashed

POISON = Crash("poison")
NOW = actors.Backoff(first_s=0.0)


class Dependent(Counter):
    """Crashes on every question while something that it depends on is away."""

    away = False

    @actors.handles(str)
    def look_up(self, message: str) -> str:
        if Dependent.away:
            raise OSError("away")
        return message

    @actors.handles(float)
    async def look_up_later(self, seconds: float) -> float:
        await trio.sleep(seconds)
        if Dependent.away:
            raise OSError("away")
        return seconds


def dependents(**policy: Any) -> Kind:
    return Kind("dependent", lambda key: Dependent(), max_restarts=100, backoff=NOW, **policy)


async def ask_while_away(ref: actors.ActorRef, message: Any = "row 7", times: int = 1) -> None:
    Dependent.away = True
    try:
        for _ in range(times):
            with pytest.raises(OSError, match="away"):
                await ref.ask(message, timeout=60.0)
    finally:
        Dependent.away = False


async def test_two_moments_of_trouble_an_hour_apart_keep_nobody_out(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        system.register(dependents())
        ref = system.ref("dependent", "a")
        await ask_while_away(ref)
        await trio.sleep(4000.0)
        await ask_while_away(ref)
        assert await ref.ask("row 7") == "row 7"
        await trio.sleep(86_400.0)
        assert await ref.ask("row 7") == "row 7"
        assert system.quarantined == 0


@pytest.mark.parametrize("message", ["row 7", 1.0])
async def test_a_success_in_between_is_a_new_beginning(
    autojump_clock: object, message: Any
) -> None:
    async with open_system() as system:
        system.register(dependents())
        ref = system.ref("dependent", "a")
        for _ in range(3):
            await ask_while_away(ref, message)
            assert await ref.ask(message) == message
        assert system.quarantined == 0


async def test_after_a_while_one_is_tried_again_and_decides(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(dependents(quarantine=QuarantinePolicy(for_s=30.0)))
        ref = system.ref("dependent", "a")
        await ask_while_away(ref, times=2)
        with pytest.raises(actors.Quarantined) as caught:
            await ref.ask("row 7")
        assert caught.value.retry_after_s == pytest.approx(30.0)
        assert str(caught.value) == (
            "an equal str has crashed dependent/a before; it is tried again in 30.0 s"
        )
        await trio.sleep(30.0)
        await ask_while_away(ref)  # still away: one crash is enough now
        with pytest.raises(actors.Quarantined):
            await ref.ask("row 7")
        await trio.sleep(30.0)
        assert await ref.ask("row 7") == "row 7"
        await ask_while_away(ref)
        assert await ref.ask("row 7") == "row 7"  # and now it is as if nothing had been


async def test_a_told_message_that_is_held_is_a_dead_letter(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(dependents())
        ref = system.ref("dependent", "a")
        for _ in range(2):
            with pytest.raises(Crashed):
                await ref.ask(POISON)
        ref.tell(POISON)
        assert await ref.ask("well") == "well"
        (letter,) = system.dead_letters.last
        assert letter[:3] == (ref, POISON, "quarantined")
        assert system.statistics().quarantined == 1


async def test_how_often_and_how_long_is_the_policys_to_say(autojump_clock: object) -> None:
    async with open_system() as system:
        probe = Probe(system)
        policy = QuarantinePolicy(crashes=1, for_s=float("inf"))
        strict = system.start(
            Dependent, policy=actors.RestartPolicy(quarantine=policy, backoff=NOW)
        )
        lenient = system.start(
            Dependent,
            policy=actors.RestartPolicy(
                quarantine=QuarantinePolicy(crashes=10**6), max_restarts=50, backoff=NOW
            ),
        )
        probe.watch(strict)
        with pytest.raises(Crashed):
            await strict.ask(POISON)
        await trio.sleep(1e6)
        with pytest.raises(actors.Quarantined):
            await strict.ask(POISON)
        for _ in range(20):
            with pytest.raises(Crashed):
                await lenient.ask(POISON)
        assert probe.received == []


async def test_an_actor_that_is_well_again_does_not_look_at_its_messages(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        system.register(dependents())
        ref = system.ref("dependent", "a")
        await ask_while_away(ref)
        cell: Any = system.lookup("dependent", "a")
        assert cell.quarantine is not None
        await ref.ask("row 7")
        await ref.ask("row 8")
        assert cell.quarantine is None


@pytest.mark.parametrize(
    "wrong",
    [{"crashes": 0}, {"within_s": 0.0}, {"for_s": -1.0}, {"for_s": float("nan")}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        QuarantinePolicy(**wrong)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0.0, 50.0)), max_size=60),
    st.integers(1, 4),
)
def test_nothing_is_held_longer_than_the_policy_says_and_only_what_crashed(
    steps: list[tuple[str, bool, float]], crashes: int
) -> None:
    policy = QuarantinePolicy(crashes=crashes, within_s=40.0, for_s=20.0)
    quarantine = Quarantine(policy)
    now = 0.0
    crashed_at: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for message, crash, pause in steps:
        now += pause
        held = quarantine.holds(message, now)
        if held:
            assert held <= policy.for_s + 1e-9
            assert now - crashed_at[message][-1] < policy.for_s
            assert len(crashed_at[message]) >= crashes
        elif crash:
            quarantine.record(message, now)
            crashed_at[message].append(now)
        else:
            crashed_at[message].clear()
