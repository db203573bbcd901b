"""Heartbeats and slots in a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from pykka import ActorRef

from persistence import RedisSettings, RowRefused, StoresDiffer, StoreUnavailable
from persistence.nodes import (
    Announce,
    BeginGeneration,
    ChangeSlots,
    Heard,
    Heartbeat,
    HeldSlot,
    ReadRegister,
)
from persistence.redis.connection import connect
from persistence.redis.nodes import EPOCHS, PAGE, NodeWorker
from persistence.requests import StoreCheck
from tests.persistence.asking import ask

Ref = ActorRef[Any]
BASE = 7 * EPOCHS
HOUR_MS = 3_600_000


@pytest.fixture
def settings(redis: RedisSettings, unique: str) -> RedisSettings:
    return msgspec.structs.replace(redis, prefix=f"{unique}:")


@pytest.fixture
def valkey(settings: RedisSettings) -> Iterator[Ref]:
    ref = NodeWorker.start(settings, timeout_s=5.0)
    yield ref
    ref.stop()


def beat(
    valkey: Ref,
    node: str = "",
    *watched: str,
    since: int = 0,
    lease_ms: int = HOUR_MS,
    gap_ms: int = HOUR_MS,
) -> Heard:
    heard = ask(valkey, Heartbeat(node, lease_ms, gap_ms, since, watched, "c"))
    assert isinstance(heard, Heard)
    return heard


def test_without_a_generation_nothing_is_said(valkey: Ref) -> None:
    assert beat(valkey, "a.1", "b.2") == Heard(0)
    with pytest.raises(StoreUnavailable, match="another one has begun"):
        ask(valkey, ChangeSlots(7, [(1, 0)], "a.1"))
    ask(valkey, BeginGeneration(7, "c"))
    ask(valkey, BeginGeneration(8, "c"))  # was slower
    heard = beat(valkey, "a.1", "b.2")
    assert (heard.generation, heard.left_ms, heard.heard) == (7, [0], BASE)
    assert ask(valkey, StoreCheck()) is None
    with pytest.raises(RowRefused, match="not for a node's worker"):
        ask(valkey, ReadRegister())


def test_a_heartbeat_lasts_for_its_lease(valkey: Ref) -> None:
    ask(valkey, BeginGeneration(7, "c"))
    beat(valkey, "a.1")
    beat(valkey, "b.2", lease_ms=0)
    left_ms = beat(valkey, "", "a.1", "b.2", "c.3").left_ms
    assert 0 < left_ms[0] <= HOUR_MS
    assert left_ms[1:] == [0, 0]
    ask(valkey, Announce(5, ["a.1"]))
    heard = beat(valkey, "", "a.1")
    assert (heard.left_ms, heard.view) == ([0], 5)
    ask(valkey, Announce(4, []))
    assert beat(valkey).view == 5


def test_the_calm_begins_anew_after_a_gap(valkey: Ref, settings: RedisSettings) -> None:
    ask(valkey, BeginGeneration(7, "c"))
    client: Any = connect(settings)
    home = f"{settings.prefix}{{cluster}}:nodes"
    client.hincrby(home, "era", -5_000)
    assert beat(valkey).calm_ms >= 5_000
    client.hincrby(home, "seen", -2_000)  # as if nobody had come for two seconds
    assert beat(valkey, gap_ms=1_999).calm_ms == 0
    client.hincrby(home, "era", -5_000)
    client.hincrby(home, "seen", 2_000)  # as if its clock had been set back
    assert beat(valkey).calm_ms == 0
    client.close()


def test_a_slot_changes_its_holder_only_for_who_knows_its_epoch(valkey: Ref) -> None:
    ask(valkey, BeginGeneration(7, "c"))
    first = ask(valkey, ChangeSlots(7, [(1, 0), (2, 0)], "a.1"))
    assert first == [HeldSlot(1, BASE + 1, "a.1"), HeldSlot(2, BASE + 2, "a.1")]
    assert ask(valkey, ChangeSlots(7, [(1, 0), (3, 0)], "b.2")) == [HeldSlot(3, BASE + 3, "b.2")]
    assert ask(valkey, ChangeSlots(7, [(1, BASE + 1)], "b.2")) == [HeldSlot(1, BASE + 4, "b.2")]
    assert ask(valkey, ChangeSlots(7, [(1, BASE + 1)], "a.1")) == []
    assert ask(valkey, ChangeSlots(7, [(2, BASE + 9)], None)) == [HeldSlot(2, BASE + 5, None)]
    with pytest.raises(StoreUnavailable, match="another one has begun"):
        ask(valkey, ChangeSlots(6, [(1, BASE + 9)], "a.1"))
    assert beat(valkey, since=BASE + 2).news == [
        HeldSlot(3, BASE + 3, "b.2"), HeldSlot(1, BASE + 4, "b.2"), HeldSlot(2, BASE + 5, None)
    ]  # fmt: skip
    assert beat(valkey, since=BASE + 5).news == []


def test_who_hears_of_a_change_hears_of_the_view_by_which_it_was_made(valkey: Ref) -> None:
    ask(valkey, BeginGeneration(7, "c"))
    ask(valkey, ChangeSlots(7, [(1, 0)], "a.1", 3))
    assert beat(valkey).view == 3
    ask(valkey, ChangeSlots(7, [(2, 0)], "a.1", 2))
    assert beat(valkey).view == 3


def test_all_slots_are_claimed_by_one_request_and_heard_in_pages(valkey: Ref) -> None:
    ask(valkey, BeginGeneration(7, "c"))
    given = ask(valkey, ChangeSlots(7, [(slot, 0) for slot in range(16_384)], "a.1"))
    assert [held.slot for held in given] == list(range(16_384))
    heard = beat(valkey)
    news = list(heard.news)
    assert (len(news), heard.more) == (PAGE, True)
    while heard.more:
        heard = beat(valkey, since=heard.heard)
        news += heard.news
    assert news == given
    assert heard.heard == BASE + 16_384


def test_of_many_who_claim_the_same_slots_at_once_each_slot_has_one(
    settings: RedisSettings,
) -> None:
    nodes = [NodeWorker.start(settings, timeout_s=60.0) for _ in range(4)]
    ask(nodes[0], BeginGeneration(7, "c"))
    claims = [(slot, 0) for slot in range(1000)]
    futures = [
        node.ask(ChangeSlots(7, claims, f"n.{n}"), block=False) for n, node in enumerate(nodes)
    ]
    given = [held for future in futures for held in future.get(timeout=60)]
    assert sorted(held.slot for held in given) == list(range(1000))
    assert len({held.epoch for held in given}) == 1000
    for node in nodes:
        node.stop()


def test_after_a_flush_or_a_restart_a_new_generation_must_begin(
    valkey: Ref, settings: RedisSettings
) -> None:
    ask(valkey, BeginGeneration(7, "c"))
    ask(valkey, ChangeSlots(7, [(1, 0)], "a.1"))
    client: Any = connect(settings)
    home = f"{settings.prefix}{{cluster}}:nodes"
    client.hset(home, "run", "another process")  # as a restart or a failover leaves it
    client.script_flush()
    assert beat(valkey, "a.1") == Heard(0)
    ask(valkey, BeginGeneration(9, "c"))
    assert beat(valkey).news == [HeldSlot(1, BASE + 1, "a.1")]
    assert ask(valkey, ChangeSlots(9, [(1, BASE + 1)], "a.1")) == [
        HeldSlot(1, 9 * EPOCHS + 1, "a.1")
    ]
    client.delete(home)  # a flush: what is left of the rest is not believed
    assert beat(valkey, "a.1") == Heard(0)
    ask(valkey, BeginGeneration(10, "c"))
    assert beat(valkey).news == []
    client.close()


def test_what_nodes_of_another_register_have_here_is_left_alone_while_they_live(
    valkey: Ref, settings: RedisSettings
) -> None:
    ask(valkey, BeginGeneration(7, "c"))
    beat(valkey, "a.1", lease_ms=HOUR_MS)
    ask(valkey, ChangeSlots(7, [(1, 0)], "a.1"))
    with pytest.raises(StoresDiffer, match="another one live in this Valkey"):
        ask(valkey, Heartbeat("", HOUR_MS, HOUR_MS, 0, (), "other"))
    assert beat(valkey).news == [HeldSlot(1, BASE + 1, "a.1")]
    ask(valkey, Announce(1, ["a.1"]))
    assert ask(valkey, Heartbeat("b.1", HOUR_MS, HOUR_MS, 0, (), "other")) == Heard(0)
    ask(valkey, BeginGeneration(2, "other"))
    heard = ask(valkey, Heartbeat("b.1", HOUR_MS, HOUR_MS, 0, ("a.1",), "other"))
    assert (heard.generation, heard.news, heard.left_ms) == (2, [], [0])
