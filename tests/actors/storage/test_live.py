"""Storage over the wire: a server as users start it, with the default limits but for the quota."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import trio
from trio_websocket import open_websocket_url

from actors.storage.settings import StorageSettings
from protocol.client import (
    ClientSettings,
    ReconnectBackoff,
    RequestFailed,
    Storage,
    connect,
    object_to_write,
)
from protocol.messages.storage import ObjectToRead, ObjectToWrite
from tests.protocol.cutting import way_to
from tests.server_process import PATIENT, Server

LIMITS = StorageSettings(user_objects=100)
SETTINGS = ClientSettings(backoff=ReconnectBackoff(first_s=0.02, max_s=0.2), request_timeout_s=60.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    fewer = f"storage.user_objects={LIMITS.user_objects}"
    with Server(tmp_path_factory.mktemp("storage"), fewer) as running:
        yield running


async def code(asked: Any) -> str:
    with pytest.raises(RequestFailed) as caught:
        await asked
    return caught.value.code


async def patiently(write: Callable[[list[ObjectToWrite]], Awaitable[Any]], objects: Any) -> str:
    """Write, and again if that was too fast; returns "ok", or the code of the refusal."""
    while True:
        try:
            await write(objects)
        except RequestFailed as failed:
            if failed.code != "rate_limited":
                return failed.code
            await trio.sleep(0.05)
        else:
            return "ok"


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
async def test_a_player_keeps_objects_and_shows_some(
    server: Server, encoding: Literal["msgpack", "json"]
) -> None:
    async with (
        connect(server.ws, name="ada", encoding=encoding, settings=PATIENT) as ada,
        connect(server.ws, name="bob", settings=PATIENT) as bob,
    ):
        mine, theirs = ada.storage, bob.storage
        version = await mine.write("saves", "slot", {"gold": 30, "é": [None, 1.5]}, version=0)
        await mine.write("decks", "main", [1, 2], read="public", write="nobody")
        save = await mine.read("saves", "slot")
        assert save is not None
        assert (save.version, save.decoded()) == (version, {"gold": 30, "é": [None, 1.5]})
        assert await theirs.read("saves", "slot", user=ada.opened.user) is None
        deck = await theirs.read("decks", "main", user=ada.opened.user)
        assert deck is not None
        assert deck.decoded(list[int]) == [1, 2]
        everyone = theirs.list("decks", everyone=True, page=1)
        assert ada.opened.user in [one.user async for one in everyone]
        assert await code(mine.write("decks", "main", 1)) == "forbidden"
        assert await code(mine.write("saves", "slot", 1, version=0)) == "version_conflict"
        await mine.delete("saves", "slot", version=version)
        assert await mine.read("saves", "slot") is None


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
async def test_the_longest_object_is_written_and_many_are_read(
    server: Server, encoding: Literal["msgpack", "json"]
) -> None:
    longest = json.dumps("x" * (LIMITS.object_bytes - 2))
    async with connect(server.ws, name="ada", encoding=encoding, settings=PATIENT) as session:
        for n in range(4):
            one = ObjectToWrite(collection="long", key=str(n), value=longest)
            await session.storage.write_all([one])
        too_long = ObjectToWrite(collection="long", key="5", value=f"{longest} ")
        assert await code(session.storage.write_all([too_long])) == "too_long"
        names = [ObjectToRead(collection="long", key=str(n)) for n in range(4)]
        found = await session.storage.read_all(names)
        assert [one.value for one in found] == [longest] * 4
        assert [one.key async for one in session.storage.list("long")] == ["0", "1", "2", "3"]


async def test_a_user_has_so_much_and_no_more(server: Server) -> None:
    async with connect(server.ws, name="ada", settings=PATIENT) as session:
        for start in range(0, LIMITS.user_objects, LIMITS.batch):
            count = min(LIMITS.batch, LIMITS.user_objects - start)
            objects = [object_to_write("many", str(start + n), n) for n in range(count)]
            assert await patiently(session.storage.write_all, objects) == "ok"
        one_more = [object_to_write("many", "one more", 1)]
        assert await patiently(session.storage.write_all, one_more) == "quota_exceeded"
        another_value = [object_to_write("many", "0", 7)]
        assert await patiently(session.storage.write_all, another_value) == "ok"


HOSTILE = [
    {"collection": "", "key": "1", "value": "1"},
    {"collection": "a" * 129, "key": "1", "value": "1"},
    {"collection": "a\0", "key": "1", "value": "1"},
    {"collection": "a", "key": "1\n", "value": "1"},
    {"collection": "a", "key": "1", "value": {"gold": 30}},
    {"collection": "a", "key": "1", "value": ""},
    {"collection": "a", "key": "1", "value": "{"},
    {"collection": "a", "key": "1", "value": '"\\ud800"'},
    {"collection": "a", "key": "1", "value": "[" * 60_000},
    {"collection": "a", "key": "1", "value": "[" * 1000 + "]" * 1000},
    {"collection": "a", "key": "1", "value": "1", "version": -1},
    {"collection": "a", "key": "1", "value": "1", "version": 2**53},
    {"collection": "a", "key": "1", "value": "1", "read": "everyone"},
    {"collection": "a", "key": "1", "value": "1", "write": "public"},
    {"key": "1", "value": "1"},
    "a",
    None,
]
ODD = [
    {"collection": "é\U0001f3b2 '\"%s\\", "key": "../..", "value": "1"},
    {"collection": "a" * 128, "key": "\U0001f3b2" * 128, "value": " 1 "},
    {"collection": "a", "key": "\ufffe\u202e", "value": '"\\u0000"'},
    {"collection": "a", "key": "big", "value": "9" * 5000},
    {"collection": "a", "key": "user", "value": "1", "user": "someone else"},
    {"collection": "a", "key": "deep", "value": "[" * 500 + "]" * 500},
]


async def test_hostile_requests_are_answered_and_odd_ones_kept(server: Server) -> None:
    async with open_websocket_url(server.ws, subprotocols=["greenroom.v1.json"]) as websocket:

        async def ask(op: str, **fields: Any) -> dict[str, Any]:
            text = msgspec.json.encode({"op": op, "ref": 1, **fields}).decode()
            with trio.fail_after(60):
                while True:
                    await websocket.send_message(text)
                    reply: dict[str, Any] = json.loads(await websocket.get_message())
                    if reply.get("code") != "rate_limited":
                        return reply
                    await trio.sleep(reply.get("retry_in_s", 0.05))

        user = (await ask("session.open", name="eve"))["data"]["user"]
        for bad in HOSTILE:
            reply = await ask("storage.write", objects=[bad])
            assert reply.get("code") == "bad_message", (bad, reply)
        for odd in ODD:
            assert (await ask("storage.write", objects=[odd]))["op"] == "ok", odd
            name = {"collection": odd["collection"], "key": odd["key"]}
            (found,) = (await ask("storage.read", objects=[name]))["data"]["objects"]
            assert (found["value"], found["user"]) == (odd["value"], user)
        one = {"collection": "a", "key": "1", "value": "1"}
        writes: list[tuple[dict[str, Any], str]] = [
            ({"objects": [one, one]}, "bad_message"),
            ({"objects": [{**one, "key": str(n)} for n in range(33)]}, "out_of_range"),
            ({"objects": [one], "key": ""}, "bad_message"),
            ({"objects": {}}, "bad_message"),
            ({}, "bad_message"),
        ]
        for fields, code in writes:
            assert (await ask("storage.write", **fields))["code"] == code
        for key in ("\0", "a\0", "\0a", "\0" * 64, "é\U0001f3b2" * 32):
            first = await ask("storage.write", objects=[one], key=key)
            again = await ask("storage.write", objects=[one], key=key)
            assert first["op"] == again["op"] == "ok", key
            assert first["data"] == again["data"]
        other = await ask("storage.write", objects=[{**one, "value": "2"}], key="\0")
        assert other["code"] == "key_reused"
        lists: list[tuple[dict[str, Any], str]] = [
            ({"collection": "a", "limit": 101}, "out_of_range"),
            ({"collection": "a", "limit": 0}, "bad_message"),
            ({"collection": "a", "cursor": "x"}, "bad_cursor"),
            ({"collection": "a", "cursor": "é\0"}, "bad_cursor"),
            ({"collection": "a", "everyone": True, "user": "x"}, "bad_message"),
            ({"collection": "a", "user": "\0"}, "bad_message"),
        ]
        for fields, code in lists:
            assert (await ask("storage.list", **fields))["code"] == code
        assert (await ask("storage.write", objects=[]))["data"]["versions"] == []
        assert (await ask("storage.read", objects=[]))["data"]["objects"] == []


async def test_a_counter_that_is_read_and_written_back_over_cuts_misses_no_step(
    server: Server,
) -> None:
    """Two tasks do so. Each writes only if the object has the version that it has read."""
    rng, steps = random.Random(7), 12

    async def count(storage: Storage) -> None:
        done = 0
        while done < steps:
            found = await storage.read("counters", "steps")
            value, version = (0, 0) if found is None else (found.decoded(), found.version)
            step = object_to_write("counters", "steps", value + 1, version=version)
            outcome = await patiently(storage.write_all, [step])
            assert outcome in {"ok", "version_conflict"}
            done += outcome == "ok"
            await trio.sleep(rng.uniform(0.1, 0.3))  # as fast as a session may send

    async with (
        way_to(server.port) as way,
        connect(way.url, name="ada", settings=SETTINGS, rng=rng) as session,
    ):

        async def keep_cutting() -> None:
            while True:
                await trio.sleep(rng.uniform(0.05, 0.2))
                way.cut()

        async with trio.open_nursery() as cutting:
            cutting.start_soon(keep_cutting)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count, session.storage)
                nursery.start_soon(count, session.storage)
            cutting.cancel_scope.cancel()
        found = await session.storage.read("counters", "steps")
        assert found is not None
        assert found.decoded() == 2 * steps
        assert way.cuts > 0


async def test_what_was_acknowledged_is_there_after_kills_of_postgresql_and_the_server(
    tmp_path: Path,
) -> None:
    acknowledged: dict[str, int] = {}
    token = ""

    async def write(storage: Storage, number: int) -> None:
        while True:
            try:
                key = f"k-{number}"
                version = await storage.write("kept", str(number), number, version=0, key=key)
            except RequestFailed as failed:
                assert failed.retry, failed  # noqa: PT017
                await trio.sleep(0.1)
            else:
                assert acknowledged.setdefault(str(number), version) == version
                return

    with await trio.to_thread.run_sync(Server, tmp_path) as server:
        async with connect(server.ws, name="ada", settings=SETTINGS) as session:
            for number in range(30):
                if number in {10, 20}:
                    os.kill(await trio.to_thread.run_sync(server.postgres), signal.SIGKILL)
                await write(session.storage, number)
                await write(session.storage, number)  # with its key: answered as before
            token = session.opened.token
            await trio.to_thread.run_sync(server.kill)
    with await trio.to_thread.run_sync(Server, tmp_path) as server:
        async with connect(server.ws, resume=token, settings=SETTINGS) as session:
            found = {one.key: one.version async for one in session.storage.list("kept")}
            assert found == acknowledged
            assert len(found) == 30
            await write(session.storage, 7)
        assert server.metric("greenroom_storage_objects_total") > 0
