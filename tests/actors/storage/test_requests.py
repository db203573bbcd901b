"""Clients' requests to storage are checked against the limits before anything is done."""

from __future__ import annotations

import pytest

from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.storage.queries import ListedPage
from actors.storage.requests import Requests, listed
from actors.storage.rules.changes import Quota
from actors.storage.rules.cursors import START, Bookmark
from actors.storage.settings import StorageSettings
from protocol.errors import BAD_CURSOR, BAD_MESSAGE, OUT_OF_RANGE, TOO_LONG, ErrorCode
from protocol.messages.storage import (
    ObjectToRead,
    StorageDelete,
    StorageList,
    StorageRead,
    StorageWrite,
    StoredObject,
)
from tests.actors.storage.shelf import drop, put

ADA = Identity("s-1", "ada", "Ada")
SETTINGS = StorageSettings(object_bytes=10, batch=2, list_limit=3, user_objects=7, user_bytes=99)
REQUESTS = Requests(SETTINGS)


def refusal(value: str) -> ErrorCode | None:
    try:
        REQUESTS.write(ADA, StorageWrite(objects=[put("1", value)]))
    except Refused as refused:
        return refused.error
    return None


@pytest.mark.parametrize("value", ["1", "null", '"é"', "[1e400]", " {} \n", '"123456\\n"'])
def test_json_that_is_not_too_long_may_be_written(value: str) -> None:
    assert refusal(value) is None


@pytest.mark.parametrize(
    "value", ["", "{", "nul", "NaN", "[1,]", "1 2", "'a'", "{a:1}", '"\\ud800"', '"\x01"']
)
def test_what_is_no_json_is_refused(value: str) -> None:
    assert refusal(value) is BAD_MESSAGE


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('"\\uD83d"', r"\uD83d is half of a surrogate pair"),
        ('"\\udc00"', r"\udc00 is half of a surrogate pair"),
        ('"\\ud83d\\udfb2\\ud83d"', r"\ud83d is half of a surrogate pair"),
        ('"\\\\ud83d', "Input data was truncated"),
        ('"\\ud83d\\udfb2', "Input data was truncated"),
    ],
)
def test_half_of_a_surrogate_pair_is_named(value: str, why: str) -> None:
    requests = Requests(StorageSettings())
    with pytest.raises(Refused) as caught:
        requests.write(ADA, StorageWrite(objects=[put("1", value)]))
    assert why in str(caught.value)


def test_a_value_is_as_long_as_its_bytes_are_many() -> None:
    assert refusal(f'"{"é" * 4}"') is None
    assert refusal(f'"{"é" * 4}x"') is TOO_LONG
    assert refusal(f'"{"x" * 9}"') is TOO_LONG


def test_what_nests_too_deeply_for_its_readers_is_refused() -> None:
    requests = Requests(StorageSettings())
    for deep in ("[" * 30_000 + "]" * 30_000, '{"a":' * 9_000 + "1" + "}" * 9_000):
        with pytest.raises(Refused) as caught:
            requests.write(ADA, StorageWrite(objects=[put("1", deep)]))
        assert caught.value.error is BAD_MESSAGE


def test_a_batch_names_each_object_once_and_not_too_many() -> None:
    for many in ([put("1"), put("2"), put("3")], [put("1"), put("1")]):
        with pytest.raises(Refused) as caught:
            REQUESTS.write(ADA, StorageWrite(objects=many))
        assert caught.value.error is (OUT_OF_RANGE if len(many) > 2 else BAD_MESSAGE)
    with pytest.raises(Refused, match="saves/1 is there twice"):
        REQUESTS.delete(ADA, StorageDelete(objects=[drop("1"), drop("1", 7)]))
    with pytest.raises(Refused, match="at most 2"):
        REQUESTS.delete(ADA, StorageDelete(objects=[drop("1"), drop("2"), drop("3")]))
    one = ObjectToRead(collection="saves", key="1")
    with pytest.raises(Refused, match="at most 2"):
        REQUESTS.read(ADA, StorageRead(objects=[one, one, one]))


def test_a_user_changes_objects_of_their_own_within_the_quota() -> None:
    write = REQUESTS.write(ADA, StorageWrite(objects=[put("1")]))
    delete = REQUESTS.delete(ADA, StorageDelete(objects=[drop("1")]))
    assert write.user == delete.user == "ada"
    assert write.quota == delete.quota == Quota(7, 99)


def test_a_user_reads_their_own_and_others_objects() -> None:
    objects = [
        ObjectToRead(collection="saves", key="1"),
        ObjectToRead(collection="saves", key="1", user="bob"),
        ObjectToRead(collection="saves", key="motd", user=""),
    ]
    query = Requests(StorageSettings()).read(ADA, StorageRead(objects=objects))
    assert query.reader == "ada"
    assert [name[0] for name in query.names] == ["ada", "bob", ""]


def ask(**fields: object) -> StorageList:
    return StorageList(collection="saves", **fields)  # type: ignore[arg-type]


def test_a_list_is_of_oneself_of_another_or_of_everyone() -> None:
    assert REQUESTS.list(ADA, ask(limit=3)).user == "ada"
    assert REQUESTS.list(ADA, ask(limit=3, user="bob")).user == "bob"
    assert REQUESTS.list(ADA, ask(limit=3, everyone=True)).user is None
    with pytest.raises(Refused, match="either user or everyone"):
        REQUESTS.list(ADA, ask(limit=3, everyone=True, user="bob"))
    with pytest.raises(Refused, match="at most 3"):
        REQUESTS.list(ADA, ask(limit=4))


def test_a_cursor_leads_on_in_its_own_list_alone() -> None:
    last = StoredObject("saves", "k", "bob", "1", 1, "public", "owner", 0, 0)
    everyone = ask(limit=1, everyone=True)
    assert REQUESTS.list(ADA, everyone).after == START
    assert listed(everyone, ListedPage([last], more=False)).cursor is None
    cursor = listed(everyone, ListedPage([last], more=True)).cursor
    assert REQUESTS.list(ADA, ask(limit=2, everyone=True, cursor=cursor)).after == Bookmark(
        "k", "bob"
    )
    for other in (ask(limit=2, cursor=cursor), ask(limit=2, user="bob", cursor=cursor)):
        with pytest.raises(Refused) as caught:
            REQUESTS.list(ADA, other)
        assert caught.value.error is BAD_CURSOR
