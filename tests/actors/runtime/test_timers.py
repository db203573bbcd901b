from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import actors
from actors.runtime.home import Home
from actors.runtime.testing import advance, open_system, run, settle
from actors.runtime.timers import Alarm, Timers

from .sample import Crash, Crashed


class Clockwork(actors.Actor):
    """Starts the timers it is told to, and notes when their messages come."""

    def __init__(self, notes: list[tuple[float, Any]]) -> None:
        super().__init__()
        self.notes = notes

    @actors.handles(tuple)
    def do(self, message: tuple[Any, ...]) -> Any:
        method, *rest = message
        options = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        return getattr(self, method)(*rest, **options)

    @actors.handles(str)
    def note(self, message: str) -> None:
        self.notes.append((round(self.system.now() - self.began, 6), message))

    @actors.handles(float)
    async def nap(self, message: float) -> None:
        await trio.sleep(message)

    @actors.handles(Crash)
    def crash(self, message: Crash) -> None:
        raise Crashed

    def on_start(self) -> None:
        self.began = self.system.now()


async def test_a_timer_fires_once(autojump_clock: object) -> None:
    notes: list[tuple[float, Any]] = []
    async with open_system() as system:
        ref = system.start(Clockwork, notes)
        ref.tell(("start_timer", 2.0, "ring"))
        ref.tell(("start_timer", 1.0, "early"))
        await trio.sleep(10)
        assert notes == [(1.0, "early"), (2.0, "ring")]


async def test_ticks_keep_to_their_grid_and_never_pile_up(autojump_clock: object) -> None:
    notes: list[tuple[float, Any]] = []
    async with open_system() as system:
        ref = system.start(Clockwork, notes)
        ref.tell(("start_ticks", 1.0, "tick"))
        await trio.sleep(2.5)
        ref.tell(5.0)
        await trio.sleep(7.0)
        assert [at for at, _ in notes] == [1.0, 2.0, 7.5, 8.0, 9.0]


async def test_ticks_do_not_drift(autojump_clock: object) -> None:
    notes: list[tuple[float, Any]] = []
    async with open_system() as system:
        ref = system.start(Clockwork, notes)
        ref.tell(("start_ticks", 0.05, "tick"))
        await trio.sleep(500.01)
        assert len(notes) == 10_000
        assert notes[-1][0] == pytest.approx(500.0, abs=1e-3)


async def test_a_name_replaces_and_cancels(autojump_clock: object) -> None:
    notes: list[tuple[float, Any]] = []
    async with open_system() as system:
        ref = system.start(Clockwork, notes)
        ref.tell(("start_timer", 1.0, "old", {"name": "t"}))
        ref.tell(("start_timer", 2.0, "new", {"name": "t"}))
        ref.tell(("start_timer", 3.0, "never", {"name": "u"}))
        ref.tell(("cancel_timer", "u"))
        ref.tell(("cancel_timer", "unknown"))
        await trio.sleep(10)
        assert notes == [(2.0, "new")]


async def test_a_timer_is_cancelled_by_itself_named_or_not(autojump_clock: object) -> None:
    notes: list[tuple[float, Any]] = []
    async with open_system() as system:
        ref = system.start(Clockwork, notes)
        for options in ({}, {"name": "t"}):
            timer = await ref.ask(("start_timer", 1.0, "no", options))
            ref.tell(("cancel_timer", timer))
        await trio.sleep(10)
        assert notes == []


async def test_a_cancelled_timer_does_not_come_even_if_it_was_under_way(
    autojump_clock: object,
) -> None:
    notes: list[tuple[float, Any]] = []
    async with open_system() as system:
        ref = system.start(Clockwork, notes)
        ref.tell(("start_timer", 1.0, "under way", {"name": "t"}))
        ref.tell(5.0)
        ref.tell(("cancel_timer", "t"))
        await trio.sleep(10)
        assert notes == []


async def test_timers_end_with_the_instance(autojump_clock: object) -> None:
    notes: list[tuple[float, Any]] = []
    async with open_system() as system:
        ref = system.start(Clockwork, notes)
        ref.tell(("start_ticks", 1.0, "tick"))
        ref.tell(("start_timer", 3.0, "once"))
        await trio.sleep(1.5)
        ref.tell(Crash())
        await trio.sleep(10)
        assert notes == [(1.0, "tick")]


async def test_ticks_need_an_interval(autojump_clock: object) -> None:
    async with open_system() as system:
        with pytest.raises(ValueError, match="above 0"):
            await system.start(Clockwork, []).ask(("start_ticks", 0.0, "tick"))


async def test_timers_pass_a_full_mailbox(autojump_clock: object) -> None:
    class Narrow(Clockwork):
        mailbox = actors.MailboxSpec(capacity=1, on_full="drop_newest")

    notes: list[tuple[float, Any]] = []
    async with open_system() as system:
        ref = system.start(Narrow, notes)
        await ref.ask(("start_timer", 1.0, "ring"))
        ref.tell(2.0)
        await settle()
        for word in ("a", "b", "c"):
            ref.tell(word)
        await trio.sleep(5)
        assert [message for _, message in notes] == ["a", "ring"]


async def test_a_cancelled_alarm_is_silent(autojump_clock: object) -> None:
    async with open_system() as system:
        rung: list[str] = []
        system.after(1.0, lambda: rung.append("one"))
        system.after(1.0, lambda: rung.append("two")).cancel()
        await advance(2.0)
        assert rung == ["one"]


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.booleans(), st.integers(0, 20)), min_size=1, max_size=600
    )
)
def test_every_alarm_rings_at_its_time_unless_cancelled(
    plan: list[tuple[int, bool, int]],
) -> None:
    async def main() -> None:
        timers = Timers(nullcontext())
        rung: list[tuple[int, float]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timers.run)
            start = trio.current_time()
            expected = []
            for number, (delay, cancelled, pause) in enumerate(plan):
                if pause == 0:
                    await trio.testing.wait_all_tasks_blocked()
                alarm = Alarm(
                    timers,
                    start + delay,
                    lambda number=number: rung.append((number, trio.current_time() - start)),  # type: ignore[misc]  # bound now
                    Home.current(),
                    owner=None,
                )
                if cancelled and pause != 0:
                    alarm.cancel()
                else:
                    expected.append((number, float(delay)))
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        assert sorted(rung) == sorted(expected)
        assert not len(timers)

    run(main)
