"""Commands that set, move and cancel schedules do so with their transaction, or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pykka
import pytest

from persistence import PostgresSettings, RowRefused, ScheduleSettings, TooManySchedules
from persistence.commands import CommandKind, CommandTable, CommandWorker, Execute, Transaction
from persistence.postgres import migrate
from persistence.postgres.connection import connect

Ref = pykka.ActorRef[Any]
S = 1_000_000


class Refused(Exception):  # noqa: N818
    """The refusal of a service."""


class Begin(msgspec.Struct, frozen=True):
    """A command that makes schedules, and then perhaps refuses."""

    names: list[str]
    at_us: int
    refuse: bool = False
    payload: bytes = b""


class Move(msgspec.Struct, frozen=True):
    name: str
    at_us: int


class Act(msgspec.Struct, frozen=True):
    """A command that the target of a `Fired` runs.

    It acts once, however often the `Fired` comes.
    """

    name: str
    id: int


class Ids(msgspec.Struct, frozen=True):
    ids: list[int]


def _begin(tx: Transaction, command: Begin) -> Ids:
    ids = [
        tx.schedules.set("cup", "1", name, command.payload, at_us=command.at_us + place)
        for place, name in enumerate(command.names)
    ]
    if command.refuse:
        raise Refused
    return Ids(ids)


def _move(tx: Transaction, command: Move) -> Ids:
    id_ = tx.schedules.move("cup", "1", command.name, at_us=command.at_us)
    return Ids([] if id_ is None else [id_])


def _act(tx: Transaction, command: Act) -> Ids:
    if not tx.schedules.cancel("cup", "1", command.name, id=command.id):
        raise Refused
    tx.emit("cup", "1", "acted", b"")
    return Ids([command.id])


TABLE = CommandTable(
    [
        CommandKind(service="cup", name="begin", command=Begin, answer=Ids, run=_begin),
        CommandKind(service="cup", name="move", command=Move, answer=Ids, run=_move),
        CommandKind(service="cup", name="act", command=Act, answer=Ids, run=_act),
    ],
    refusals=(Refused,),
)


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings)
    return settings


@pytest.fixture
def heard() -> list[int]:
    return []


@pytest.fixture
def commands(settings: PostgresSettings, heard: list[int]) -> Iterator[Ref]:
    limits = ScheduleSettings(of_target=3, payload_bytes=10)
    ref: Ref = CommandWorker.start(settings, TABLE, schedules=limits, scheduled=heard.append)
    yield ref
    ref.stop()


def ask(ref: Ref, command: msgspec.Struct, key: str | None = None) -> Any:
    done: Any = ref.ask(Execute(command, "ada", key, time.monotonic() + 60), timeout=60)
    return done.answer


def waiting(settings: PostgresSettings) -> dict[str, tuple[int, int]]:
    """Return the id and the due time of each schedule, by name."""
    with connect(settings) as connection:
        query = f"SELECT name, id, due_us FROM {settings.schema}.schedules"
        return {name: (id_, due_us) for name, id_, due_us in connection.execute(query)}


def test_what_a_command_schedules_is_there_when_it_is_answered_and_the_scheduler_hears_of_it(
    commands: Ref, settings: PostgresSettings, heard: list[int]
) -> None:
    ids = ask(commands, Begin(["start", "end"], 7 * S)).ids
    assert waiting(settings) == {"start": (ids[0], 7 * S), "end": (ids[1], 7 * S + 1)}
    (moved,) = ask(commands, Move("end", 5 * S)).ids
    assert waiting(settings)["end"] == (moved, 5 * S)
    assert ask(commands, Move("nothing", 5 * S)).ids == []
    assert heard == [7 * S, 5 * S]


def test_a_command_that_refuses_has_scheduled_nothing(
    commands: Ref, settings: PostgresSettings
) -> None:
    with pytest.raises(Refused):
        ask(commands, Begin(["start"], 7 * S, refuse=True))
    assert waiting(settings) == {}


def test_a_retry_of_a_command_schedules_nothing_anew(
    commands: Ref, settings: PostgresSettings
) -> None:
    first = ask(commands, Begin(["start"], 7 * S), key="k")
    again = ask(commands, Begin(["start"], 7 * S), key="k")
    assert first == again
    assert waiting(settings) == {"start": (first.ids[0], 7 * S)}


def test_a_command_that_schedules_too_much_is_told_and_has_no_effect(
    commands: Ref, settings: PostgresSettings
) -> None:
    with pytest.raises(TooManySchedules):
        ask(commands, Begin(["a", "b", "c", "d"], 7 * S))
    with pytest.raises(RowRefused, match="at most 10 bytes"):
        ask(commands, Begin(["a"], 7 * S, payload=bytes(11)))
    assert waiting(settings) == {}


def test_what_a_target_does_with_the_id_in_a_command_it_does_once(
    commands: Ref, settings: PostgresSettings
) -> None:
    """A `Fired` that comes again finds that it is over; one that was moved is another."""
    old = ask(commands, Begin(["start"], 1)).ids[0]
    (id_,) = ask(commands, Move("start", 2)).ids
    with pytest.raises(Refused):
        ask(commands, Act("start", old))
    assert ask(commands, Act("start", id_)).ids == [id_]
    with pytest.raises(Refused):
        ask(commands, Act("start", id_))
    with connect(settings) as connection:
        query = f"SELECT count(*) FROM {settings.schema}.events WHERE type = 'acted'"
        assert connection.execute(query).fetchone() == (1,)
    assert waiting(settings) == {}
