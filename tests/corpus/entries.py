"""The corpus on disk: entries in msgpack, and a manifest of each version in JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from actors.runtime.stores import EventRow, SnapshotRow

FOLDER: Final = Path(__file__).parent


class Entry(msgspec.Struct, frozen=True):
    """What the stores held of one actor at one moment, as rows, to the byte."""

    kind: str
    key: str
    epoch: int
    """The epoch of its last incarnation."""
    events: list[EventRow]
    snapshot: SnapshotRow | None

    @classmethod
    def of(
        cls, kind: str, key: str, events: MemoryEventStore, snapshots: MemorySnapshotStore
    ) -> Entry:
        """Return what these stores hold of an actor now."""
        return cls(
            kind,
            key,
            events.epochs[kind, key],
            events.rows(kind, key),
            snapshots.rows.get((kind, key)),
        )

    def stores(self, *, snapshot: bool) -> tuple[MemoryEventStore, MemorySnapshotStore]:
        """Return new stores that hold the entry, with its snapshot or without."""
        events, snapshots = MemoryEventStore(), MemorySnapshotStore()
        for row in self.events:
            events.put(row)
        events.epochs[self.kind, self.key] = self.epoch
        if snapshot:
            assert self.snapshot is not None
            snapshots.rows[self.kind, self.key] = self.snapshot
        return events, snapshots


class Told(msgspec.Struct, frozen=True):
    """What clients were told by an actor that came back from an entry.

    `by_snapshot`: with the snapshot and the events after it; None: there is none. `by_events`: from
    events alone; None: they are not enough for this actor.
    """

    by_snapshot: list[Any] | None
    by_events: list[Any] | None


class Manifest(msgspec.Struct, frozen=True):
    """A version of the corpus.

    Attributes:
        actors: what its persistent actors were: see tests/corpus/shapes.py.
        told: for each entry, what clients were told when it was written.
    """

    version: int
    actors: dict[str, Any]
    told: dict[str, Told]


def versions() -> list[int]:
    """Return all versions, oldest first."""
    found = (re.fullmatch(r"v(\d+)", path.name) for path in FOLDER.iterdir())
    return sorted(int(one[1]) for one in found if one)


def read_manifest(version: int) -> Manifest:
    """The manifest of a version."""
    return msgspec.json.decode(
        (FOLDER / f"v{version}" / "manifest.json").read_bytes(), type=Manifest
    )


def read_entry(version: int, name: str) -> Entry:
    """An entry of a version."""
    return msgspec.msgpack.decode(
        (FOLDER / f"v{version}" / f"{name}.msgpack").read_bytes(), type=Entry
    )


def write_version(manifest: Manifest, entries: dict[str, Entry]) -> Path:
    """Write a new version. Raises FileExistsError."""
    folder = FOLDER / f"v{manifest.version}"
    folder.mkdir()
    for name, entry in entries.items():
        (folder / f"{name}.msgpack").write_bytes(msgspec.msgpack.encode(entry))
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / "manifest.json").write_bytes(text + b"\n")
    return folder
