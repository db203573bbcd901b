"""Valkey servers on ports of 127.0.0.1: replicas, Sentinels, and Clusters of them.

They are the embedded server's program, which is a Sentinel as well if it is told so.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from redis.exceptions import RedisError

from persistence.embedded.binaries import valkey_server
from persistence.embedded.server_process import ServerProcess

PASSWORD: Final = "a-password"


def until(true: Callable[[], Any], what: str) -> None:
    """Wait until the function says yes: another process has to come to it by itself."""
    for _ in range(3000):
        try:
            if true():
                return
        except (RedisError, OSError):
            pass
        time.sleep(0.02)
    raise AssertionError(f"not in a minute: {what}")


class Valkey:
    """One server."""

    def __init__(self, folder: Path, *settings: str, sentinel: bool = False) -> None:
        self.port = _free_port()
        home = folder / str(self.port)
        home.mkdir(parents=True)
        conf = home / "valkey.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {home}", 'save ""', *settings]
        if not sentinel:
            lines += [f"requirepass {PASSWORD}", f"masterauth {PASSWORD}"]
        conf.write_text("\n".join(lines) + "\n")
        self._command: list[str | Path] = [
            valkey_server(),
            conf,
            *(["--sentinel"] if sentinel else []),
        ]
        self._log = home / "log"
        self._process = self._start()
        self.client: Any = redis.Redis(
            port=self.port, password=None if sentinel else PASSWORD, protocol=2, max_connections=1
        )
        self.until_up()

    def _start(self) -> ServerProcess:
        return ServerProcess("Valkey", self._command, log=self._log, stop_signal=signal.SIGKILL)

    @property
    def alive(self) -> bool:
        return self._process.alive

    @property
    def pid(self) -> int:
        return self._process.pid

    def revive(self) -> None:
        """Start it again on what it has on disk, in the main thread. It need not be up yet."""
        self._process = self._start()

    def until_up(self) -> None:
        until(self.client.ping, f"the server on {self.port} answers")

    def freeze(self) -> None:
        """It does not answer any more, as if its machine hung; who connects finds it there."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        self.client.close()
        if self._process.alive:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait_or_kill(10)


class Watched:
    """A primary with a replica, and three Sentinels that watch them.

    Arguments:
        folder: for their files.
        down_ms: after so long the Sentinels believe that the primary is down.
    """

    def __init__(self, folder: Path, down_ms: int) -> None:
        self.primary = Valkey(folder, "repl-diskless-sync-delay 0")
        self.replica = Valkey(folder, f"replicaof 127.0.0.1 {self.primary.port}")
        until(
            lambda: self.replica.client.info("replication")["master_link_status"] == "up",
            "the replica follows",
        )
        self.sentinels = [
            Valkey(
                folder,
                f"sentinel monitor games 127.0.0.1 {self.primary.port} 2",
                f"sentinel auth-pass games {PASSWORD}",
                f"sentinel down-after-milliseconds games {down_ms}",
                "sentinel failover-timeout games 10000",
                sentinel=True,
            )
            for _ in range(3)
        ]
        until(self._complete, "the Sentinels know one another and the replica")

    def _complete(self) -> bool:
        states = [one.client.sentinel_masters()["games"] for one in self.sentinels]
        return all(
            (state["num-other-sentinels"], state["num-slaves"]) == (2, 1) for state in states
        )

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/games/0"

    def lose_what_comes_now(self) -> None:
        """Cut the replica off: what the primary takes from now on will be lost."""
        self.replica.client.config_set("masterauth", "a wrong one")
        self.replica.client.client_kill_filter(_type="master")
        until(
            lambda: self.replica.client.info("replication")["master_link_status"] == "down",
            "the replica has lost its primary",
        )

    def fail_over(self) -> None:
        """Kill the primary, and wait until the replica is one."""
        self.primary.kill()
        self._until_another_is_primary()

    def hang(self) -> None:
        """Freeze the primary, and wait until the replica is one."""
        self.primary.freeze()
        self._until_another_is_primary()

    def _until_another_is_primary(self) -> None:
        until(
            lambda: self.replica.client.info("replication")["role"] == "master",
            "the replica is the primary",
        )

    def end(self) -> None:
        for each in (*self.sentinels, self.replica, self.primary):
            each.kill()


@contextmanager
def watched(folder: Path, *, down_ms: int = 1000) -> Iterator[Watched]:
    found = Watched(folder, down_ms)
    try:
        yield found
    finally:
        found.end()


class Cluster:
    """Three primaries, each with a third of the hash slots.

    Arguments:
        folder: for their files.
        down_ms: after so long they believe of one that it is down.
    """

    def __init__(self, folder: Path, down_ms: int) -> None:
        self._down_ms = down_ms
        self.primaries = [self._server(folder) for _ in range(3)]
        edges = (0, 5461, 10923, 16384)
        for number, each in enumerate(self.primaries):
            each.client.execute_command(
                "CLUSTER", "ADDSLOTSRANGE", edges[number], edges[number + 1] - 1
            )
        self.replica: Valkey | None = None
        self._folder = folder
        self._meet(self.primaries[1:])

    def _server(self, folder: Path) -> Valkey:
        return Valkey(
            folder, "cluster-enabled yes", f"cluster-port {_free_port()}",
            f"cluster-node-timeout {self._down_ms}", "cluster-require-full-coverage no",
            "repl-diskless-sync-delay 0",
        )  # fmt: skip

    def _meet(self, new: list[Valkey]) -> None:
        first = self.primaries[0].client
        for each in new:
            port = each.client.config_get("cluster-port")["cluster-port"]
            first.execute_command("CLUSTER", "MEET", "127.0.0.1", each.port, port)
        servers = [*self.primaries, *new]

        def complete() -> bool:
            states = [one.client.cluster("info") for one in servers]
            count = str(len(set(map(id, servers))))
            return all(
                state["cluster_state"] == "ok"
                and state["cluster_known_nodes"] == count
                and state["cluster_slots_ok"] == "16384"
                for state in states
            )

        until(complete, "all servers know the whole Cluster")

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.primaries[:2])
        return f"redis+cluster://:{PASSWORD}@{hosts}"

    def primary_of(self, key: str) -> Valkey:
        """The server that had the key's hash slot at first."""
        slot: int = self.primaries[0].client.execute_command("CLUSTER", "KEYSLOT", key)
        return self.primaries[(slot >= 5461) + (slot >= 10923)]

    def add_replica(self, of: Valkey) -> None:
        replica = self._server(self._folder)
        self._meet([replica])
        name = of.client.execute_command("CLUSTER", "MYID").decode()
        until(
            lambda: replica.client.execute_command("CLUSTER", "REPLICATE", name),
            "the new server is a replica",
        )
        until(
            lambda: replica.client.info("replication")["master_link_status"] == "up",
            "the replica follows",
        )
        self.replica = replica

    def fail_over(self, primary: Valkey) -> None:
        """Kill a primary, and wait until its replica has its place."""
        replica = self.replica
        assert replica is not None
        primary.kill()
        until(
            lambda: replica.client.info("replication")["role"] == "master",
            "the replica is a primary",
        )

    def move(self, key: str, to: Valkey) -> None:
        """Move the hash slot of a key, and this key in it, to another server.

        The new owner takes a higher epoch than all that it knows of. One that it has not heard of
        yet could be higher still: then the old owner's next word takes the slot back from it, and
        it deletes the keys. So all have heard everything before the move, and after it.
        """
        self._until_agreed()
        source = self.primary_of(key)
        slot = source.client.execute_command("CLUSTER", "KEYSLOT", key)
        self.begin_to_move(key, to)
        keys = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
        if keys:
            source.client.execute_command(
                "MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys
            )
        name = to.client.execute_command("CLUSTER", "MYID").decode()
        for each in (to, source, *self.primaries):
            each.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)
        self._until_agreed()
        assert _has(source, slot, to)

    def _until_agreed(self) -> None:
        """Wait until all servers say the same of each one's epoch and hash slots."""

        def agreed() -> bool:
            first, *others = (_view(one) for one in self.primaries)
            epochs = {epoch for epoch, _ in first.values()}
            return len(epochs) == len(first) and all(one == first for one in others)

        until(agreed, "all servers agree on epochs and hash slots")

    def begin_to_move(self, key: str, to: Valkey) -> None:
        source = self.primary_of(key)
        slot = source.client.execute_command("CLUSTER", "KEYSLOT", key)
        names = [one.client.execute_command("CLUSTER", "MYID").decode() for one in (source, to)]
        to.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])

    def end(self) -> None:
        for each in (*self.primaries, *([self.replica] if self.replica else [])):
            each.kill()


def _view(asked: Valkey) -> dict[str, tuple[int, list[str]]]:
    """Of each server, its epoch and its hash slots, as one of them says."""
    found = {}
    for line in asked.client.execute_command("CLUSTER", "NODES").decode().splitlines():
        name, _, _, _, _, _, epoch, _, *slots = line.split()
        found[name] = int(epoch), [one for one in slots if not one.startswith("[")]
    return found


def _has(asked: Valkey, slot: int, owner: Valkey) -> bool:
    """Whether a server says that another one, or itself, has a hash slot."""
    ranges = asked.client.execute_command("CLUSTER", "SLOTS")
    return any(
        int(one[0]) <= slot <= int(one[1]) and int(one[2][1]) == owner.port for one in ranges
    )


@contextmanager
def sharded(folder: Path, *, down_ms: int = 1500) -> Iterator[Cluster]:
    found = Cluster(folder, down_ms)
    try:
        yield found
    finally:
        found.end()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
