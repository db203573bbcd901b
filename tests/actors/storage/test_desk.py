"""Requests through the desk: what it lets through, what it counts, and users' data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio

from actors.edge.failures import Refused, request_error
from actors.edge.identity import Identity
from actors.facts import Facts
from actors.runtime.child import ChildSpec
from actors.runtime.system import ActorSystem
from actors.storage.desk import Desk
from actors.storage.queries import QUERIES
from actors.storage.service import readings
from actors.storage.settings import StorageSettings
from persistence import PostgresSettings
from persistence.commands import CommandWorker
from persistence.postgres.connection import connect
from persistence.queries import QueryTable, QueryWorker
from protocol.errors import BUSY, KEY_REUSED, UNAVAILABLE, VERSION_CONFLICT, ErrorCode
from protocol.messages.storage import (
    ObjectToRead,
    StorageDelete,
    StorageList,
    StorageRead,
    StorageWrite,
)
from tests.actors.storage.conftest import TABLE
from tests.actors.storage.shelf import drop, put
from tests.persistence.asking import hanging_up

ADA, BOB = Identity("s-1", "ada", "Ada"), Identity("s-2", "bob", "Bob")
SMALL = StorageSettings(waiting_bytes=100)


@asynccontextmanager
async def open_desk(
    where: PostgresSettings, settings: StorageSettings | None = None
) -> AsyncIterator[Desk]:
    makers: dict[str, Callable[[], Any]] = {
        "commands": partial(CommandWorker, where, TABLE),
        "queries": partial(QueryWorker, where, QueryTable(QUERIES)),
    }
    specs = [ChildSpec(id=name, factory=make) for name, make in makers.items()]
    with trio.fail_after(60):
        async with ActorSystem("desk") as system:
            await system.supervise(specs, key="stores").started()
            commands, queries = (system.ref("stores", name) for name in makers)
            yield Desk(settings or StorageSettings(), Facts([commands], [queries], timeout_s=30))


def counted(desk: Desk) -> dict[str, float]:
    """Return the metrics that are not 0."""
    found = readings(desk)
    return {"".join(one.labels.values()) or one.name: one.value for one in found if one.value}


async def code(asked: Any) -> ErrorCode:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever, it has its row
        await asked
    return request_error(caught.value).error


async def test_what_is_done_is_answered_and_counted(settings: PostgresSettings) -> None:
    async with open_desk(settings) as desk:
        written = await desk.write(ADA, StorageWrite(objects=[put("1", read="public"), put("2")]))
        assert written.versions == [1, 2]
        one = ObjectToRead(collection="saves", key="1", user="ada")
        assert len((await desk.read(BOB, StorageRead(objects=[one]))).objects) == 1
        everyone = StorageList(collection="saves", everyone=True)
        assert [one.key for one in (await desk.page(BOB, everyone)).objects] == ["1"]
        await desk.delete(ADA, StorageDelete(objects=[drop("2")]))
        again = desk.write(ADA, StorageWrite(objects=[put("1", version=0)]))
        assert await code(again) is VERSION_CONFLICT
        assert counted(desk) == {"written": 2, "deleted": 1, "read": 2, "version_conflict": 1}


async def test_a_list_goes_on_by_its_cursor(settings: PostgresSettings) -> None:
    async with open_desk(settings) as desk:
        await desk.write(ADA, StorageWrite(objects=[put(key) for key in "abc"]))
        first = await desk.page(ADA, StorageList(collection="saves", limit=2))
        assert first.cursor is not None
        rest = StorageList(collection="saves", limit=2, cursor=first.cursor)
        last = await desk.page(ADA, rest)
        assert [one.key for one in (*first.objects, *last.objects)] == ["a", "b", "c"]
        assert last.cursor is None


async def test_a_key_that_comes_with_something_else_is_told(settings: PostgresSettings) -> None:
    async with open_desk(settings) as desk:
        first = await desk.write(ADA, StorageWrite(objects=[put("1")], key="k"))
        assert await desk.write(ADA, StorageWrite(objects=[put("1")], key="k")) == first
        other = desk.write(ADA, StorageWrite(objects=[put("2")], key="k"))
        assert await code(other) is KEY_REUSED


async def test_what_waits_for_its_commit_is_bounded_in_bytes(settings: PostgresSettings) -> None:
    async with open_desk(settings, SMALL) as desk:
        with connect(settings) as other:
            with other.transaction():
                other.execute(f"LOCK TABLE {settings.schema}.storage_objects")
                waiting = desk.write(ADA, StorageWrite(objects=[put("1", f'"{"x" * 70}"')]))
                with pytest.raises(Refused) as caught:
                    desk.write(ADA, StorageWrite(objects=[put("2", f'"{"x" * 30}"')]))
                assert caught.value.error is BUSY
                assert desk.waiting_bytes == 72
            await waiting
        assert desk.waiting_bytes == 0
        await desk.write(ADA, StorageWrite(objects=[put("2", f'"{"x" * 30}"')]))


async def test_a_store_that_is_away_leaves_nothing_waiting() -> None:
    with hanging_up() as hanger:
        where = PostgresSettings(url=f"postgresql://x@127.0.0.1:{hanger.port}/x")
        async with open_desk(where, SMALL) as desk:
            for _ in range(3):
                change = desk.write(ADA, StorageWrite(objects=[put("1", f'"{"x" * 70}"')]))
                assert await code(change) is UNAVAILABLE
            assert await code(desk.page(ADA, StorageList(collection="saves"))) is UNAVAILABLE
            assert desk.waiting_bytes == 0


async def test_all_that_a_user_has_is_exported_and_erased(settings: PostgresSettings) -> None:
    async with open_desk(settings) as desk:
        many = [put(f"{n:02}", str(n), collection="ab"[n % 2], read="nobody") for n in range(30)]
        await desk.write(ADA, StorageWrite(objects=many))
        await desk.write(BOB, StorageWrite(objects=[put("1")]))
        exported = await desk.export("ada")
        assert [one["value"] for one in exported] == [
            str(n) for n in (*range(0, 30, 2), *range(1, 30, 2))
        ]
        assert msgspec.json.encode(exported)
        await desk.erase("ada")
        assert await desk.export("ada") == []
        assert len(await desk.export("bob")) == 1


async def test_operators_read_values_with_sql_even_those_that_jsonb_cannot_hold(
    settings: PostgresSettings,
) -> None:
    values = ['{"gold": 3}', '"\\u0000"', "1e999999"]
    async with open_desk(settings) as desk:
        objects = [put(str(n), value) for n, value in enumerate(values)]
        await desk.write(ADA, StorageWrite(objects=objects))
    with connect(settings) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [settings.schema])
        rows = connection.execute(
            "SELECT value::json::text, "
            "CASE WHEN pg_input_is_valid(value, 'jsonb') THEN value::jsonb END "
            "FROM storage_objects WHERE collection = 'saves' ORDER BY key"
        ).fetchall()
    assert rows == [(values[0], {"gold": 3}), (values[1], None), (values[2], None)]
