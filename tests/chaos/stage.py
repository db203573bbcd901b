"""Where a chaos run plays: real stores, a real server process, and the proxy in front of it.

The stores are children of the run, not of the server, so that each can be killed by itself. A
server that ends is started again on the same stores. Clients reach the current one through the
proxy.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psycopg
import trio

from actors.node.parent.control import Show, ask
from actors.node.parent.overview import NodeRow, Overview
from persistence import Replaced
from persistence.embedded import EmbeddedServers
from tests.chaos import known
from tests.chaos.faulty import SOCKET_VARIABLE, WAYS_VARIABLE, Order, orders_of
from tests.chaos.history import Kept, Row, TieRow
from tests.chaos.node_links import NodeLinks
from tests.chaos.proxy import Proxy
from tests.chaos.saver import COLLECTION, KEY
from tests.chaos.vitals import Vitals, all_up, rest
from tests.server_process import Server

STALLED_S = 1.0
"""`wire.stalled_s` of the server: a client that reads nothing for so long is closed."""
SNAPSHOT_INTERVAL_S = 1.0
_NAMES = re.compile(r"urn:uuid:[0-9a-f-]+|0x[0-9a-f]+")
"""Names in lines that libraries log. Without them like lines are counted together."""
_EVENTS = "SELECT kind, key, seq, epoch, type, payload FROM greenroom.events ORDER BY 1, 2, 3"

_ENTRIES = """
    SELECT user_id, entry_offset, payload FROM greenroom.inbox_entries
    WHERE type = 'trial.note' ORDER BY 1, 2
"""
_TIES = """
    SELECT user_id, other_id, (ARRAY['friend', 'requested', 'asked'])[state + 1]
    FROM greenroom.friend_ties
    UNION ALL SELECT user_id, other_id, 'blocked' FROM greenroom.friend_blocks
"""
_OBJECTS = """
    SELECT user_id, value, version FROM greenroom.storage_objects WHERE (collection, key) = (%s, %s)
"""


class Stage(AbstractContextManager["Stage"]):
    """Stores and servers of one run, in `folder`. To be entered in the main thread, before trio.

    Args:
        folder: a new directory, for data and sockets.
        rng: the random numbers of the proxy.
        settings: `section.key=value` for the server, over the defaults.
        known_rooms: how many rooms are in the stores before the server first starts.

    Attributes:
        rooms: the names of the rooms that players are in.
        said: how often the servers logged each event.
        tracebacks: what they printed outside of their logs, which is always wrong.
        wrong: what the faults themselves found to be wrong.
        unwritten, servers_ended: see `History`.
        before: a look at the first server from before it had any client.
        nodes: how many nodes each server has.
    """

    def __init__(
        self,
        folder: Path,
        rng: random.Random,
        *settings: str,
        known_rooms: int = 0,
        nodes: int = 1,
    ) -> None:
        self.folder = folder
        self.proxy = Proxy(("127.0.0.1", 0), rng)
        self.server: Server | None = None
        self.rooms: list[str] = []
        self.said: Counter[str] = Counter()
        self.tracebacks: list[str] = []
        self.wrong: list[str] = []
        self.unwritten: list[tuple[float, float]] = []
        self.servers_ended: list[float] = []
        self.before: Vitals | None = None
        self.nodes = nodes
        self.links: NodeLinks | None = None
        self._known_rooms = known_rooms
        self._settings = settings
        self._servers = EmbeddedServers(folder / "stores", redis=nodes == 1)
        self._beyond = ExitStack()
        self._starts = 0
        self._orders = ""

    def __enter__(self) -> Self:
        self._servers.start()
        if self._known_rooms:
            known.write_rooms(self._servers.postgres_url, self._known_rooms)
        if self.nodes > 1:
            self.links = self._beyond.enter_context(
                NodeLinks(self.folder, self.nodes, self._servers.postgres_url)
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.server is not None and self.server.process.poll() is None:
            self.server.kill()
        self._beyond.close()
        self._servers.stop()

    # --- the server ---

    async def start(self) -> Server:
        """Start a server and lead new connections to it."""
        self._starts += 1
        links = self.links
        settings = (
            f"redis.url={self._servers.redis_url if links is None else links.own.redis}",
            f"postgres.url={self._servers.postgres_url if links is None else links.own.postgres}",
            f"matches.snapshot_interval_s={SNAPSHOT_INTERVAL_S}",
            "games.clockwork=tests.chaos.clockwork:Clockwork",
            "log.format=json",
            "inboxes.look_every_s=1",
            f"wire.stalled_s={STALLED_S}",
            "log.level=debug",  # which says of each connection why it ended
            f"server.nodes={self.nodes}",
            "server.name=node",
            *self._settings,
        )
        folder = self.folder / f"server-{self._starts}"
        orders = str(self.folder / f"orders-{self._starts}")
        entry, variables = ("-m", "tests.chaos.faulty"), {SOCKET_VARIABLE: orders}
        if links is not None:
            variables[WAYS_VARIABLE] = msgspec.json.encode(links.of_nodes).decode()
        server = await trio.to_thread.run_sync(
            lambda: Server(folder, *settings, entry=entry, variables=variables)
        )
        self.server = server
        self._orders = orders
        if self.before is None:  # only before the first clients, which must not wait for it
            look = rest if self.nodes == 1 else all_up
            self.before = await trio.to_thread.run_sync(look, server)
        self.proxy.target = ("127.0.0.1", server.port)
        return server

    def order(self, *orders: Order) -> None:
        """Break hooks of the server; of each of its nodes, as far as it is up."""
        paths = [self._orders]
        if self.links is not None:
            paths = [orders_of(self._orders, name) for name in self.links.of_nodes]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            for path in paths:
                for order in orders:
                    with suppress(FileNotFoundError, ConnectionRefusedError):
                        line.sendto(msgspec.json.encode(order), path)

    def retire(self, server: Server) -> None:
        """Keep the errors that an ended server logged."""
        for line in server.err:
            if line == f"greenroom: {Replaced()}":
                self.said["replaced"] += 1
            elif line.startswith("{"):
                self.said[_NAMES.sub("...", msgspec.json.decode(line)["event"])] += 1
            else:
                self.tracebacks.append(line)

    async def kill(self) -> None:
        """SIGKILL the server."""
        self.servers_ended.append(trio.current_time())
        server = self._running()
        await trio.to_thread.run_sync(server.kill)
        self.retire(server)

    async def stop(self) -> int:
        """SIGTERM the server; returns its exit code once it has drained."""
        self.servers_ended.append(trio.current_time())
        server = self._running()
        code = await trio.to_thread.run_sync(server.stop)
        self.retire(server)
        return code

    def freeze(self, server: Server | None = None) -> None:
        """SIGSTOP the server: its connections stay open, and it does nothing."""
        os.kill((server or self._running()).process.pid, signal.SIGSTOP)

    def thaw(self, server: Server | None = None) -> None:
        """SIGCONT the server, which goes on."""
        os.kill((server or self._running()).process.pid, signal.SIGCONT)

    def rows(self) -> Sequence[NodeRow]:
        """What the parent says of the server's nodes. Blocks."""
        (found,) = ask(self._running().folder, Show())
        assert isinstance(found, Overview)
        return found.nodes

    def url(self) -> str:
        """The URL at which the server itself listens, past the proxy."""
        return self._running().ws

    async def ended(self, peer: str) -> str:
        """Wait until the server has ended the connection from there; returns how, by its log."""
        return await ended(self._running(), peer)

    # --- the stores ---

    def signal_store(self, name: str, signum: signal.Signals) -> None:
        """Send a signal to "Valkey" or "PostgreSQL"."""
        os.kill(self._pids()[name], signum)

    def _pids(self) -> dict[str, int]:
        """The processes of the stores that run, by name."""
        pids = self._servers.pids
        if self.links is not None and self.links.valkeys.primary.alive:
            pids["Valkey"] = self.links.valkeys.primary.pid
        return pids

    async def revive_stores(self) -> None:
        """Start the dead store again, once all its processes have ended."""
        with trio.move_on_after(5):
            while len(self._pids()) == 2:
                await trio.sleep(0.01)
        self._servers.revive()
        if self.links is not None and not self.links.valkeys.primary.alive:
            self.links.valkeys.primary.revive()
        # A server that starts during PostgreSQL's recovery would refuse to, and rightly.
        (await trio.to_thread.run_sync(self._connect)).close()

    async def postgres_setting(self, name: str, value: str | None) -> None:
        """Change a setting of PostgreSQL while it runs; None: back to its default."""
        change = f"SET {name} = '{value}'" if value is not None else f"RESET {name}"

        def apply() -> None:
            with self._connect() as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute(f"ALTER SYSTEM {change}".encode())
                connection.execute("SELECT pg_reload_conf()")

        await trio.to_thread.run_sync(apply)

    def read_log(self) -> list[Row]:
        """Every event that PostgreSQL holds, and every entry of an inbox."""
        with self._connect() as connection:
            return [_row(*row) for row in connection.execute(_EVENTS)] + [
                Row("user", user, offset, 1, body=str(msgspec.msgpack.decode(payload)["note"]))
                for user, offset, payload in connection.execute(_ENTRIES)
            ]

    def read_objects(self) -> list[Kept]:
        """Every object of a saver that PostgreSQL holds."""
        with self._connect() as connection:
            return [
                Kept(user, int(value), version)
                for user, value, version in connection.execute(_OBJECTS, (COLLECTION, KEY))
            ]

    def read_ties(self) -> list[TieRow]:
        """Every tie and every block that PostgreSQL holds."""
        with self._connect() as connection:
            return [TieRow(*row) for row in connection.execute(_TIES)]

    def _connect(self) -> psycopg.Connection[Any]:
        """A connection of our own, once PostgreSQL is through with its recovery."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return psycopg.connect(self._servers.postgres_url, autocommit=True)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _running(self) -> Server:
        assert self.server is not None, "no server was started"
        return self.server


async def ended(server: Server, peer: str) -> str:
    """Wait until a server, whose log is JSON and says all, has ended a connection; returns how."""
    read = 0
    while True:
        for line in server.err[read:]:
            read += 1
            if '"connection ended"' in line:
                said = msgspec.json.decode(line)
                if said["event"] == "connection ended" and said["peer"] == peer:
                    return str(said["close"])
        await trio.sleep(0.05)


def _row(kind: str, key: str, seq: int, epoch: int, event: str, payload: bytes) -> Row:
    """An event as the checker needs it, read as plain msgpack without the server's code."""
    fields = msgspec.msgpack.decode(payload)
    if event == "room.posted":
        return Row(kind, key, seq, epoch, fields["user"], fields["body"], fields.get("key"))
    if event == "Moved":
        return Row(kind, key, seq, epoch, fields["player"], str(fields["seq"]))
    return Row(kind, key, seq, epoch)
