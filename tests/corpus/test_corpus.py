"""Every snapshot and every event ever written stays readable."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.runtime.persistence import PersistentActor
from actors.runtime.testing import run
from protocol.messages.match import InputTaken
from tests.actors.table import Stores, table
from tests.corpus.entries import FOLDER, Entry, Manifest, read_entry, read_manifest, versions
from tests.corpus.readings import told_by
from tests.corpus.scenes import GAMES, play
from tests.corpus.shapes import ACTORS
from tests.corpus.shapes import actors as present_actors

MANIFESTS = {version: read_manifest(version) for version in versions()}
NEWEST = MANIFESTS[max(MANIFESTS)]

WHAT_TO_DO = f"""
What the server persists is not any more what version {NEWEST.version} of the corpus holds.
1. Is it meant? Data of every older version is out there: the present code must read it. Where a
   snapshot changed, raise the actor's `schema_version` and have `restore` read the older ones;
   where an event changed, give new fields defaults and keep the type's name.
2. `python -m tests.corpus.write` writes the next version beside the older ones; commit its folder.
"""


@pytest.fixture(scope="module")
def written() -> dict[str, Entry]:
    """The entries that the present code writes."""
    return run(play)


def entries() -> list[tuple[int, str]]:
    return [(manifest.version, name) for manifest in MANIFESTS.values() for name in manifest.told]


@pytest.mark.parametrize(("version", "name"), entries(), ids=str)
async def test_what_was_ever_written_is_read(version: int, name: str, autojump_clock: Any) -> None:
    told = await told_by(read_entry(version, name))
    assert told == MANIFESTS[version].told[name]


async def test_an_input_that_a_match_of_version_1_had_taken_is_answered_and_does_not_act_again(
    autojump_clock: Any,
) -> None:
    entry = read_entry(1, "tictactoe-playing")
    stores = Stores()
    stores.events, stores.snapshots = entry.stores(snapshot=True)
    async with table(*GAMES, stores=stores) as here:
        ada = here.player("ada")
        await ada.resume(entry.key, 1, 2)
        taken = InputTaken(1, durable=True)
        assert await ada.input(entry.key, 1, {"cell": 4}) == taken
        assert len(stores.events.rows("match", entry.key)) == len(entry.events)


def test_what_is_persisted_is_in_the_newest_version(written: dict[str, Entry]) -> None:
    now = present_actors(written.values())
    for kind, actor in now.items():
        assert actor == NEWEST.actors.get(kind), f"{kind}: {WHAT_TO_DO}"
    assert set(now) == set(NEWEST.actors), WHAT_TO_DO
    assert set(written) == set(NEWEST.told), WHAT_TO_DO


def test_the_newest_version_holds_every_type_of_event_and_every_kind_of_snapshot() -> None:
    held: dict[str, set[str]] = {kind: set() for kind in ACTORS}
    with_snapshot = set()
    for name in NEWEST.told:
        entry = read_entry(NEWEST.version, name)
        held[entry.kind] |= {row[4] for row in entry.events}
        if entry.snapshot is not None:
            with_snapshot.add((entry.kind, entry.key.rpartition("-")[0]))
    assert held == {kind: set(actor.event_decoders) for kind, actor in ACTORS.items()}
    assert with_snapshot == {
        ("room", ""), ("match", "tictactoe"), ("match", "arena"),
    }  # fmt: skip


def test_a_version_is_a_manifest_and_its_entries() -> None:
    assert sorted(MANIFESTS) == list(range(1, len(MANIFESTS) + 1)), "no version is ever removed"
    for version, manifest in MANIFESTS.items():
        assert manifest.version == version
        files = {path.name for path in (FOLDER / f"v{version}").iterdir()}
        assert files == {"manifest.json", *(f"{name}.msgpack" for name in manifest.told)}


def test_every_persistent_actor_of_the_server_is_in_the_corpus() -> None:
    def below(kind: type[PersistentActor]) -> set[type[PersistentActor]]:
        return {kind}.union(*(below(one) for one in kind.__subclasses__()))

    known = tuple(ACTORS.values())
    for one in below(PersistentActor):
        if one.__module__.startswith("actors.") and one.events:
            assert issubclass(one, known), one  # kinds are subclasses with settings


def test_a_change_of_a_snapshot_is_noticed(written: dict[str, Entry]) -> None:
    entry = written["room-snapshot"]
    assert entry.snapshot is not None
    state = msgspec.msgpack.decode(entry.snapshot[5])
    state["topic"] = "a new field"
    changed = (*entry.snapshot[:5], msgspec.msgpack.encode(state))
    entries = {**written, "room-snapshot": msgspec.structs.replace(entry, snapshot=changed)}
    assert present_actors(entries.values())["room"] != NEWEST.actors["room"]


def test_a_change_of_a_schema_version_is_noticed(
    written: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ACTORS["room"], "schema_version", 2)
    assert present_actors(written.values())["room"] != NEWEST.actors["room"]


def test_a_change_of_an_event_is_noticed(
    written: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Posted(msgspec.Struct, tag="room.posted"):
        user: str
        mood: str = "calm"

    monkeypatch.setattr(ACTORS["room"], "event_names", {Posted: "room.posted"})
    assert present_actors(written.values())["room"] != NEWEST.actors["room"]


def test_a_manifest_can_be_read_by_people() -> None:
    text = (FOLDER / f"v{NEWEST.version}" / "manifest.json").read_text(encoding="utf-8")
    assert msgspec.json.decode(text, type=Manifest) == NEWEST
    assert text.count("\n") > 100
