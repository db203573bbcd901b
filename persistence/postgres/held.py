"""Actors that no node may start for a time, because one was caught in their code."""

from __future__ import annotations

from typing import Final, NamedTuple

from persistence.postgres.connection import run_once
from persistence.settings import PostgresSettings

_HOLD: Final = "SELECT times, for_s FROM {schema}.hold_actor(%s, %s, %s, %s::float8)"


class HangCount(NamedTuple):
    """How often nodes were caught in an actor's code, and for how long no node starts the actor."""

    hangs: int
    held_s: float


def hold_actor(
    settings: PostgresSettings, kind: str, key: str, *, node: str, first_s: float
) -> HangCount:
    """Hold an actor back. Blocks. Raises StoreUnavailable.

    Arguments:
        settings: the address of PostgreSQL.
        kind: the actor's.
        key: the actor's.
        node: the name of the node that is caught in its code.
        first_s: how long it is held after its first hang. Each further one takes ten times longer,
            up to a day.
    """
    rows = run_once(settings, _HOLD, (kind, key, node, first_s))
    return HangCount(*rows[0])
