"""Schedules compared with a model: two schedulers, a clock, and targets that come and go."""

from __future__ import annotations

import secrets
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from persistence import PostgresSettings, ScheduleSettings, TooManySchedules
from persistence.postgres import migrate
from persistence.postgres.connection import connect
from persistence.schedules import Claimed, Settled
from persistence.schedules.requests import (
    CancelSchedule,
    ClaimSchedules,
    MoveSchedule,
    SetSchedule,
    SettleSchedules,
    new_id,
)
from tests.persistence.schedules.in_loop import START_US, InLoop

KEYS = ("a", "b")
NAMES = ("w", "x", "y", "z")
MOST = 3
CLAIM_US = 20
LIMITS = ScheduleSettings(of_target=MOST)


class Row(NamedTuple):
    """What the model knows of one schedule."""

    id: int
    due_us: int
    next_us: int
    attempts: int
    payload: bytes


@pytest.fixture
def schema(postgres_url: str, unique: str) -> PostgresSettings:
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings)
    return settings


def test_no_sequence_of_what_one_can_do_tells_the_table_from_its_model(
    schema: PostgresSettings,
) -> None:
    class Table(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            with connect(schema) as connection:
                connection.execute(f"TRUNCATE {schema.schema}.schedules")
            self.now_us = START_US
            self.rows: dict[tuple[str, str], Row] = {}
            self.flying: list[Claimed] = []
            self.acknowledged: set[int] = set()
            self.schedulers = [InLoop(schema, LIMITS, lambda: self.now_us) for _ in range(2)]

        def teardown(self) -> None:
            for scheduler in self.schedulers:
                scheduler.close()

        @rule(
            key=st.sampled_from(KEYS),
            name=st.sampled_from(NAMES),
            at=st.integers(-5, 40),
            after=st.booleans(),
        )
        def set(self, key: str, name: str, at: int, after: bool) -> None:
            id_, due_us = new_id(), self.now_us + at
            payload = secrets.token_bytes(2)
            at_us, after_us = (None, at) if after else (due_us, None)
            answer = self.schedulers[0].answer(
                SetSchedule("k", key, name, id_, at_us, after_us, payload)
            )
            others = [one for one in self.rows if one[0] == key and one[1] != name]
            if (key, name) not in self.rows and len(others) >= MOST:
                assert isinstance(answer, TooManySchedules)
                return
            assert answer == due_us
            self.rows[key, name] = Row(id_, due_us, due_us, 0, payload)

        @rule(key=st.sampled_from(KEYS), name=st.sampled_from(NAMES), at=st.integers(-5, 40))
        def move(self, key: str, name: str, at: int) -> None:
            id_, due_us = new_id(), self.now_us + at
            answer = self.schedulers[1].answer(MoveSchedule("k", key, name, id_, due_us, None))
            row = self.rows.get((key, name))
            assert answer == (None if row is None else due_us)
            if row is not None:
                self.rows[key, name] = Row(id_, due_us, due_us, 0, row.payload)

        @rule(key=st.sampled_from(KEYS), name=st.sampled_from(NAMES))
        def cancel(self, key: str, name: str) -> None:
            there = self.schedulers[0].answer(CancelSchedule("k", key, name, None))
            assert there == (self.rows.pop((key, name), None) is not None)

        @rule(us=st.integers(1, 30))
        def time_passes(self, us: int) -> None:
            self.now_us += us

        @rule(which=st.integers(0, 1), room=st.integers(0, 4))
        def look(self, which: int, room: int) -> None:
            found = self.schedulers[which].answer(ClaimSchedules(room, CLAIM_US))
            due = sorted(row.next_us for row in self.rows.values() if row.next_us <= self.now_us)
            assert len(found.rows) == min(room, len(due))
            taken = []
            for claimed in found.rows:
                row = self.rows[claimed.key, claimed.name]
                taken.append(row.next_us)
                assert claimed == Claimed(
                    "k", claimed.key, claimed.name, row.id, row.due_us, row.attempts + 1,
                    row.payload,
                )  # fmt: skip
                assert row.due_us <= self.now_us, "nothing is early"
                assert row.id not in self.acknowledged, "what is acknowledged never comes again"
                self.rows[claimed.key, claimed.name] = row._replace(
                    next_us=self.now_us + CLAIM_US, attempts=row.attempts + 1
                )
                self.flying.append(claimed)
            assert sorted(taken) == due[: len(taken)], "those that have waited longest are first"
            later = min((row.next_us for row in self.rows.values()), default=None)
            assert (found.now_us, found.later_us) == (self.now_us, later)

        @precondition(lambda self: self.flying)
        @rule(data=st.data(), wait=st.none() | st.integers(0, 30), kept=st.booleans())
        def answered(self, data: st.DataObject, wait: int | None, kept: bool) -> None:
            """Some targets answer, however late; those of the others are lost in a crash."""
            some = data.draw(st.lists(st.sampled_from(self.flying), min_size=1, unique=True))
            self.flying = [claimed for claimed in self.flying if claimed not in some]
            settled = [Settled(claimed, wait, kept) for claimed in some]
            assert self.schedulers[0].answer(SettleSchedules(settled)) == []
            for claimed in some:
                place = (claimed.key, claimed.name)
                row = self.rows.get(place)
                if wait is None:
                    self.acknowledged.add(claimed.id)
                if row is None or row.id != claimed.id:
                    continue
                if wait is None:
                    del self.rows[place]
                elif row.attempts == claimed.attempt:
                    attempts = row.attempts - 1 if kept else row.attempts
                    self.rows[place] = row._replace(next_us=self.now_us + wait, attempts=attempts)

        @rule()
        def crash(self) -> None:
            """Crash a scheduler: nobody knows any more what it was delivering."""
            self.flying = []

        @invariant()
        def the_table_holds_what_the_model_does(self) -> None:
            with connect(schema) as connection:
                rows = connection.execute(
                    "SELECT key, name, id, due_us, next_us, attempts, payload"
                    f" FROM {schema.schema}.schedules"
                ).fetchall()
            assert {(row[0], row[1]): Row(*row[2:]) for row in rows} == self.rows

    run_state_machine_as_test(
        Table,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
