"""The register of nodes in a real PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from pykka import ActorRef

from persistence import PostgresSettings, RowRefused
from persistence.nodes import (
    AdmitNode,
    Announce,
    BuryNode,
    LeaveNode,
    NextGeneration,
    ReadRegister,
    RegisterReport,
    RegisterRow,
    ReportNode,
)
from persistence.postgres import migrate
from persistence.postgres.held import hold_actor
from persistence.postgres.nodes import RegisterWorker
from persistence.requests import StoreCheck
from tests.persistence.asking import ask

Ref = ActorRef[Any]
HOUR_S = 3600.0


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    found = PostgresSettings(url=postgres_url, schema=unique)
    migrate(found)
    return found


@pytest.fixture
def register(settings: PostgresSettings) -> Iterator[Ref]:
    ref = RegisterWorker.start(settings)
    yield ref
    ref.stop()


def admit(register: Ref, name: str) -> str | None:
    incarnation = ask(register, AdmitNode(name, 3, b"{}", "here"))
    return None if incarnation is None else f"{name}.{incarnation}"


def report(
    register: Ref,
    node: str,
    valkey_s: float = 0.0,
    *,
    doubtful: bool = False,
    witness: bool = True,
) -> RegisterReport:
    found = ask(register, ReportNode(node, 4, valkey_s, doubtful, 60.0, witness))
    assert isinstance(found, RegisterReport)
    return found


def test_a_name_has_one_living_node_and_an_incarnation_never_comes_again(register: Ref) -> None:
    assert admit(register, "a") == "a.1"
    assert admit(register, "a") is None
    assert admit(register, "b") == "b.2"
    assert ask(register, BuryNode("a.1", "b.2", "it was not heard", HOUR_S)) is None  # new
    assert ask(register, BuryNode("a.1", "b.2", "it was not heard", 0.0)) == 3
    assert ask(register, BuryNode("a.1", "b.2", "it was not heard", 0.0)) is None
    assert admit(register, "a") == "a.3"
    version, newest, nodes, _ = ask(register, ReadRegister())
    assert (version, newest) == (4, 3)
    assert sorted(row._replace(renewed_s=0.0) for row in nodes) == [
        RegisterRow("a.3", "a", 3, False, 0.0, b"{}", "here"),
        RegisterRow("b.2", "b", 3, False, 0.0, b"{}", "here"),
    ]


def test_of_two_who_ask_at_once_for_a_name_one_gets_it(settings: PostgresSettings) -> None:
    workers = [RegisterWorker.start(settings) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda worker: admit(worker, "a"), workers))
    assert sorted(found, key=str) == [None, None, None, "a.1"]
    for worker in workers:
        worker.stop()


def test_an_empty_register_has_a_version(register: Ref) -> None:
    assert ask(register, ReadRegister()) == (0, 0, [], [])


def test_a_buried_node_hears_why_and_one_of_whom_nothing_is_known_too(register: Ref) -> None:
    admit(register, "a")
    assert report(register, "a.1") == (None, False, 1)
    ask(register, BuryNode("a.1", "", "it was not heard", 0.0))
    assert report(register, "a.1", doubtful=True) == ("it was not heard", False, 2)
    assert report(register, "z.9").buried == "the register does not know it"


def test_who_was_buried_buries_nobody(register: Ref) -> None:
    admit(register, "a"), admit(register, "b")
    assert ask(register, BuryNode("b.2", "a.1", "", 0.0)) == 3
    assert ask(register, BuryNode("a.1", "b.2", "", 0.0)) is None


def test_one_in_doubt_is_excused_unless_valkey_answers_another(
    register: Ref, settings: PostgresSettings
) -> None:
    admit(register, "a"), admit(register, "b")
    assert not report(register, "a.1", 10.0, doubtful=True).excused  # b.2 has just joined
    forget_answers(settings)
    report(register, "b.2", 59.0)
    assert not report(register, "a.1", math.inf, doubtful=True).excused
    forget_answers(settings)
    report(register, "b.2", 61.0)
    assert report(register, "a.1", math.inf, doubtful=True).excused
    assert not report(register, "a.1", math.inf).excused
    assert ask(register, BuryNode("a.1", "b.2", "", HOUR_S)) is None
    rows = {row.id: row for row in ask(register, ReadRegister()).nodes}
    assert (rows["a.1"].generation, rows["b.2"].generation) == (4, 4)
    assert 0 <= rows["a.1"].renewed_s < 60 < rows["b.2"].renewed_s < HOUR_S
    assert ask(register, BuryNode("b.2", "a.1", "", HOUR_S)) is None  # Valkey had answered it
    assert ask(register, BuryNode("a.1", "b.2", "", 0.0)) == 3  # its excuse is older than that


def test_one_that_is_no_witness_keeps_nobody_from_being_excused(register: Ref) -> None:
    admit(register, "a"), admit(register, "b"), admit(register, "c")
    report(register, "c.3", witness=False)
    assert not report(register, "a.1", 10.0, doubtful=True, witness=False).excused  # b.2 is one
    report(register, "b.2", witness=False)
    assert report(register, "a.1", 10.0, doubtful=True, witness=False).excused
    report(register, "c.3")
    assert not report(register, "a.1", 10.0, doubtful=True, witness=False).excused


def test_a_node_of_the_version_before_reports_in_its_words_and_is_a_witness(
    register: Ref, settings: PostgresSettings
) -> None:
    admit(register, "old"), admit(register, "new")
    report(register, "old.1", witness=False)
    with psycopg.connect(settings.url) as connection:
        reported = f"SELECT * FROM {settings.schema}.report_node('old.1', 4, 0.0, false, 60.0)"
        assert connection.execute(reported).fetchall() == [(None, False, 2)]
    assert not report(register, "new.2", 10.0, doubtful=True).excused


def forget_answers(settings: PostgresSettings) -> None:
    """Make it look as if Valkey had answered nobody for long."""
    with psycopg.connect(settings.url) as connection:
        connection.execute(f"UPDATE {settings.schema}.nodes SET valkey_at = '2000-01-01'")


def test_a_dead_node_that_valkey_had_answered_is_nobody(register: Ref) -> None:
    admit(register, "a"), admit(register, "b")
    ask(register, BuryNode("b.2", "a.1", "", 0.0))
    assert report(register, "a.1", 10.0, doubtful=True).excused


def test_who_leaves_says_so_before_and_is_gone_after(register: Ref) -> None:
    admit(register, "a")
    assert ask(register, LeaveNode("a.1", over=False)) == 2
    assert [row.leaving for row in ask(register, ReadRegister()).nodes] == [True]
    assert ask(register, LeaveNode("a.1", over=True)) == 3
    assert ask(register, ReadRegister()) == (3, 1, [], [])
    assert ask(register, LeaveNode("a.1", over=True)) == 3
    assert report(register, "a.1").buried == "it has left"


def test_what_was_buried_long_ago_is_forgotten(register: Ref, settings: PostgresSettings) -> None:
    admit(register, "a")
    ask(register, LeaveNode("a.1", over=True))
    with psycopg.connect(settings.url) as connection:
        connection.execute(
            f"UPDATE {settings.schema}.nodes SET buried_at = now() - interval '2 days'"
        )
    assert admit(register, "a") == "a.2"
    assert report(register, "a.1").buried == "the register does not know it"


def test_generations_grow_whatever_their_schema_is_called(register: Ref) -> None:
    first, second = ask(register, NextGeneration()), ask(register, NextGeneration())
    assert first < second
    assert ask(register, StoreCheck()) is None
    with pytest.raises(RowRefused, match="not for the register"):
        ask(register, Announce(1, []))


def test_the_view_has_the_actors_that_are_held_and_a_hold_makes_a_new_view(
    register: Ref, settings: PostgresSettings
) -> None:
    admit(register, "a")
    hold_actor(settings, "match", "1", node="a", first_s=HOUR_S)
    hold_actor(settings, "match", "2", node="a", first_s=0.0)
    version, _, _, held = ask(register, ReadRegister())
    assert version == 3
    assert [(one.kind, one.key) for one in held] == [("match", "1")]
    assert 0 < held[0].left_s <= HOUR_S
