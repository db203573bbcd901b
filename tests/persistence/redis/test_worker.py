from __future__ import annotations

import secrets
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pykka import ActorRef

from persistence import RedisSettings, RowRefused, StoreUnavailable
from persistence.redis import SnapshotWorker, check_redis
from persistence.redis.connection import connect
from persistence.requests import (
    Activate,
    DeleteSnapshot,
    FindSnapshots,
    LoadSnapshot,
    SaveSnapshots,
    StoreCheck,
)
from persistence.rows import SnapshotRow
from tests.persistence.asking import ask, hanging_up

Ref = ActorRef[Any]


def snapshot(kind: str, key: str, seq: int, epoch: int = 1, payload: bytes = b"") -> SnapshotRow:
    return (kind, key, seq, epoch, 3, payload)


def test_a_snapshot_comes_back_as_it_was(worker: Ref, unique: str) -> None:
    row = snapshot(unique, "ädä:/…", 2**40, 2**33, bytes(range(256)))
    ask(worker, SaveSnapshots([row]))
    assert ask(worker, LoadSnapshot(unique, "ädä:/…")) == row


def test_what_was_never_saved_or_was_deleted_is_none(worker: Ref, unique: str) -> None:
    assert ask(worker, LoadSnapshot(unique, "a")) is None
    ask(worker, SaveSnapshots([snapshot(unique, "a", 1)]))
    ask(worker, DeleteSnapshot(unique, "a"))
    ask(worker, DeleteSnapshot(unique, "a"))
    assert ask(worker, LoadSnapshot(unique, "a")) is None


# Examples share the worker and keep apart by their kinds.
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 2**45), st.integers(1, 2**45)),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_the_order_the_newest_stays(
    worker: Ref, written: list[tuple[str, int, int]]
) -> None:
    kind = secrets.token_hex(8)
    for key, seq, epoch in written:
        ask(worker, SaveSnapshots([snapshot(kind, key, seq, epoch)]))
    for key in "ab":
        newest = max(((epoch, seq) for k, seq, epoch in written if k == key), default=None)
        held = ask(worker, LoadSnapshot(kind, key))
        assert (None if held is None else (held[3], held[2])) == newest


def test_state_that_changed_without_an_event_replaces_its_equal(worker: Ref, unique: str) -> None:
    ask(worker, SaveSnapshots([snapshot(unique, "a", 4, payload=b"old")]))
    ask(worker, SaveSnapshots([snapshot(unique, "a", 4, payload=b"new")]))
    assert ask(worker, LoadSnapshot(unique, "a"))[5] == b"new"


def test_many_at_once_each_get_their_own_answer(worker: Ref, unique: str) -> None:
    ask(worker, SaveSnapshots([snapshot(unique, str(n), n + 1) for n in range(500)]))
    futures = [worker.ask(LoadSnapshot(unique, str(n)), block=False) for n in range(500)]
    assert [future.get(timeout=10)[2] for future in futures] == list(range(1, 501))


def test_kinds_and_keys_with_colons_stay_apart(worker: Ref, unique: str) -> None:
    rows = [snapshot(f"{unique}:b", "c", 1), snapshot(unique, "b:c", 2)]
    ask(worker, SaveSnapshots(rows))
    assert [ask(worker, LoadSnapshot(row[0], row[1])) for row in rows] == rows


def test_a_prefix_keeps_servers_apart(redis: RedisSettings, worker: Ref, unique: str) -> None:
    other = SnapshotWorker.start(msgspec.structs.replace(redis, prefix="other:"))
    try:
        ask(other, SaveSnapshots([snapshot(unique, "a", 1)]))
        assert ask(worker, LoadSnapshot(unique, "a")) is None
        assert ask(other, LoadSnapshot(unique, "a")) is not None
        ask(other, DeleteSnapshot(unique, "a"))
    finally:
        other.stop()


@pytest.mark.parametrize(
    "bad",
    [("k", "a", -1, 1, 1, b""), ("k", "a", 2**64, 1, 1, b""), ("k", "a", 1, 1, 1, None)],
    ids=["negative", "too large", "no bytes"],
)
def test_a_snapshot_that_cannot_be_stored_is_refused_alone(
    worker: Ref, unique: str, bad: Any
) -> None:
    futures = [
        worker.ask(message, block=False)
        for message in (
            SaveSnapshots([snapshot(unique, "a", 1)]),
            SaveSnapshots([bad]),
            LoadSnapshot(unique, "a"),
        )
    ]
    with pytest.raises(RowRefused):
        futures[1].get(timeout=10)
    assert futures[0].get(timeout=10) is None
    assert futures[2].get(timeout=10) == snapshot(unique, "a", 1)
    with pytest.raises(RowRefused, match="not for a snapshot worker"):
        ask(worker, Activate("k", "a"))


def test_a_value_that_is_none_of_ours_is_as_good_as_none(
    worker: Ref, redis: RedisSettings, unique: str
) -> None:
    client = connect(redis)
    client.set(f"{redis.prefix}snapshot:{unique}:a", "short")
    client.close()
    assert ask(worker, LoadSnapshot(unique, "a")) is None
    ask(worker, SaveSnapshots([snapshot(unique, "a", 1)]))
    assert ask(worker, LoadSnapshot(unique, "a")) == snapshot(unique, "a", 1)


def test_a_snapshot_that_nobody_renews_expires_and_each_save_renews_it(
    redis: RedisSettings, unique: str
) -> None:
    def left_ms(settings: RedisSettings) -> int:
        worker = SnapshotWorker.start(settings)
        client = connect(redis)
        try:
            ask(worker, SaveSnapshots([snapshot(unique, "a", 1)]))
            client.pexpire(f"{redis.prefix}snapshot:{unique}:a", 1_000)
            ask(worker, SaveSnapshots([snapshot(unique, "a", 2)]))
            left: Any = client.pttl(f"{redis.prefix}snapshot:{unique}:a")
            return int(left)
        finally:
            client.close()
            worker.stop()

    assert 50_000 < left_ms(msgspec.structs.replace(redis, snapshot_expire_s=60.0)) <= 60_000
    assert left_ms(msgspec.structs.replace(redis, snapshot_expire_s=0.0)) == -1  # never


def test_nothing_is_nothing(worker: Ref) -> None:
    assert ask(worker, SaveSnapshots([])) is None
    assert ask(worker, StoreCheck()) is None


def test_scripts_and_connections_that_went_with_a_restart_are_not_felt(
    worker: Ref, redis: RedisSettings, unique: str
) -> None:
    ask(worker, SaveSnapshots([snapshot(unique, "a", 1)]))
    client = connect(redis)
    client.script_flush()
    client.client_kill_filter(_type="normal", skipme=True)
    client.close()
    ask(worker, SaveSnapshots([snapshot(unique, "a", 2)]))
    assert ask(worker, LoadSnapshot(unique, "a")) == snapshot(unique, "a", 2)


@pytest.mark.parametrize(
    "url",
    ["redis://:secret@127.0.0.1:1/0", "unix://:secret@/nowhere/valkey.sock", "http://:secret@x/"],
)
def test_an_unreachable_store_is_one_line(url: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        check_redis(RedisSettings(url=url))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_wrong_password_says_so(redis: RedisSettings) -> None:
    url = redis.url.replace("unix://:", "unix://:x")
    with pytest.raises(StoreUnavailable, match=r"(?i)password|auth"):
        check_redis(msgspec.structs.replace(redis, url=url))


def test_while_it_pauses_calls_fail_at_once() -> None:
    with hanging_up() as store:
        worker = SnapshotWorker.start(
            RedisSettings(
                url=f"redis://127.0.0.1:{store.port}/0", first_retry_s=1e6, max_retry_s=1e6
            )
        )
        try:
            with pytest.raises(StoreUnavailable):
                ask(worker, LoadSnapshot("k", "a"))
            tried = store.connections
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    ask(worker, LoadSnapshot("k", "a"))
            assert store.connections == tried > 0
        finally:
            worker.stop()


def found(worker: Ref, kind: str, mark: bytes) -> set[str]:
    keys: set[str] = set()
    cursor = 0
    while True:
        page = ask(worker, FindSnapshots(kind, mark, cursor))
        keys.update(page.keys)
        cursor = page.cursor
        if not cursor:
            return keys


def test_snapshots_are_found_by_what_they_hold(worker: Ref, unique: str) -> None:
    mark = b"\0*[%\xff"
    marked = {f"ädä:{number}*" for number in range(300)}
    rows = [snapshot(unique, key, 1, payload=b"..." + mark + b"...") for key in marked]
    rows += [snapshot(unique, f"other {number}", 1, payload=b"..." * 9) for number in range(300)]
    rows += [snapshot(f"{unique}:x", "of another kind", 1, payload=mark)]
    rows += [snapshot(f"{unique}?[*]", "of an odd kind", 1, payload=mark)]
    ask(worker, SaveSnapshots(rows))
    assert found(worker, unique, mark) == marked
    assert found(worker, f"{unique}?[*]", mark) == {"of an odd kind"}
    assert found(worker, unique, b"nowhere") == set()


def test_the_header_of_a_snapshot_is_not_searched(worker: Ref, unique: str) -> None:
    ask(worker, SaveSnapshots([snapshot(unique, "a", 0x41424344, 0x45464748, b"ab")]))
    assert found(worker, unique, b"ABCD") == set()
    assert found(worker, unique, b"EFGH") == set()
    assert found(worker, unique, b"\x03a") == set()
    assert found(worker, unique, b"ab") == {"a"}
