"""What the directory knew when it was an actor with a log is copied into the rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.facts import Facts
from actors.matches.commands import COMMANDS, SERVICE
from actors.matches.entry import MatchStart
from actors.matches.old_directory import (
    OLD_DIRECTORY,
    Closed,
    Kept,
    OldDirectory,
    Opened,
    Stock,
    take_over_from,
)
from actors.matches.queries import QUERIES, IsTakenOver, ListMatches, MatchOfKey, RunningMatches
from actors.matches.standing import Standing
from actors.matches.waker import WAKER, Waker
from actors.runtime.child import ChildSpec
from actors.runtime.memory import MemoryEventStore
from actors.runtime.system import ActorSystem
from persistence import EventStore, PostgresSettings
from persistence.commands import CommandTable, CommandWorker
from persistence.postgres import EventReader, EventWriter, migrate
from persistence.queries import QueryTable, QueryWorker
from protocol.errors import UNAVAILABLE, RequestError
from tests.actors.games import Counting
from tests.actors.matches.register import Register, opened_register, opening
from tests.actors.served import LIMIT_S
from tests.actors.table import Stores, refused, table
from tests.corpus.entries import read_entry, read_manifest, versions


def opened(match: str, key: str | None = None, **more: Any) -> Opened:
    return Opened(match, match.rpartition("-")[0], 7, "ada", key, **more)


def old_log(*events: Opened | Closed | Stock) -> MemoryEventStore:
    store = MemoryEventStore()
    for seq, event in enumerate(events, 1):
        payload = msgspec.msgpack.encode(event)
        name = str(type(event).__struct_config__.tag)
        store.put((*OLD_DIRECTORY, seq, 1, name, payload, 0))
    return store


def entries() -> list[tuple[int, str]]:
    return [
        (version, name)
        for version in versions()
        for name in read_manifest(version).told
        if name.startswith("directory")
    ]


async def test_what_the_log_says_is_what_is_taken_over() -> None:
    refused_one, ended, keyless = opened("g-r", "r"), opened("g-e", "e"), opened("g-k")
    made, to_make = opened("g-1", "k"), opened("g-2", params={"n": 1}, seed=2**64 - 1)
    log = old_log(
        refused_one, ended, keyless, made, to_make,
        Closed("g-r", "refused", 1), Closed("g-e", "finished", 2), Closed("g-k", "finished", 3),
        Closed("g-none", "finished", 4),
    )  # fmt: skip
    found = await take_over_from(log)
    assert [(one.match, one.key, one.at) for one in found.running] == [
        ("g-1", "k", 7),
        ("g-2", None, 7),
    ]
    assert [one.start for one in found.running] == [None, MatchStart(2**64 - 1, {"n": 1}).packed()]
    assert [(one.user, one.key, one.match, one.at) for one in found.ended] == [
        ("ada", "e", "g-e", 2)
    ]


async def test_only_what_came_since_the_last_stock_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.matches.old_directory.PAGE", 3)
    stock = Stock([opened("g-s", "s")], [Kept("ada", "x", "g-x", 1)])
    later = [opened(f"g-{n}") for n in range(10)]
    log = old_log(opened("g-0"), stock, *later)
    log.put((*OLD_DIRECTORY, 1, 1, "match.opened", b"not read any more", 0))
    found = await take_over_from(log)
    assert [one.match for one in found.running] == ["g-s", *(one.match for one in later)]
    assert [one.key for one in found.ended] == ["x"]


async def test_no_log_is_nothing_to_take_over() -> None:
    found = await take_over_from(MemoryEventStore())
    assert not found.running
    assert not found.ended


@pytest.mark.parametrize(("version", "name"), entries(), ids=str)
@pytest.mark.parametrize("times", [1, 2])
async def test_rows_take_over_every_directory_there_ever_was(
    register: Register, version: int, name: str, times: int
) -> None:
    events, _ = read_entry(version, name).stores(snapshot=False)
    command = await take_over_from(events)
    register.do("UPDATE match_directory SET taken_over = false")
    for worker in range(times):
        register.run(command, worker=worker)
    told = read_manifest(version).told[name].by_events
    assert told is not None
    listed = [(one["match"], one["game"], one["created"]) for one in told[0]]
    assert [(one.match, one.game, one.at) for one in register.listed()] == listed
    for key, match in zip(("k-1", "k-2"), told[1:], strict=True):
        assert register.ask(MatchOfKey("host", key)) == match
        if match is not None:
            assert register.open(opening("host", key=key)).match == match
    assert register.is_sound()
    assert register.ask(IsTakenOver())


def test_no_match_is_created_before(register: Register) -> None:
    register.do("UPDATE match_directory SET taken_over = false")
    with pytest.raises(RequestError) as caught:
        register.open(opening())
    assert caught.value.error is UNAVAILABLE
    assert register.listed() == []


@asynccontextmanager
async def woken(postgres: PostgresSettings) -> AsyncIterator[Facts]:
    """A waker on real stores."""
    makers: dict[str, Callable[[], Any]] = {
        "writer": partial(EventWriter, postgres),
        "reader": partial(EventReader, postgres),
        "commands": partial(CommandWorker, postgres, CommandTable(COMMANDS, (RequestError,))),
        "queries": partial(QueryWorker, postgres, QueryTable(QUERIES)),
    }
    async with ActorSystem("woken") as system:
        specs = [ChildSpec(id=name, factory=make) for name, make in makers.items()]
        await system.supervise(specs, key="stores").started()
        refs = {name: system.ref("stores", name) for name in makers}
        events = EventStore(refs["writer"], refs["reader"])
        facts = Facts([refs["commands"]], [refs["queries"]])
        make = partial(Waker, Standing(), facts, events)
        system.supervise([ChildSpec(id="0", factory=make)], key=WAKER)
        yield facts


async def test_the_first_start_after_the_upgrade_takes_over_and_later_ones_do_not(
    postgres_url: str, unique: str
) -> None:
    """From a database as it was before: with the log, without the tables."""
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings)
    entry = read_entry(2, "directory-running")
    with opened_register(settings) as before:
        before.do("DELETE FROM applied_migrations WHERE file LIKE 'matches/%'")
        before.do("DROP TABLE matches, ended_match_keys, match_directory, match_players")
        before.do("DROP FUNCTION list_matches")
        for kind, key, seq, epoch, name, payload, at_us in entry.events:
            before.do(
                "INSERT INTO events (kind, key, seq, epoch, type, payload, at_us) VALUES"
                f" ('{kind}', '{key}', {seq}, {epoch}, '{name}', '\\x{payload.hex()}', {at_us})"
            )
    migrate(settings, [SERVICE])
    for start in range(2):
        async with woken(settings) as facts:
            with trio.fail_after(LIMIT_S):
                while not await facts.ask(IsTakenOver()):
                    await trio.sleep(0.01)
            listed = await facts.ask(ListMatches(("tictactoe",), 10))
            if start == 0:
                assert [one.match for one in listed] == ["tictactoe-m0"]
                assert await facts.ask(MatchOfKey("host", "k-1")) == "tictactoe-m0"
                with opened_register(settings) as after:
                    after.end("tictactoe-m0")
            else:
                assert listed == []
                assert await facts.ask(RunningMatches("", 10)) == []


async def test_an_old_match_that_was_announced_and_not_made_is_made(
    autojump_clock: MockClock,
) -> None:
    stores = Stores()
    stores.events = old_log(
        opened("counting-made", "k", params={"note": "x" * 1000}, seed=7),
        opened("counting-refused", "r", params={"refuse": True}, seed=7),
        opened("counting-gone"),
    )
    async with table(Counting, stores=stores) as one:
        await trio.sleep(1)
        assert [match.match for match in await one.listed()] == ["counting-made"]
        assert one.log("counting-made") == ["Created"]
        assert await one.create("counting", user="ada", key="k") == "counting-made"
        assert await one.create("counting", user="ada", key="r") != "counting-refused"


async def test_a_log_that_cannot_be_read_keeps_matches_from_being_created(
    autojump_clock: MockClock,
) -> None:
    stores = Stores()
    stores.events = old_log(opened("counting-made"))
    good = stores.events.rows(*OLD_DIRECTORY)[0]
    stores.events.put((*good[:5], b"\xc1", good[6]))
    async with table(Counting, stores=stores) as one:
        await trio.sleep(5)
        await refused(UNAVAILABLE, one.create("counting"))
        stores.events.put(good)
        await trio.sleep(5)
        await one.create("counting")


def test_a_directory_is_what_its_events_say() -> None:
    old = OldDirectory()
    old.apply(opened("g-1", "k"))
    old.apply(Stock([], []))
    assert old.take_over().running == []
