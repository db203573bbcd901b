"""The settings of the stores. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

PositiveSeconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class PostgresSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of PostgreSQL, which keeps the events.

    Attributes:
        url: a libpq URL or connection string; empty: the embedded server. It may be a pooler's,
            even one that gives each transaction another session (PgBouncer with `pool_mode =
            transaction`).
        replica_url: a read replica for history and lists; empty: the primary answers those reads as
            well.
        replica_lag_s: while the replica may lack something that was acknowledged longer ago than
            this, or does not answer, the primary answers in its place.
        schema: the PostgreSQL schema of Greenroom's tables. It is made if it is missing.
        connect_timeout_s: how long one attempt to connect may take. libpq knows whole seconds, at
            least 2.
        statement_timeout_s: PostgreSQL gives up a statement after this time. Behind a pooler, whose
            sessions others use as well, this has no effect; set PgBouncer's `query_timeout` there.
        batch_rows: how many rows one transaction may write.
        answers_s: how long the answer to a command with a key is kept. After that the key may act
            again.
        inbox_messages: how many calls may wait for a connection. More raise `StoreInboxFull`.
        first_retry_s, max_retry_s: the first and the longest pause between attempts to reconnect;
            it doubles in between. Calls during the pause fail at once.
    """

    url: str = ""
    replica_url: str = ""
    replica_lag_s: PositiveSeconds = 5.0
    schema: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "greenroom"
    connect_timeout_s: Annotated[float, Meta(ge=2)] = 5.0
    statement_timeout_s: PositiveSeconds = 30.0
    batch_rows: Count = 4096
    answers_s: PositiveSeconds = 86_400.0
    inbox_messages: Count = 4096
    first_retry_s: PositiveSeconds = 0.05
    max_retry_s: PositiveSeconds = 2.0


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of Redis or Valkey, which keeps the snapshots.

    Attributes:
        url: redis://, rediss:// or unix://; empty: the embedded Valkey. Behind Sentinels:
            redis+sentinel://user:password@host:26379,host:26379/name/0, with the Sentinels and the
            name by which they know the primary; `?sentinel_username=` and `sentinel_password=` are
            for the Sentinels themselves. A Redis Cluster: redis+cluster://, with some of its
            servers. rediss+... is with TLS, to the Sentinels as well.
        prefix: the beginning of every key, so that several servers can share one Redis.
        snapshot_expire_s: a snapshot that is not saved again for this time is deleted; 0: never.
            Its actor then recovers from its events, without any state that no event holds.
        timeout_s: how long connecting, and each answer, may take.
        batch_commands: how many commands one round trip may carry.

    The others are as in `PostgresSettings`.
    """

    url: str = ""
    snapshot_expire_s: Annotated[float, Meta(ge=0)] = 30 * 86_400.0
    prefix: str = "greenroom:"
    timeout_s: PositiveSeconds = 5.0
    batch_commands: Count = 1024
    inbox_messages: Count = 4096
    first_retry_s: PositiveSeconds = 0.05
    max_retry_s: PositiveSeconds = 0.5


class ScheduleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of durable schedules.

    Attributes:
        of_target: how many schedules may wait for one (kind, key).
        payload_bytes: the greatest size of a payload.
        in_flight: how many schedules are delivered, and held in memory, at the same time.
        look_every_s: how often the table is read even if nothing is known to be due. Another node
            may have set a schedule and died, and clocks may be changed.
        answer_timeout_s: how long a target may take to acknowledge a schedule.
        first_retry_s, max_retry_s: the first and the longest pause before the next attempt; it
            doubles in between.
        max_attempts: after so many attempts a schedule is given up.
    """

    of_target: Count = 1000
    payload_bytes: Count = 4096
    in_flight: Count = 500
    look_every_s: PositiveSeconds = 5.0
    answer_timeout_s: PositiveSeconds = 10.0
    first_retry_s: PositiveSeconds = 1.0
    max_retry_s: PositiveSeconds = 300.0
    max_attempts: Count = 20


class EmbeddedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the servers that Greenroom starts itself where no URL is set.

    Attributes:
        start_timeout_s: how long a server may take until it answers, including its recovery.
        stop_timeout_s: how long a server may take to stop before it is killed.
    """

    start_timeout_s: PositiveSeconds = 60.0
    stop_timeout_s: PositiveSeconds = 10.0


class BusSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bus between the nodes of a cluster: streams in Valkey or Redis, one for each node.

    `message_bytes`: the longest message; one beyond it is refused where it is sent.
    `entry_bytes`: the most bytes that leave for one node at once, unless one message has more.
    `queue_bytes`: the most that waits in this process for one node; beyond it senders get
    `MailboxFull`. A message counts 64 bytes more than it has.
    `stream_entries`: with so many unread entries in its stream a node gets no more for a while, and
    its senders' queues fill. It is passed by as many entries as there are senders.
    `page_entries`: the most entries that are read at once.
    `gather_s`: how long after the last entry to a node patient messages to it wait for others, so
    that they leave together; 0: they never wait.
    `block_s`: a reader looks whether it is to stop this often.
    `canary_s`: a node sends itself a message through the store this often.
    `canary_late_s`: one that is not back after this long says that the way is not open.
    """

    message_bytes: Count = 1_048_576
    entry_bytes: Count = 262_144
    queue_bytes: Count = 16_777_216
    stream_entries: Count = 1_000
    page_entries: Count = 16
    gather_s: Annotated[float, Meta(ge=0)] = 0.005
    block_s: PositiveSeconds = 0.25
    canary_s: PositiveSeconds = 1.0
    canary_late_s: PositiveSeconds = 3.0
