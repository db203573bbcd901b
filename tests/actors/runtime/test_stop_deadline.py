"""An actor has `shutdown_s` to stop, in whichever way it was asked to."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

import actors
from actors import Kind, RestartPolicy, Terminated
from actors.runtime.cell import Cell
from actors.runtime.memory import MemoryEventStore
from actors.runtime.testing import Probe, open_system

from .persistent import Add, Crash, Get, Ledger

SHORT = RestartPolicy(shutdown_s=2.0)


class Hanging(actors.Actor):
    """Never gets through its `on_stop`."""

    def __init__(self, key: str = "") -> None:
        super().__init__()

    async def on_stop(self) -> None:
        await trio.sleep_forever()

    @actors.handles(str)
    async def obey(self, message: str) -> str:
        if message == "stop":
            self.stop()
        elif message == "passivate":
            self.passivate()
        elif message == "hang":
            await trio.sleep_forever()
        return message


class HangingAtStart(actors.Actor):
    async def on_start(self) -> None:
        await trio.sleep_forever()


class HangingInFailure(actors.Actor):
    async def on_failure(self, *_: object) -> None:
        await trio.sleep_forever()

    @actors.handles(str)
    def crash(self, message: str) -> None:
        raise ValueError(message)


WAYS: dict[str, tuple[type[actors.Actor], Callable[[actors.ActorRef], object]]] = {
    "ref.stop": (Hanging, lambda ref: ref.stop()),
    "self.stop": (Hanging, lambda ref: ref.ask("stop")),
    "in a handler": (Hanging, lambda ref: (ref.tell("hang"), ref.stop())),
    "in on_start": (HangingAtStart, lambda ref: ref.stop()),
    "in on_failure": (HangingInFailure, lambda ref: (ref.tell("crash"), ref.stop())),
}


@pytest.mark.parametrize("way", WAYS)
async def test_who_hangs_is_killed_at_its_deadline(autojump_clock: object, way: str) -> None:
    cls, ask_to_stop = WAYS[way]
    async with open_system() as system:
        probe = Probe(system)
        ref = system.start(cls, policy=SHORT)
        probe.watch(ref)
        begun = trio.current_time()
        ask_to_stop(ref)
        await probe.expect(Terminated(ref, "killed"), within_s=10.0)
        assert trio.current_time() - begun == pytest.approx(2.0)


async def test_the_deadline_is_five_seconds_unless_another_one_is_given(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        ref = system.start(Hanging)
        begun = trio.current_time()
        assert await ref.stop()
        assert trio.current_time() - begun == pytest.approx(5.0)
        assert ref.ended_as() == "killed"


async def test_without_a_deadline_it_is_waited_for(autojump_clock: object) -> None:
    async with open_system() as system:
        ref = system.start(Hanging, policy=RestartPolicy(shutdown_s=float("inf")))
        ended = ref.stop()
        await trio.sleep(1e6)
        assert not ended.done
        cell = system.lookup(ref.kind, ref.key)
        assert cell is not None
        cell.kill()
        assert await ended


async def test_a_later_request_does_not_put_off_the_deadline(autojump_clock: object) -> None:
    async with open_system() as system:
        ref = system.start(Hanging, policy=SHORT)
        begun = trio.current_time()
        ref.stop()
        await trio.sleep(1.5)
        await ref.stop()
        assert trio.current_time() - begun == pytest.approx(2.0)


@pytest.mark.parametrize("idle", [False, True])
async def test_who_hangs_while_it_passivates_is_killed_and_comes_back_for_what_waits(
    autojump_clock: object, idle: bool
) -> None:
    async with open_system(default_timeout_s=60.0) as system:
        idle_after_s = 10.0 if idle else None
        system.register(Kind("k", Hanging, shutdown_s=2.0, idle_after_s=idle_after_s))
        ref = system.ref("k", "1")
        await ref.ask("x" if idle else "passivate")
        if idle:
            await trio.sleep(20.5)
        begun = trio.current_time()
        assert await ref.ask("here") == "here"
        assert 1.0 < trio.current_time() - begun <= 2.0
        # Those that come and go under the same name have a deadline of their own each.
        assert await ref.stop()
        assert await ref.ask("here") == "here"


async def test_one_that_nobody_wrote_to_meanwhile_ends_as_killed(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(Kind("k", Hanging, shutdown_s=2.0))
        probe, ref = Probe(system), system.ref("k", "1")
        await ref.ask("passivate")
        probe.watch(ref)
        await probe.expect(Terminated(ref, "killed"), within_s=10.0)
        assert await ref.ask("here") == "here"


async def test_a_permanent_actor_that_was_killed_as_it_stopped_is_started_anew(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        policy = RestartPolicy(restart="permanent", shutdown_s=2.0)
        ref = system.start(Hanging, policy=policy)
        await ref.stop()
        assert await ref.ask("here") == "here"


@pytest.mark.parametrize("where", ["on_start", "on_stop", "handler"])
@pytest.mark.parametrize("after", ["returns", "raises"])
async def test_what_one_that_was_left_behind_still_does_is_nobodys(
    autojump_clock: object, where: str, after: str
) -> None:
    finished = trio.Event()

    async def resist() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30.0)
        finished.set()
        if after == "raises":
            raise ValueError("too late")

    class Shielded(actors.Actor):
        async def on_start(self) -> None:
            if where == "on_start":
                await resist()

        async def on_stop(self) -> None:
            if where == "on_stop":
                await resist()

        @actors.handles(str)
        async def handle(self, message: str) -> None:
            await resist()

    async with open_system() as system:
        ref = system.start(Shielded, kind="k", key="1", policy=SHORT)
        if where == "handler":
            ref.tell("x")
        begun = trio.current_time()
        assert await ref.stop()
        assert trio.current_time() - begun == pytest.approx(3.0)  # with a second of grace
        assert ref.ended_as() == "killed"
        successor = system.start(Hanging, kind="k", key="1", policy=SHORT)
        await finished.wait()
        await trio.sleep(1.0)
        assert await successor.ask("here") == "here"
        assert system.lookup("k", "1") is not None
        assert system.restarts == 0


async def test_who_stops_in_time_leaves_no_timer_that_holds_it(autojump_clock: object) -> None:
    def cells() -> int:
        """Other tests may have left some."""
        gc.collect()
        return sum(isinstance(one, Cell) for one in gc.get_objects())

    async with open_system() as system:
        before = cells()
        ref: Any = system.start(HangingInFailure, policy=RestartPolicy(shutdown_s=1e6))
        await ref.stop()
        del ref
        assert cells() <= before


async def test_a_thread_that_blocks_is_left_behind_at_its_deadline() -> None:
    go_on = threading.Event()

    class Blocked(actors.ThreadingActor):
        def on_receive(self, message: object) -> None:
            go_on.wait()

    async with open_system() as system:
        ref = system.start(Blocked, policy=RestartPolicy(shutdown_s=0.05))
        ref.tell("block")
        try:
            assert await ref.stop()
            assert ref.ended_as() == "killed"
        finally:
            go_on.set()


async def test_an_on_failure_that_never_returns_keeps_its_actor_away_for_as_long_as_a_stop(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        ref = system.start(HangingInFailure, kind="k", key="1", policy=SHORT)
        begun = trio.current_time()
        ref.tell("crash")
        with pytest.raises(ValueError, match="again"):  # by the next instance
            await ref.ask("again", timeout=10.0)
        assert trio.current_time() - begun == pytest.approx(2.0)


async def test_who_stops_while_on_failure_hangs_has_all_of_its_time(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        ref = system.start(HangingInFailure, policy=RestartPolicy(shutdown_s=10.0))
        begun = trio.current_time()
        ref.tell("crash")
        await trio.sleep(1.0)
        assert await ref.stop()
        assert trio.current_time() - begun == pytest.approx(10.0)  # then there is nothing to do


async def test_the_log_of_one_whose_on_failure_hangs_is_the_next_ones(
    autojump_clock: object,
) -> None:
    class Hanging(Ledger):
        async def on_failure(self, *_: object) -> None:
            await trio.sleep_forever()

    async with open_system(events=MemoryEventStore()) as system:
        ref = system.start(Hanging, kind="k", key="1", policy=SHORT)
        await ref.ask(Add(2))
        ref.tell(Crash())
        await ref.ask(Add(3), timeout=10.0)
        value = await ref.ask(Get())
        assert (value.total, value.epoch) == (5, 2)


async def test_a_shielded_on_failure_is_left_behind(autojump_clock: object) -> None:
    class Shielded(HangingInFailure):
        async def on_failure(self, *_: object) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(30.0)

    async with open_system() as system:
        probe = Probe(system)
        ref = system.start(Shielded, policy=SHORT)
        probe.watch(ref)
        begun = trio.current_time()
        ref.tell("crash")
        await probe.expect(Terminated(ref, "killed"), within_s=10.0)
        assert trio.current_time() - begun == pytest.approx(3.0)
        ended = trio.current_time()
    assert trio.current_time() - ended == pytest.approx(27.0)  # the task is still the system's
