"""The client's storage against scripted servers: what it sends, and what a break does to it."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.client import ClientError, ConnectionLost, RequestFailed, connect, object_to_write
from protocol.errors import RATE_LIMITED, VERSION_CONFLICT, RequestError
from protocol.messages.envelope import ErrorReply
from protocol.messages.session import Ping, Pong, SessionOpen, SessionResume
from protocol.messages.storage import (
    ObjectsListed,
    ObjectsRead,
    ObjectsWritten,
    ObjectToRead,
    StorageDelete,
    StorageList,
    StorageRead,
    StorageWrite,
    StoredObject,
)
from tests.protocol.scripted import QUICK, Peer, opened, part, scripted


def stored(key: str, value: str = "1") -> StoredObject:
    return StoredObject("saves", key, "u1", value, 7, "owner", "owner", 1, 2)


async def test_an_object_is_written_and_read_as_json() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        request = await peer.answer(StorageWrite, ObjectsWritten([7], 2))
        (one,) = request.objects
        assert (one.collection, one.key, one.value) == ("saves", "1", '{"gold":30}')
        assert (one.version, one.read, one.write) == (0, "public", "owner")
        assert request.key
        found = await peer.answer(StorageRead, ObjectsRead([stored("1", '{"gold":30}')]))
        assert found.objects == [ObjectToRead(collection="saves", key="1", user="u2")]
        await peer.answer(StorageRead, ObjectsRead([]))
        gone = await peer.answer(StorageDelete)
        assert [(one.key, one.version) for one in gone.objects] == [("1", 7)]
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        storage = session.storage
        assert await storage.write("saves", "1", {"gold": 30}, version=0, read="public") == 7
        found = await storage.read("saves", "1", user="u2")
        assert found is not None
        assert found.decoded() == found.decoded(dict[str, int]) == {"gold": 30}
        assert await storage.read("saves", "1") is None
        await storage.delete("saves", "1", version=7)


async def test_a_change_is_sent_again_after_a_break_if_it_has_a_key() -> None:
    keys = []

    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        keys.append((await peer.expect(StorageWrite)).key)
        await peer.cut()

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        keys.append((await peer.answer(StorageWrite, ObjectsWritten([7], 2))).key)
        assert (await peer.expect(StorageDelete)).key is None
        await peer.cut()

    async def third(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await peer.answer(Ping, Pong(1))
        await part(peer)

    scripts = scripted(first, second, third)
    async with scripts as url, connect(url, name="ada", settings=QUICK) as session:
        assert await session.storage.write("saves", "1", 1) == 7
        assert keys[0] == keys[1] is not None
        with pytest.raises(ConnectionLost):
            await session.storage.delete("saves", "1", key=None)
        await session.ping()


async def test_a_write_for_another_version_is_told_by_its_code() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        request = await peer.expect(StorageWrite)
        await peer.send(ErrorReply.of(RequestError(VERSION_CONFLICT), request.ref))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        with pytest.raises(RequestFailed) as caught:
            await session.storage.write("saves", "1", 1, version=3)
        assert caught.value.code == "version_conflict"


async def test_what_did_not_fit_into_an_answer_is_asked_for_again() -> None:
    asked = []

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        for names, unread in (("a", 2), ("c", 0)):
            answer = ObjectsRead([stored(name) for name in names], unread)
            request = await peer.answer(StorageRead, answer)
            asked.append([one.key for one in request.objects])
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        wanted = [ObjectToRead(collection="saves", key=key) for key in "abcd"]
        found = await session.storage.read_all(wanted)
    assert asked == [["a", "b", "c", "d"], ["c", "d"]]
    assert [one.key for one in found] == ["a", "c"]


async def test_a_server_that_reads_nothing_is_not_asked_for_ever() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(StorageRead, ObjectsRead([], 1))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        with pytest.raises(ClientError, match="nothing was read"):
            await session.storage.read("saves", "1")


async def test_a_list_goes_on_to_its_end() -> None:
    cursors = []

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        for page, cursor in (("ab", "1"), ("", "2"), ("c", None)):
            answer = ObjectsListed([stored(key) for key in page], cursor)
            request = await peer.answer(StorageList, answer)
            cursors.append(request.cursor)
            assert (request.everyone, request.limit) == (True, 2)
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        listed = session.storage.list("saves", everyone=True, page=2)
        assert [one.key async for one in listed] == ["a", "b", "c"]
    assert cursors == [None, "1", "2"]


async def test_a_list_that_the_server_finds_too_fast_waits_and_goes_on() -> None:
    cursors = []

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        for page, cursor in (("a", "1"), ("b", None)):
            for _ in range(2):
                request = await peer.expect(StorageList)
                too_fast = RequestError(RATE_LIMITED, retry_in_s=0.01)
                await peer.send(ErrorReply.of(too_fast, request.ref))
            answer = ObjectsListed([stored(key) for key in page], cursor)
            cursors.append((await peer.answer(StorageList, answer)).cursor)
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        assert [one.key async for one in session.storage.list("saves")] == ["a", "b"]
    assert cursors == [None, "1"]


async def test_a_long_read_waits_only_between_its_answers() -> None:
    too_fast = RequestError(RATE_LIMITED, retry_in_s=0.01)

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.send(ErrorReply.of(too_fast, (await peer.expect(StorageRead)).ref))
        await peer.answer(StorageRead, ObjectsRead([stored("a")], 1))
        await peer.send(ErrorReply.of(too_fast, (await peer.expect(StorageRead)).ref))
        await peer.answer(StorageRead, ObjectsRead([stored("b")]))
        await part(peer)

    wanted = [ObjectToRead(collection="saves", key=key) for key in "ab"]
    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        with pytest.raises(RequestFailed) as caught:
            await session.storage.read_all(wanted)
        assert (caught.value.code, caught.value.retry_in_s) == ("rate_limited", 0.01)
        assert [one.key for one in await session.storage.read_all(wanted)] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), r"saves/1: value \(nan\)"),
        ({"a": [None, {"b": float("inf")}]}, r"value\['a'\]\[1\]\['b'\] \(inf\)"),
        ((0.5, float("-inf")), r"value\[1\] \(-inf\)"),
        (stored("1"), None),
        ([None, "null", 1e308, 2**64], None),
    ],
)
def test_a_float_that_is_no_number_is_refused_with_its_place(value: Any, place: str | None) -> None:
    if place is None:
        assert object_to_write("saves", "1", value).value
    else:
        with pytest.raises(ValueError, match=place):
            object_to_write("saves", "1", value)


@pytest.mark.parametrize("version", [float("nan"), 1.0, -1, True, "1"])
async def test_a_version_that_is_no_integer_is_refused_before_it_is_sent(version: Any) -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        storage = session.storage
        with pytest.raises(ValueError, match=r"saves/1: version: .* is no integer from 0"):
            await storage.write("saves", "1", 1, version=version)
        with pytest.raises(ValueError, match="is no integer"):
            await storage.write_all([object_to_write("saves", "1", 1, version=version)])
        with pytest.raises(ValueError, match="is no integer"):
            await storage.delete("saves", "1", version=version)


def test_what_json_does_not_have_becomes_what_is_nearest() -> None:
    text = object_to_write("saves", "1", {1: b"ab", "x": (2, {3})}).value
    assert text == '{"1":"YWI=","x":[2,[3]]}'
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(RecursionError):
        object_to_write("saves", "1", itself)
    with pytest.raises(TypeError):
        object_to_write("saves", "1", {None: 1})
    with pytest.raises(ValueError, match="surrogates"):
        object_to_write("saves", "1", "\ud800")


def test_a_value_that_json_cannot_hold_is_no_object() -> None:
    with pytest.raises(TypeError):
        object_to_write("saves", "1", object())
    assert object_to_write("saves", "1", "é").value == '"é"'
