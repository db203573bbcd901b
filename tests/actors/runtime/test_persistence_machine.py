"""A persistent actor compared with a model: failing stores, crashes, rivals, in any order."""

from __future__ import annotations

import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import actors

from .persistent import Add, Crash, Get, Ledger, Rest, Stores, Value

STEP = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.004, 0.2, 6.0])),
    st.tuples(st.sampled_from(["fail", "lose", "snapshots fail"]), st.integers(1, 3)),
    st.tuples(st.sampled_from(["crash", "rest", "rival", "restart", "tear"]), st.just(0)),
)


NAMED = (actors.Fenced, actors.JournalClosed, actors.StoreBusy, actors.ActorDeadError)


class Patient(Ledger):
    """A ledger that is restarted at once, however often it fails."""

    snapshot_interval_s = 1.0


class Model:
    """What was asked, and what was answered."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.asked: list[tuple[int, actors.Future[int]]] = []
        self.next = 1

    def add(self, system: actors.ActorSystem, count: int) -> None:
        ref = system.ref("ledger", "a")
        for _ in range(count):
            self.asked.append((self.next, ref.ask(Add(self.next), timeout=1000)))
            self.next += 1

    async def life(self, steps: list[tuple[str, float]], *, with_snapshots: bool) -> int:
        """Run steps until one ends the system; returns how many were run."""
        events, snapshots = self.stores.events, self.stores.snapshots
        async with self.stores.system(
            Patient, with_snapshots=with_snapshots, max_restarts=1000
        ) as system:
            ref = system.ref("ledger", "a")
            for number, (step, value) in enumerate(steps, start=1):
                if step == "restart":
                    return number
                if step == "add":
                    self.add(system, int(value))
                elif step == "wait":
                    await trio.sleep(value)
                elif step == "fail":
                    events.fail_next += int(value)
                elif step == "lose":
                    events.lose_next += int(value)
                elif step == "snapshots fail":
                    snapshots.fail_next += int(value)
                elif step == "crash":
                    ref.tell(Crash())
                elif step == "rest":
                    ref.tell(Rest())
                elif step == "rival":
                    events.epochs["ledger", "a"] += 1
                elif step == "tear" and ("ledger", "a") in snapshots.rows:
                    torn = snapshots.rows["ledger", "a"]
                    snapshots.rows["ledger", "a"] = (*torn[:5], torn[5][:-1])
        return len(steps)

    def check(self, after: Value) -> None:
        log = self.stores.events.rows("ledger", "a")
        assert [row[2] for row in log] == list(range(1, len(log) + 1))
        assert after.seq == len(log)
        acknowledged: list[int] = []
        refused: list[int] = []
        for number, future in self.asked:
            assert future.done
            (acknowledged if future.exception() is None else refused).append(number)
        # What was acknowledged is there, once and in the order in which it was asked. What was
        # refused need not be: of some, as of a store's lost answers, nobody knows.
        assert after.history == sorted(set(after.history))
        assert [number for number in after.history if number not in refused] == acknowledged
        for number, future in self.asked:
            if number in refused:
                assert isinstance(future.exception(), NAMED)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(STEP, max_size=25),
    delay_s=st.sampled_from([0.0, 0.003, 0.1]),
    with_snapshots=st.booleans(),
)
def test_an_actor_is_where_its_log_is_and_answers_are_true_whatever_happens(
    steps: list[tuple[str, float]], delay_s: float, with_snapshots: bool
) -> None:
    async def scenario() -> None:
        stores = Stores()
        stores.events.delay_s = stores.snapshots.delay_s = delay_s
        model = Model(stores)
        left = steps
        while left:
            left = left[await model.life(left, with_snapshots=with_snapshots) :]
        stores.events.fail_next = stores.events.lose_next = 0
        by_snapshot = await look(stores, with_snapshots=with_snapshots)
        model.check(by_snapshot)
        from_events = await look(stores, with_snapshots=False)
        assert from_events.history == by_snapshot.history
        assert from_events.seq == by_snapshot.seq

    with structlog.testing.capture_logs():
        trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


async def look(stores: Stores, *, with_snapshots: bool) -> Value:
    async with stores.system(with_snapshots=with_snapshots) as system:
        value: Value = await system.ref("ledger", "a").ask(Get())
        return value
