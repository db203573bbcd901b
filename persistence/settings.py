"""What one can set about the stores."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class PostgresSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events are kept and how patiently.

    `url`: a libpq URL or connection string; empty means the embedded server. A pooler's will do,
    also one that hands each transaction to another session (PgBouncer, `pool_mode = transaction`).
    `replica_url`: a read replica for history; empty means the primary answers those reads too.
    `schema`: the PostgreSQL schema that holds Greenroom's tables, made if it is missing.
    `connect_timeout_s`: for one attempt to connect; libpq knows whole seconds, 2 at least.
    `statement_timeout_s`: the server gives up on a statement after this long. Not behind a pooler,
    whose sessions are others' too: set PgBouncer's `query_timeout`.
    `batch_rows`: the most rows that one transaction writes.
    `answers_s`: the answer to a command with a key is kept for so long; then the key may act anew.
    `inbox_messages`: the most calls that wait for a connection; more raise `StoreInboxFull`.
    `first_retry_s`, `max_retry_s`: the pause between attempts to reconnect, doubling from the one
    to the other; calls in the pause fail at once.
    """

    url: str = ""
    replica_url: str = ""
    schema: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "greenroom"
    connect_timeout_s: Annotated[float, Meta(ge=2)] = 5.0
    statement_timeout_s: Seconds = 30.0
    batch_rows: Count = 4096
    answers_s: Seconds = 86_400.0
    inbox_messages: Count = 4096
    first_retry_s: Seconds = 0.05
    max_retry_s: Seconds = 2.0


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where snapshots are kept and how patiently.

    `url`: redis://, rediss:// or unix://; empty means the embedded Valkey.
    `prefix`: goes before every key, so that several servers can share one Redis.
    `snapshot_expire_s`: a snapshot that was not saved again for so long goes, and with it whatever
    no event holds; 0: never. Its actor comes back from its events.
    `timeout_s`: for connecting and for each answer.
    `batch_commands`: the most commands that one round trip carries.
    The others are as in `PostgresSettings`.
    """

    url: str = ""
    snapshot_expire_s: Annotated[float, Meta(ge=0)] = 30 * 86_400.0
    prefix: str = "greenroom:"
    timeout_s: Seconds = 5.0
    batch_commands: Count = 1024
    inbox_messages: Count = 4096
    first_retry_s: Seconds = 0.05
    max_retry_s: Seconds = 0.5


class ScheduleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Durable schedules: how many there may be, and how patiently they are delivered.

    `of_target`: the most that wait for one (kind, key).
    `payload_bytes`: the longest payload.
    `in_flight`: so many are delivered at once, and held in memory.
    `look_every_s`: the table is looked at so often though nothing is known to be due: another
    node may have set something and died, and clocks are moved.
    `answer_timeout_s`: how long a target has to acknowledge one.
    `first_retry_s`, `max_retry_s`: the pause before the next attempt, doubling from the one to the
    other.
    `max_attempts`: then it is given up.
    """

    of_target: Count = 1000
    payload_bytes: Count = 4096
    in_flight: Count = 500
    look_every_s: Seconds = 5.0
    answer_timeout_s: Seconds = 10.0
    first_retry_s: Seconds = 1.0
    max_retry_s: Seconds = 300.0
    max_attempts: Count = 20


class EmbeddedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The servers that Greenroom starts itself when no URL says where others are.

    `start_timeout_s`: how long a server may take until it answers, recovery included.
    `stop_timeout_s`: how long it may take to end in order before it is killed.
    """

    start_timeout_s: Seconds = 60.0
    stop_timeout_s: Seconds = 10.0
