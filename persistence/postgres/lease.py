"""The lease of a schema: a row that names the server which uses the schema, and its heartbeat.

The lease protects no data. If two servers work on one room, epochs keep the log right, but each
server is refused again and again. The lease tells the operator that there are two servers. An
advisory lock would not do, because it belongs to a session, and a pooler has none to give.

The servers of a cluster share one lease in the name of the cluster: any of them renews it, and
another server of the cluster is let in. The register knows which nodes they have.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from persistence.errors import SchemaInUse, StoreUnavailable
from persistence.postgres.connection import PostgresLink, connect, qualified
from persistence.settings import PostgresSettings

BEAT_S: Final = 2.0
"""The time between two heartbeats."""
SILENT_S: Final = 2 * BEAT_S + 0.5
"""A server without a heartbeat for so long, while another one watches, is gone."""
LAPSED_S: Final = 15.0
"""A server whose last heartbeat is older than this is gone, without any further wait."""
DRAIN_S: Final = 30.0
"""The longest wait for a server that is stopping."""
LOOK_S: Final = 0.1
"""The time between two looks at the row."""
RELEASE_S: Final = 2.0
"""How long a server that ends tries to give the lease up. A store that is away must not keep it."""


class Holder(msgspec.Struct, frozen=True):
    """A process. Another process on the same machine can tell at once whether it has ended.

    `started`: its start in the kernel's ticks, because process ids are used again.
    """

    host: str
    machine: str
    namespace: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else self.host

    def is_gone(self) -> bool:
        """Whether the process is known to have ended. False if it runs on another machine."""
        here = this_process()
        if (self.machine, self.namespace) != (here.machine, here.namespace):
            return False
        return _started(self.pid) != self.started


CLUSTER: Final = Holder("a cluster of servers", "", "", 0, "")
"""Holds the lease for all servers of a cluster. It is no process, so it is never known to have
ended: it is gone when nobody renews the lease."""


def this_process() -> Holder:
    """Return the `Holder` of this process."""
    return Holder(
        socket.gethostname(),
        _read(Path("/proc/sys/kernel/random/boot_id")),
        _namespace(),
        os.getpid(),
        _started(os.getpid()),
    )


class LeaseRow(NamedTuple):
    """The row of the lease. `age_s`: seconds since the last heartbeat."""

    holder: Holder
    beats: int
    draining: bool
    age_s: float


class SchemaLease:
    """The lease of the schema that the settings name. Every method blocks.

    Arguments:
        settings: the address of the database, and the schema.
        holder: the process that wants the lease, by default this one; or `CLUSTER`, for a server
            that lets other servers of a cluster in.
        binding: whether a server that has lost the lease must stop.
        sleep: waits so many seconds; for tests.

    Attributes:
        lost: whether another server has taken the lease over.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        holder: Holder | None = None,
        *,
        binding: bool = True,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.lost = False
        self.binding = binding
        self._settings = settings
        self._holder = holder or this_process()
        self._name = msgspec.json.encode(self._holder).decode()
        self._link = PostgresLink(settings)
        self._sleep = sleep
        self._beating = threading.Lock()

    def __enter__(self) -> SchemaLease:
        return self

    def __exit__(self, *_: object) -> None:
        # A heartbeat that hangs in a frozen store still uses the connection, so leave it open.
        if self._beating.acquire(blocking=False):
            self._link.close()

    def take(self) -> None:
        """Take the lease once no living server has it.

        It waits up to `DRAIN_S` for a server that is stopping. A server that was killed is known to
        be gone at once if it ran on this machine, and otherwise after `SILENT_S`. A server of a
        cluster does not wait if its cluster has the lease.

        Raises:
            SchemaInUse: another server lives, or a cluster to which this server does not belong.
            StoreUnavailable: PostgreSQL does not answer.
        """
        heard: LeaseRow | None = None
        silent_s = waited_s = 0.0
        while True:
            held = self._read()
            if held is not None and held.holder == self._holder == CLUSTER:
                return
            if heard is not None and held is not None and held[:2] != heard[:2]:
                silent_s = 0.0
                if held.holder == heard.holder and not held.draining:
                    raise SchemaInUse(
                        str(held.holder),
                        cluster=CLUSTER in (held.holder, self._holder),
                    )
            heard = held
            free = (
                held is None
                or silent_s >= SILENT_S
                or held.age_s > LAPSED_S
                or held.holder.is_gone()
                or (held.draining and waited_s >= DRAIN_S)
            )
            if free and self._claim(held):
                return
            self._sleep(LOOK_S)
            silent_s += LOOK_S
            waited_s += LOOK_S

    def beat(self, *, draining: bool) -> bool:
        """Send a heartbeat; returns whether the lease is still ours. Raises StoreUnavailable."""
        with self._beating:
            beaten = self._run(
                "UPDATE {schema}.lease SET beats = beats + 1, draining = %s,"
                " beat_at = clock_timestamp() WHERE holder = %s",
                (draining, self._name),
            )
            self.lost = not beaten and not self._claim(None)  # None: somebody cleared the table
        return not self.lost

    def release(self) -> None:
        """Give the lease up, if the store answers.

        The lease of a cluster stays while nodes live.
        """
        text = "DELETE FROM {schema}.lease WHERE holder = %s"
        if self._holder == CLUSTER:
            text += " AND NOT EXISTS (SELECT FROM {schema}.nodes WHERE buried_at IS NULL)"

        def say() -> None:
            try:
                with connect(self._settings) as connection:
                    connection.execute(qualified(self._settings, text), (self._name,))
            except (StoreUnavailable, psycopg.Error):
                pass  # the lease lapses by itself

        saying = threading.Thread(target=say, daemon=True)
        saying.start()
        saying.join(RELEASE_S)

    def _read(self) -> LeaseRow | None:
        text = qualified(
            self._settings,
            "SELECT holder, beats, draining,"
            " extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM {schema}.lease",
        )
        row = self._link.run(lambda connection: connection.execute(text).fetchone())
        if row is None:
            return None
        return LeaseRow(msgspec.json.decode(row[0], type=Holder), *row[1:])

    def _claim(self, held: LeaseRow | None) -> bool:
        """Take the lease from the holder that was read; returns whether nobody else was faster."""
        if held is None:
            return self._run(
                "INSERT INTO {schema}.lease (holder) VALUES (%s) ON CONFLICT DO NOTHING",
                (self._name,),
            )
        return self._run(
            "UPDATE {schema}.lease SET holder = %s, beats = 0, draining = false,"
            " beat_at = clock_timestamp() WHERE holder = %s AND beats = %s",
            (self._name, msgspec.json.encode(held.holder).decode(), held.beats),
        )

    def _run(self, text: Any, arguments: tuple[Any, ...]) -> bool:
        statement = qualified(self._settings, text)
        return self._link.run(lambda to: to.execute(statement, arguments).rowcount) == 1


def _started(pid: int) -> str:
    """Return the start of a process, in the kernel's ticks; "" if there is no such process."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] != "Z" else ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="latin-1").strip()
    except OSError:
        return ""
