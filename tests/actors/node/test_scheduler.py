"""Durable schedules as their targets get them: the real PostgreSQL, and trio's mock clock."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from actors.facts import Facts
from actors.node.scheduler import (
    CLAIM_S,
    SETTLE_S,
    STORE_RETRY_S,
    Bell,
    Fired,
    ScheduleCounters,
    scheduler_spec,
    wait_s,
)
from actors.runtime.actor import Actor
from actors.runtime.child import ChildSpec
from actors.runtime.errors import Refusal
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.system import ActorSystem
from actors.runtime.testing import advance, open_system, run, settle
from persistence import PostgresSettings, ScheduleSettings
from persistence.commands import CommandKind, CommandTable, CommandWorker
from persistence.postgres import migrate
from persistence.postgres.connection import connect
from persistence.schedules import ScheduleStore, ScheduleWorker
from persistence.schedules.requests import ClaimSchedules, SettleSchedules
from tests.conftest import Stores
from tests.persistence.schedules.in_loop import START_US, InLoop

S = 1_000_000
SETTINGS = ScheduleSettings(
    first_retry_s=1.0, max_retry_s=8.0, max_attempts=4, in_flight=10, look_every_s=5.0
)


@pytest.fixture
def postgres(postgres_url: str, unique: str) -> PostgresSettings:
    """A schema of its own: what is due is a matter of the whole table."""
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings)
    return settings


class World:
    """A system with a scheduler, and targets that note what comes and answer as they are told."""

    def __init__(self, system: ActorSystem, postgres: PostgresSettings) -> None:
        self.system = system
        self.postgres = postgres
        self.worker = InLoop(postgres, SETTINGS)
        self.bell = Bell()
        self.counters = ScheduleCounters()
        self.schedules = ScheduleStore(self.worker, SETTINGS, self.bell.ring)
        self.came: list[tuple[float, str, Fired]] = []
        self.respond: Callable[[str, Fired], Any] = lambda _key, _fired: None
        self._began_s = trio.current_time()
        system.register(Kind("target", lambda key: Target(self, key)))

    @property
    def now_s(self) -> float:
        """Seconds since the test began."""
        return round(trio.current_time() - self._began_s, 6)

    @property
    def names(self) -> list[str]:
        return [fired.name for _, _, fired in self.came]

    @property
    def times(self) -> list[float]:
        return [at for at, _, _ in self.came]

    def supervise(self) -> None:
        spec = scheduler_spec(self.schedules, SETTINGS, self.bell, self.counters)
        self.system.supervise([spec], key="scheduler")

    def rows(self) -> int:
        with connect(self.postgres) as connection:
            query = f"SELECT count(*) FROM {self.postgres.schema}.schedules"
            return int((connection.execute(query).fetchone() or (0,))[0])


class Target(Actor):
    def __init__(self, world: World, key: str) -> None:
        super().__init__()
        self._world = world
        self._key = key

    @handles(Fired)
    async def fired(self, message: Fired) -> None:
        world = self._world
        world.came.append((world.now_s, self._key, message))
        answer = world.respond(self._key, message)
        if isinstance(answer, Awaitable):
            await answer


@asynccontextmanager
async def world(postgres: PostgresSettings, *, scheduler: bool = True) -> AsyncIterator[World]:
    async with open_system() as system:
        made = World(system, postgres)
        if scheduler:
            made.supervise()
            await settle()
        try:
            yield made
        finally:
            await system.stop()
            made.worker.close()


async def test_a_schedule_comes_at_its_time_once(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:
        id_ = await here.schedules.set("target", "1", "end", b"draw", after_s=7.25)
        await advance(7.249)
        assert here.came == []
        await advance(0.001)
        due_us = START_US + round(7.25 * S)
        assert here.came == [(7.25, "1", Fired(id_, "end", b"draw", due_us, 1))]
        await advance(1000.0)
        assert len(here.came) == 1
        assert here.rows() == 0
        assert here.counters.acknowledged == 1
        assert here.counters.late_s == 0.0


async def test_what_was_due_while_no_server_was_up_comes_at_once(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    """They are more than can be in flight, and come in the order in which they were due."""
    async with world(postgres, scheduler=False) as here:
        for n in range(25):
            await here.schedules.set("target", "1", str(n), after_s=1.0 + n)
        await here.schedules.set("target", "1", "later", after_s=2000.0)
        await advance(1000.0)
        here.supervise()
        await settle()
        await advance(0.0)
        assert here.names == [str(n) for n in range(25)]
        assert set(here.times) == {1000.0}
        assert here.counters.late_s > 900
        await advance(1000.0)
        assert (here.names[-1], here.times[-1]) == ("later", 2000.0)


async def test_one_that_is_set_to_an_earlier_time_than_all_others_wakes_the_scheduler(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:
        await here.schedules.set("target", "1", "late", after_s=4.0)
        await advance(1.0)
        await here.schedules.set("target", "1", "soon", after_s=0.5)
        await here.schedules.set("target", "1", "at once", at_us=0)
        await advance(10.0)
        assert list(zip(here.names, here.times, strict=True)) == [
            ("at once", 1.0),
            ("soon", 1.5),
            ("late", 4.0),
        ]


async def test_moved_it_comes_then_and_cancelled_never(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:
        for name in ("sooner", "later", "gone"):
            await here.schedules.set("target", "1", name, after_s=10.0)
        sooner = await here.schedules.move("target", "1", "sooner", after_s=2.0)
        await here.schedules.move("target", "1", "later", after_s=20.0)
        assert await here.schedules.cancel("target", "1", "gone")
        await advance(100.0)
        assert list(zip(here.names, here.times, strict=True)) == [("sooner", 2.0), ("later", 20.0)]
        assert here.came[0][2].id == sooner


async def test_one_that_nobody_told_the_scheduler_of_is_found_within_a_look(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    """Another node may have set it, and died."""
    async with world(postgres) as here:
        await ScheduleStore(here.worker, SETTINGS).set("target", "1", "end", after_s=0.5)
        await advance(100.0)
        assert here.times == [5.0]


async def test_waiting_costs_a_look_every_five_seconds_and_no_more(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:
        for n in range(20):
            await here.schedules.set("target", str(n), "end", after_s=1000.0 + n)
        here.worker.asked.clear()
        await advance(100.0)
        assert Counter(map(type, here.worker.asked)) == {ClaimSchedules: 20}


async def test_a_target_that_refuses_gets_it_again_with_growing_pauses_until_it_is_given_up(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    def refuse(key: str, fired: Fired) -> None:
        raise Refusal("not now")

    async with world(postgres) as here:
        here.respond = refuse
        id_ = await here.schedules.set("target", "1", "end", after_s=1.0)
        await advance(1000.0)
        assert [fired.attempt for _, _, fired in here.came] == [1, 2, 3, 4]
        assert {fired.id for _, _, fired in here.came} == {id_}
        pauses = [after - before for before, after in zip(here.times, here.times[1:], strict=False)]
        for pause, full in zip(pauses, (1.0, 2.0, 4.0), strict=True):
            assert full / 2 <= pause <= full + SETTLE_S + 0.001
        assert (here.counters.failed, here.counters.given_up) == (4, 1)
        assert here.rows() == 0


async def test_a_target_that_crashes_gets_it_again_when_it_is_back(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    def crash_once(key: str, fired: Fired) -> None:
        if fired.attempt == 1:
            raise ZeroDivisionError

    async with world(postgres) as here:
        here.respond = crash_once
        await here.schedules.set("target", "1", "end", after_s=1.0)
        await advance(100.0)
        assert [fired.attempt for _, _, fired in here.came] == [1, 2]
        assert here.counters.acknowledged == 1


async def test_one_that_hangs_keeps_no_other_from_its_time(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:
        here.respond = lambda key, _fired: trio.sleep(25.0) if key == "slow" else None
        await here.schedules.set("target", "slow", "end", after_s=1.0)
        for n in range(10):
            await here.schedules.set("target", "quick", str(n), after_s=1.0 + n)
        await advance(100.0)
        quick = [at for at, key, _ in here.came if key == "quick"]
        assert quick == [1.0 + n for n in range(10)]
        assert here.counters.given_up == 1


async def test_a_target_may_set_its_own_schedule_anew_when_it_fires(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:

        async def again(fired: Fired) -> None:
            next_us = fired.due_us + 10 * S
            await here.schedules.set("target", "1", "daily", at_us=next_us)

        here.respond = lambda _key, fired: again(fired)
        await here.schedules.set("target", "1", "daily", after_s=10.0)
        await advance(35.0)
        assert here.times == [10.0, 20.0, 30.0]
        assert here.rows() == 1
        assert len({fired.id for _, _, fired in here.came}) == 3


async def test_what_a_crashed_scheduler_was_delivering_comes_again_with_the_same_id(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    """Its answer was heard by nobody. The claim lapses, and the attempt says that it is another."""
    async with world(postgres, scheduler=False) as here:
        id_ = await here.schedules.set("target", "1", "end", after_s=1.0)
        await advance(1.0)
        claim_s = SETTINGS.answer_timeout_s + CLAIM_S
        assert len((await here.schedules.claim(10, claim_s)).rows) == 1
        here.supervise()
        await advance(claim_s - 0.001)
        assert here.came == []
        await advance(0.001)
        assert [(fired.id, fired.attempt) for _, _, fired in here.came] == [(id_, 2)]


async def test_while_the_store_is_away_what_was_acknowledged_is_not_forgotten(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:

        async def goes_away() -> None:
            here.worker.away = True
            await trio.sleep(2.0)

        here.respond = lambda key, _fired: goes_away() if key == "1" else None
        await here.schedules.set("target", "1", "end", after_s=1.0)
        await here.schedules.set("target", "2", "end", after_s=6.0)
        await advance(60.0)
        assert here.rows() == 2
        assert here.counters.failed_looks > 10
        here.worker.away = False
        await advance(STORE_RETRY_S)
        await settle()
        assert here.rows() == 0
        assert [(key, fired.attempt) for _, key, fired in here.came] == [("1", 1), ("2", 1)]


async def test_a_stop_waits_for_what_is_being_delivered_and_gives_back_the_rest(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    answers = {"quick": 1.0, "slow": 8.0}
    async with world(postgres) as here:
        here.respond = lambda key, _fired: trio.sleep(answers[key])
        for key in answers:
            await here.schedules.set("target", key, "end", after_s=1.0)
        await advance(1.5)
        await here.system.stop()
        left = await here.schedules.claim(10, 10.0)
        assert [(row.key, row.attempt) for row in left.rows] == [("slow", 1)]


async def test_schedules_of_a_kind_that_is_not_here_wait_until_it_is(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    """The service of such a kind may have been taken out. Its schedules are not given up."""
    async with world(postgres) as here:
        await here.schedules.set("other", "1", "end", after_s=1.0)
        await advance(1000.0)
        assert here.counters.homeless > SETTINGS.max_attempts
        here.system.register(Kind("other", lambda key: Target(here, key)))
        await advance(SETTINGS.max_retry_s)
        assert [fired.attempt for _, _, fired in here.came] == [1]
        assert here.rows() == 0


async def test_a_row_that_a_command_works_on_comes_as_soon_as_it_is_free(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:
        await here.schedules.set("target", "1", "end", after_s=1.0)
        with connect(here.postgres) as other, other.transaction():
            other.execute(f"SELECT FROM {postgres.schema}.schedules FOR UPDATE")
            await here.schedules.set("target", "2", "end", after_s=2.0)
            await advance(3.0)
            assert here.times == [2.0], "nobody else waits for it"
        await advance(0.06)
        assert [key for _, key, _ in here.came] == ["2", "1"]


async def test_what_cannot_be_settled_yet_is_settled_later(
    postgres: PostgresSettings, autojump_clock: object
) -> None:
    async with world(postgres) as here:
        await here.schedules.set("target", "1", "end", after_s=1.0)
        other = connect(here.postgres)

        async def lock() -> None:
            other.execute("BEGIN")
            other.execute(f"SELECT FROM {postgres.schema}.schedules FOR UPDATE")

        here.respond = lambda _key, _fired: lock()
        await advance(2.0)
        assert here.rows() == 1
        other.execute("COMMIT")
        other.close()
        await advance(0.06)
        assert here.rows() == 0
        assert SettleSchedules in map(type, here.worker.asked)


class Begin(msgspec.Struct, frozen=True):
    """A command that has a target told in a moment."""

    key: str


async def test_a_command_of_another_thread_is_heard_of_and_comes_on_time_by_postgresqls_clock(
    postgres: PostgresSettings,
) -> None:
    """Threads, clocks and commits are a server's, where the scheduler looks only when told to."""
    settings = ScheduleSettings(look_every_s=3600.0)
    bell = Bell()
    began = CommandKind(
        service="cup", name="begin", command=Begin,
        run=lambda tx, command: tx.schedules.set("target", command.key, "start", after_s=0.05),
    )  # fmt: skip
    worker = partial(CommandWorker, postgres, CommandTable([began]), scheduled=bell.ring)
    came: dict[str, int] = {}
    all_came = trio.Event()

    class Clocked(Actor):
        @handles(Fired)
        def fired(self, message: Fired) -> None:
            came[self.actor_ref.key] = time.time_ns() // 1000 - message.due_us
            if len(came) == 10:
                all_came.set()

    with trio.fail_after(60):
        async with open_system() as system:
            specs = [
                ChildSpec(id="schedules", factory=partial(ScheduleWorker, postgres, settings)),
                ChildSpec(id="commands", factory=worker),
            ]
            await system.supervise(specs, key="stores").started()
            schedules = ScheduleStore(system.ref("stores", "schedules"), settings, bell.ring)
            system.register(Kind("target", lambda _: Clocked()))
            counters = ScheduleCounters()
            system.supervise([scheduler_spec(schedules, settings, bell, counters)], key="scheduler")
            commands = Facts([system.ref("stores", "commands")], [], timeout_s=10.0)
            for n in range(5):
                await commands.execute(Begin(str(n)), user="")
            for n in range(5, 10):
                await schedules.set("target", str(n), "start", after_s=0.05)
            await all_came.wait()
    assert min(came.values()) >= 0, "PostgreSQL is of this machine, so that its clock is ours"
    assert counters.delivered == 10


def test_the_wait_is_until_what_is_next_and_never_longer_than_a_look() -> None:
    assert wait_s(0, None, 5.0) == 5.0
    assert wait_s(10, 10 + S, 5.0) == 1.0
    assert wait_s(10, 10 + 9 * S, 5.0) == 5.0
    assert 0 < wait_s(10, 10, 5.0) < 1.0, "somebody works on it"


NAMES = ("a", "b", "c")
SETTLED_S = 1 / 16
"""More than `SETTLE_S`, and exact as a float and in microseconds."""


@hypothesis_settings(max_examples=25)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.sampled_from(NAMES), st.integers(0, 20)),
            st.tuples(st.just("move"), st.sampled_from(NAMES), st.integers(0, 20)),
            st.tuples(st.just("cancel"), st.sampled_from(NAMES), st.just(0)),
            st.tuples(st.just("pass"), st.just(""), st.integers(1, 10)),
            st.tuples(st.just("away"), st.just(""), st.integers(1, 3)),
        ),
        max_size=25,
    ),
    st.sets(st.integers(0, 30)),
)
@example(steps=[("pass", "", 2), ("set", "a", 3), ("away", "", 3), ("move", "a", 0)], refused=set())
def test_whatever_is_set_moved_and_cancelled_each_setting_comes_once_at_its_time(
    stores: Stores, steps: list[tuple[str, str, int]], refused: set[int]
) -> None:
    """Some deliveries are refused at first, and come again; the store is away at times."""
    schema = PostgresSettings(url=stores.postgres_url, schema="scheduler_property")
    migrate(schema)

    async def go() -> None:
        with connect(schema) as connection:
            connection.execute("TRUNCATE scheduler_property.schedules")
        async with world(schema) as here:
            waiting: dict[str, tuple[int, float]] = {}
            acknowledged: Counter[int] = Counter()
            away_s: list[float] = []
            wrong: list[str] = []  # a handler that raises is tried again

            def respond(_key: str, fired: Fired) -> None:
                id_, due_s = waiting.get(fired.name, (0, 0.0))
                late_s = here.now_s - due_s
                excused = any(at <= here.now_s <= at + 3 + STORE_RETRY_S for at in away_s)
                in_time = fired.attempt > 1 or 0 <= late_s < 0.001 or (late_s > 0 and excused)
                if fired.id != id_ or not in_time:
                    wrong.append(f"{fired} at {here.now_s}, of {id_} at {due_s}")
                if fired.attempt == 1 and len(here.came) in refused:
                    raise Refusal("not now")
                waiting.pop(fired.name, None)
                acknowledged[fired.id] += 1

            here.respond = respond
            for what, name, number in steps:
                if what == "set":
                    due_s = here.now_s + number + 0.5
                    id_ = await here.schedules.set("target", "1", name, after_s=number + 0.5)
                    waiting[name] = (id_, due_s)
                elif what == "move":
                    moved = await here.schedules.move("target", "1", name, after_s=number + 0.5)
                    assert (moved is not None) == (name in waiting)
                    if moved is not None:
                        waiting[name] = (moved, here.now_s + number + 0.5)
                elif what == "cancel":
                    there = await here.schedules.cancel("target", "1", name)
                    assert there == (name in waiting)
                    waiting.pop(name, None)
                elif what == "pass":
                    await advance(number)
                else:
                    away_s.append(here.now_s)
                    here.worker.away = True
                    await advance(number)
                    here.worker.away = False
                    # The next look may deliver, and settles what was answered a moment later.
                    await advance(STORE_RETRY_S + SETTLED_S)
            await advance(100.0)
            assert wrong == []
            assert waiting == {}
            assert set(acknowledged.values()) <= {1}
            assert here.rows() == 0

    run(go)
