"""The rows that go into and out of the stores.

They are plain tuples. So a runtime and the stores need not import one another, and each event takes
the time for one tuple only; a NamedTuple takes five times as long to make.
"""

from __future__ import annotations

from typing import TypeAlias

EventRow: TypeAlias = tuple[str, str, int, int, str, bytes, int]
"""kind, key, seq, epoch, type, payload, at_us: one event of one actor.

`seq` counts the actor's events from 1; `epoch` is the incarnation that wrote it; `type` names the
event's type and `payload` is its encoding, opaque here; `at_us` is microseconds since 1970, UTC.
"""

SnapshotRow: TypeAlias = tuple[str, str, int, int, int, bytes]
"""kind, key, seq, epoch, schema, payload: one actor's state, true up to and including event `seq`.

`epoch` is the incarnation that took it. `schema` is the version of the payload's layout, which the
actor defines.
"""
