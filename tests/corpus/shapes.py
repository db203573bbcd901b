"""The form of what the code persists, to notice when it has changed.

Events are described by the fields of their types. The types of snapshots are each actor's own
business, so these are described by the form of those that the scenes left behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import GenericAlias
from typing import Any, Final

import msgspec

from actors.chat.room import Room
from actors.matches.match import Match
from actors.runtime.persistence import PersistentActor
from tests.corpus.entries import Entry

ACTORS: Final[dict[str, type[PersistentActor]]] = {"room": Room, "match": Match}
"""Kind -> class, of every persistent actor of the server."""


def actors(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return each persistent actor's schema version, its events, and the form of its snapshots."""
    found: dict[str, dict[str, Any]] = {
        kind: {
            "schema_version": actor.schema_version,
            "events": {name: _fields(event) for event, name in actor.event_names.items()},
            "snapshots": {},
        }
        for kind, actor in ACTORS.items()
    }
    forms: dict[tuple[str, str], Any] = {}
    for entry in entries:
        if entry.snapshot is not None:
            what = (entry.kind, entry.key.rpartition("-")[0])  # a match's name says which game
            state = form(msgspec.msgpack.decode(entry.snapshot[5]))
            forms[what] = merged(forms.get(what), state)
    for (kind, game), state in sorted(forms.items()):
        found[kind]["snapshots"][game] = state
    return found


def _fields(struct: type[msgspec.Struct]) -> dict[str, str]:
    return {
        field.encode_name: _name(field.type) + ("" if field.required else ", optional")
        for field in msgspec.structs.fields(struct)
    }


def _name(kind: Any) -> str:
    if isinstance(kind, type) and not isinstance(kind, GenericAlias):
        return str(kind.__name__)
    return re.sub(r"\bactors(\.\w+)*\.", "", str(kind))  # where a type is defined is not stored


def form(value: Any) -> Any:
    """Return the form of a value without its contents. Maps keep their keys."""
    if isinstance(value, dict):
        named = all(isinstance(key, str) for key in value)
        return {key if named else "#": form(inner) for key, inner in sorted(value.items(), key=str)}
    if isinstance(value, list):
        one: Any = None
        for inner in value:
            one = merged(one, form(inner))
        return [one]
    if isinstance(value, bytes):  # a game's own, within its match's
        return {"msgpack": form(msgspec.msgpack.decode(value))}
    return type(value).__name__


def merged(one: Any, other: Any) -> Any:
    """Merge two forms into one."""
    if one is None or one == other:
        return other
    if other is None:
        return one
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: merged(one.get(key), other.get(key)) for key in sorted({*one, *other}, key=str)
        }
    if isinstance(one, list) and isinstance(other, list):
        return [merged(one[0], other[0])]
    return " or ".join(sorted({*_words(one), *_words(other)}))


def _words(one: Any) -> list[str]:
    return one.split(" or ") if isinstance(one, str) else [type(one).__name__]
