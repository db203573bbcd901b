"""A supervisor notices failures, requests and a stop while its children recover or end."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import actors
from actors import ChildSpec
from actors.runtime.child import Strategy
from actors.runtime.memory import MemoryEventStore
from actors.runtime.testing import Probe, open_system, run, settle

from .persistent import Crash as LedgerCrash
from .persistent import Ledger
from .sample import Add, Counter, Crash, Get, Member, Nap

NOW = actors.Backoff(first_s=0.0)
BACK_AFTER_S = 600.0


class Chief(actors.Supervisor):
    @actors.handles(str)
    def find(self, message: str) -> actors.ActorRef:
        return self.child(message)


def away() -> MemoryEventStore:
    store = MemoryEventStore()
    store.away = True
    return store


def with_ledger(diary: list[str], **policy: Any) -> list[ChildSpec]:
    """Open a supervisor with three children; the one in the middle needs the store."""
    return [
        ChildSpec("ann", partial(Member, "ann", diary), backoff=NOW, restart="permanent"),
        ChildSpec("ledger", Ledger, backoff=NOW, **policy),
        ChildSpec("bob", partial(Member, "bob", diary), backoff=NOW, restart="permanent"),
    ]


async def come_back(store: MemoryEventStore) -> None:
    """Bring the store back after a time, so that a test that wrongly waits for it ends, too."""
    await trio.sleep(BACK_AFTER_S)
    store.away = False


async def test_leaving_the_system_does_not_wait_for_a_store_that_is_away(
    autojump_clock: object,
) -> None:
    store = away()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back, store)
        async with open_system(events=store) as system:
            system.supervise(with_ledger([]), key="t")
            await trio.sleep(60.0)
            left_at = system.now()
        assert trio.current_time() - left_at < 1.0
        nursery.cancel_scope.cancel()


async def test_a_child_that_recovers_for_a_message_may_take_its_time_to_stop(
    autojump_clock: object,
) -> None:
    store = away()
    async with open_system(events=store) as system:
        tree = system.supervise([ChildSpec("ledger", Ledger, shutdown_s=30.0)], key="t")
        await trio.sleep(1.0)
        asked = system.ref("t", "ledger").ask("note", timeout=60.0)
        stopped = tree.stop()
        await trio.sleep(20.0)
        assert not stopped.done
        store.away = False
        assert await stopped
        assert asked.done


@pytest.mark.parametrize("before", ["up", "rising"])
async def test_a_sibling_is_restarted_while_a_child_recovers(
    autojump_clock: object, before: str
) -> None:
    diary: list[str] = []
    store = away() if before == "rising" else MemoryEventStore()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back, store)
        async with open_system(events=store) as system:
            tree = system.start(Chief, with_ledger(diary), key="t")
            if before == "up":
                assert await tree.started()
                store.away = True
                system.ref("t", "ledger").tell(LedgerCrash())
            await trio.sleep(10.0)
            system.ref("t", "ann").tell(Crash())
            await settle()
            assert diary.count("ann starts") == 2
            assert await system.ref("t", "ann").ask(Add(1)) == 1
            assert await tree.ask("ledger") == system.ref("t", "ledger")
        nursery.cancel_scope.cancel()


async def test_one_for_all_does_not_wait_for_the_child_that_recovers(
    autojump_clock: object,
) -> None:
    diary: list[str] = []
    store = MemoryEventStore()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back, store)
        async with open_system(events=store) as system:
            tree = system.supervise(with_ledger(diary), "one_for_all", key="t", max_restarts=9)
            assert await tree.started()
            store.away = True
            system.ref("t", "ledger").tell(LedgerCrash())
            await trio.sleep(10.0)
            diary.clear()
            system.ref("t", "ann").tell(Crash("bang"))
            await settle()
            assert diary == ["ann fails: bang", "ann starts"]  # bob's turn is after the ledger's
            store.away = False
            await trio.sleep(10.0)
            assert diary[2:] == ["bob starts"]
        nursery.cancel_scope.cancel()


async def test_a_failure_during_a_back_off_joins_what_is_under_way(autojump_clock: object) -> None:
    diary: list[str] = []
    slow = actors.Backoff(first_s=10.0, max_s=10.0, jitter=0.0)

    def member(name: str) -> ChildSpec:
        return ChildSpec(name, partial(Member, name, diary), backoff=slow)

    async with open_system() as system:
        specs = [member("ann"), member("bob"), member("cid")]
        await system.supervise(
            specs, "rest_for_one", key="t", max_restarts=9, within_s=60.0
        ).started()
        bob, ann = system.ref("t", "bob"), system.ref("t", "ann")
        bob.tell(Crash("1"))
        await settle()
        bob.tell(Crash("2"))  # bob and cid are back in ten seconds
        await trio.sleep(1.0)
        diary.clear()
        ann.tell(Crash("3"))
        await trio.sleep(11.0)
        assert diary == ["ann fails: 3", "ann starts", "bob starts", "cid starts"]


async def test_children_that_fail_at_the_same_moment_count_once_where_all_are_restarted(
    autojump_clock: object,
) -> None:
    diary: list[str] = []
    async with open_system() as system:
        specs = [
            ChildSpec(name, partial(Member, name, diary), backoff=NOW) for name in ("ann", "bob")
        ]
        await system.supervise(specs, "one_for_all", key="t", max_restarts=1).started()
        diary.clear()
        for name in ("ann", "bob"):
            system.ref("t", name).tell(Crash())
        await settle()
        assert diary == ["ann fails: crash", "bob fails: crash", "ann starts", "bob starts"]


async def test_a_temporary_child_is_not_restarted_for_a_siblings_sake_either(
    autojump_clock: object,
) -> None:
    diary: list[str] = []
    async with open_system() as system:
        specs = [
            ChildSpec("ann", partial(Member, "ann", diary), backoff=NOW),
            ChildSpec("bob", partial(Member, "bob", diary), restart="temporary"),
        ]
        await system.supervise(specs, "one_for_all", key="t").started()
        diary.clear()
        system.ref("t", "ann").tell(Crash())
        await settle()
        assert diary == ["ann fails: crash", "bob stops", "ann starts"]
        assert not system.ref("t", "bob").is_alive()


async def test_a_stop_while_siblings_are_halted_ends_them_without_their_deadlines(
    autojump_clock: object,
) -> None:
    class Slow(Counter):
        async def on_stop(self) -> None:
            await trio.sleep(2.0)

    async with open_system() as system:
        probe = Probe(system)
        specs = [ChildSpec("slow", Slow, shutdown_s=50.0), ChildSpec("ann", Counter, backoff=NOW)]
        tree = system.supervise(specs, "one_for_all", key="t")
        await tree.started()
        slow = system.ref("t", "slow")
        probe.watch(slow)
        system.ref("t", "ann").tell(Crash())
        await trio.sleep(1.0)  # the slow one is half-way through its end
        began = system.now()
        await tree.stop()
        assert system.now() - began == pytest.approx(1.0)
        await probe.expect(actors.Terminated(slow, "stopped"))


async def test_hooks_of_an_own_supervisor_do_not_keep_its_children_from_theirs(
    autojump_clock: object,
) -> None:
    diary: list[str] = []

    class Own(actors.Supervisor):
        def on_start(self) -> None:
            diary.append("own starts")

        async def on_stop(self) -> None:
            diary.append("own stops")

    async with open_system() as system:
        own = system.start(Own, [ChildSpec("ann", partial(Member, "ann", diary))], key="o")
        assert await own.started()
    assert diary == ["own starts", "ann starts", "own stops", "ann stops"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["crash", "stop", "nap"]), st.integers(0, 3)),
        st.tuples(st.just("sleep"), st.sampled_from([0.0, 0.2, 1.0, 7.0])),
        st.tuples(st.sampled_from(["away", "back"]), st.just(0)),
    ),
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]), STEPS)
def test_whatever_happens_all_permanent_children_are_there_in_the_end(
    strategy: Strategy, steps: list[tuple[str, Any]]
) -> None:
    async def main() -> None:
        store = MemoryEventStore()
        names = ["ann", "ledger", "bob", "cid"]
        async with open_system(events=store) as system:
            specs = [
                ChildSpec(
                    name,
                    Ledger if name == "ledger" else Counter,
                    restart="permanent",
                    shutdown_s=3.0,
                )
                for name in names
            ]
            tree = system.supervise(specs, strategy, key="t", max_restarts=1000)
            await tree.started()
            for step, value in steps:
                if step == "sleep":
                    await trio.sleep(value)
                elif step in ("away", "back"):
                    store.away = step == "away"
                else:
                    ref = system.ref("t", names[value])
                    message = Crash() if value != 1 else LedgerCrash()
                    if not ref.is_alive():
                        continue
                    if step == "stop":
                        ref.stop()
                    elif step == "crash":
                        ref.tell(message)
                    elif value != 1:
                        ref.tell(Nap(5.0))
            store.away = False
            await trio.sleep(200.0)
            assert tree.is_alive()
            for name in names:
                if name != "ledger":
                    assert await system.ref("t", name).ask(Get()) == 0
                assert system.ref("t", name).is_alive()
            began = system.now()
        assert trio.current_time() - began < 1.0

    run(main)


async def test_a_thread_that_is_stopped_while_it_is_halted_holds_up_no_sibling() -> None:
    gate, taken = threading.Event(), threading.Event()

    class Busy(actors.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            taken.set()
            gate.wait(60)

    specs = [
        ChildSpec("counter", Counter, kind="counter", backoff=NOW),
        ChildSpec("busy", Busy, kind="busy", backoff=NOW, shutdown_s=math.inf),
    ]
    with trio.fail_after(60):
        async with open_system() as system:
            await system.supervise(specs, "one_for_all", key="tree").started()
            busy, counter = system.ref("busy", "busy"), system.ref("counter", "counter")
            busy.tell("be busy")
            await trio.to_thread.run_sync(taken.wait)
            counter.tell(Crash())  # all are halted for it, the thread among them
            await settle()
            busy.stop()
            gate.set()
            assert await counter.ask(Get(), timeout=60) == 0
