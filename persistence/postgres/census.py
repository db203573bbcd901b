"""The nodes in the register, to show to people.

Nodes themselves use `persistence.postgres.nodes`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from persistence.postgres.connection import run_once
from persistence.settings import PostgresSettings

_READ: Final = """
SELECT id, about, process, leaving,
       extract(epoch FROM clock_timestamp() - started_at)::float8,
       extract(epoch FROM clock_timestamp() - beat_at)::float8,
       extract(epoch FROM clock_timestamp() - valkey_at)::float8
FROM {schema}.nodes WHERE buried_at IS NULL ORDER BY name, incarnation
"""


class Registered(NamedTuple):
    """A node that was admitted, and has not been buried.

    Attributes:
        about: its descriptor, as it wrote it.
        process: its process and machine.
        age_s: how long ago it joined.
        report_s: how long ago it has reported.
        valkey_s: how long ago Valkey had answered it, as it has reported.
    """

    id: str
    about: bytes
    process: str
    leaving: bool
    age_s: float
    report_s: float
    valkey_s: float


def registered_nodes(settings: PostgresSettings) -> list[Registered]:
    """Read the register. Blocks. Raises StoreUnavailable."""
    rows = run_once(settings, _READ)
    return [Registered(id_, bytes(about), process, *rest) for id_, about, process, *rest in rows]
