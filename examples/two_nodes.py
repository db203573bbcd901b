"""Two processes that are one system: `python -m examples.two_nodes`.

The script starts a Valkey and a PostgreSQL, and itself twice more as the nodes `a` and `b`. Each of
them greets the same ten guests, by the same ten names, and whichever node a guest lives on counts
the greetings of both. It needs neither the game server nor its protocol.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import structlog
import trio

import actors
from actors.cluster.cluster import Cluster
from actors.cluster.joining import Joining
from actors.cluster.membership import NodeMembership
from actors.cluster.rules.view import Descriptor
from persistence import PostgresSettings, RedisSettings
from persistence.embedded import EmbeddedServers
from persistence.postgres import migrate

GUESTS = [f"guest-{number}" for number in range(10)]


class Greet(msgspec.Struct, frozen=True):
    """A request. The reply is how often the guest was greeted."""

    by: str


class Guest(actors.Actor):
    """Its handlers say what can cross between nodes: a Greet, and an int back."""

    def __init__(self, _key: str) -> None:
        super().__init__()
        self.greeted = 0

    @actors.handles(Greet)
    def greet(self, _message: Greet) -> int:
        self.greeted += 1
        return self.greeted


async def live(name: str, redis: RedisSettings, postgres: PostgresSettings) -> None:
    """Be a node, which greets all guests, or counts its own, when a line asks for it."""
    cluster = Cluster(Joining(Descriptor(name=name), redis, postgres), redis)
    async with actors.ActorSystem(name, cluster=cluster, default_timeout_s=30.0) as system:
        system.register(actors.Kind("guest", Guest, placement="hashed"))
        place = cluster.place
        assert isinstance(place, NodeMembership)
        # A guest has no store, so it forgets when it is handed over to a node that has just joined.
        while len(place.view().nodes) < 2 or not place.settled():
            await trio.sleep(0.05)
        print("ready", flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            if line == "greet\n":
                greeted = [await system.ref("guest", guest).ask(Greet(name)) for guest in GUESTS]
                print(sum(greeted), flush=True)
            else:
                print(len(list(system.actors("guest"))), flush=True)


def node(name: str, redis_url: str, postgres_url: str) -> None:
    """One of the two processes. Its standard output is for answers, so logs go elsewhere."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
    )
    trio.run(live, name, RedisSettings(url=redis_url), PostgresSettings(url=postgres_url))


def ask(process: subprocess.Popen[str], line: str = "") -> str:
    """Write a line to a node, and read one."""
    assert process.stdin is not None
    assert process.stdout is not None
    if line:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


def main() -> None:
    """Start the stores and both nodes, and have them greet."""
    # Not tempfile.mkdtemp: that makes it 0700, and as root PostgreSQL runs as another user.
    scratch = Path(tempfile.gettempdir()) / f"two-nodes-{secrets.token_hex(8)}"
    try:
        with EmbeddedServers(scratch) as servers:
            migrate(PostgresSettings(url=servers.postgres_url))
            command = [sys.executable, "-m", "examples.two_nodes"]
            nodes = [
                subprocess.Popen(
                    [*command, name, servers.redis_url, servers.postgres_url],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for name in "ab"
            ]
            for each in nodes:
                ask(each)
            a, b = nodes
            print(f"a greets its guests: {ask(a, 'greet')} greetings")
            print(f"b greets the same ones: {ask(b, 'greet')} greetings")
            print(f"{ask(a, 'count')} guests live on a, {ask(b, 'count')} on b")
            for each in nodes:
                assert each.stdin is not None
                each.stdin.close()
            for each in nodes:
                each.wait()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        node(*sys.argv[1:])
    else:
        main()
