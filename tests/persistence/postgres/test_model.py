"""The event store compared with a model of it: a dictionary and a counter."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pykka import ActorRef

from persistence import PostgresSettings
from persistence.postgres import EventReader, EventWriter
from persistence.requests import Activate, AppendEvents, LastSeq, ReadEvents
from tests.persistence.asking import ask, event

KEYS = ("a", "b", "c")


@pytest.fixture
def refs(postgres: PostgresSettings) -> Iterator[tuple[ActorRef[Any], ActorRef[Any]]]:
    writer, reader = EventWriter.start(postgres), EventReader.start(postgres)
    yield writer, reader
    writer.stop()
    reader.stop()


def test_no_sequence_of_appends_and_activations_tells_the_store_from_its_model(
    refs: tuple[ActorRef[Any], ActorRef[Any]],
) -> None:
    writer, reader = refs

    class Log(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.kind = secrets.token_hex(8)
            self.newest: dict[str, int] = defaultdict(int)
            self.rows: dict[str, dict[int, int]] = defaultdict(dict)

        @rule(key=st.sampled_from(KEYS))
        def activate(self, key: str) -> None:
            self.newest[key] += 1
            assert ask(writer, Activate(self.kind, key)) == self.newest[key]

        @rule(
            wanted=st.lists(
                st.tuples(st.sampled_from(KEYS), st.integers(1, 6), st.integers(0, 2)),
                min_size=1,
                max_size=8,
            )
        )
        def append(self, wanted: list[tuple[str, int, int]]) -> None:
            """Append rows of the newest incarnation and of older ones, in any order, also twice."""
            batch = [
                (key, seq, self.newest[key] - age)
                for key, seq, age in wanted
                if self.newest[key] - age >= 1
            ]
            fenced = {
                (key, epoch)
                for key, seq, epoch in batch
                if epoch < self.newest[key] or self.rows[key].get(seq, epoch) != epoch
            }
            answer = ask(writer, AppendEvents([event(self.kind, *row) for row in batch]))
            assert sorted(answer) == sorted({(self.kind, key) for key, _ in fenced})
            for key, seq, epoch in batch:
                if (key, epoch) not in fenced:
                    self.rows[key][seq] = epoch

        @invariant()
        def what_is_held_is_what_was_accepted(self) -> None:
            for key in KEYS:
                held = ask(reader, ReadEvents(self.kind, key, 0, 100))
                assert [(row[2], row[3]) for row in held] == sorted(self.rows[key].items())
                assert ask(reader, LastSeq(self.kind, key)) == max(self.rows[key], default=0)

    run_state_machine_as_test(
        Log,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
