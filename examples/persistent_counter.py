"""An actor that comes back after its process was killed: `python -m examples.persistent_counter`.

The script starts itself as a child that counts as fast as it can, kills it with SIGKILL in the
middle of that, starts it again and compares the totals. Everything that the child reported as
counted is still there, since the answer to `Count` means that the event is committed. The script
needs neither the game server nor its protocol. It needs only the runtime, and the embedded
PostgreSQL and Valkey for events and snapshots.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import structlog
import trio

import actors
from persistence import EventStore, PostgresSettings, RedisSettings, SnapshotStore
from persistence.embedded import EmbeddedServers
from persistence.postgres import EventReader, EventWriter, migrate
from persistence.redis import SnapshotWorker


class Count(msgspec.Struct, frozen=True):
    """A request: count one more. The reply is the total, once it is durable."""


class Look(msgspec.Struct, frozen=True):
    """A request. The reply is the total."""


class Counted(msgspec.Struct, frozen=True):
    """An event: the total went up by one."""


class Counter(actors.PersistentActor):
    """Counts. Its state changes only in `apply`, so that replaying the events restores it."""

    events = (Counted,)

    def __init__(self, _key: str) -> None:
        super().__init__()
        self.total = 0

    @actors.handles(Count)
    def count(self, _message: Count) -> actors.Future[int]:
        return self.persist(Counted(), reply=self.total + 1)

    @actors.handles(Look)
    def look(self, _message: Look) -> int:
        return self.total

    def apply(self, _event: Counted) -> None:
        self.total += 1

    def snapshot(self) -> int:
        return self.total

    def restore(self, state: int, schema: int) -> None:  # noqa: ARG002 - there is one schema so far
        self.total = state


@contextlib.asynccontextmanager
async def open_system(servers: EmbeddedServers) -> AsyncIterator[actors.ActorSystem]:
    """Run a system on these stores, whose threads start first and so stop last."""
    async with actors.ActorSystem() as system:
        postgres = PostgresSettings(url=servers.postgres_url)
        writer = system.start(EventWriter, postgres)
        reader = system.start(EventReader, postgres)
        worker = system.start(SnapshotWorker, RedisSettings(url=servers.redis_url))
        system.use_stores(EventStore(writer, reader), SnapshotStore(worker))
        system.register(actors.Kind(name="counter", factory=Counter))
        yield system


async def live(servers: EmbeddedServers, *, for_ever: bool) -> None:
    """Print the total. With `for_ever`, then count, and print each total once it is durable."""
    async with open_system(servers) as system:
        counter = system.ref("counter", "visits")
        print(await counter.ask(Look()), flush=True)
        while for_ever:
            print(await counter.ask(Count()), flush=True)


def child(data_dir: Path, *, for_ever: bool) -> None:
    """Run the child process. Its standard output is for totals, so logs go to standard error."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
    )
    with EmbeddedServers(data_dir) as servers:
        migrate(PostgresSettings(url=servers.postgres_url))
        trio.run(lambda: live(servers, for_ever=for_ever))


def command(data_dir: Path, mode: str) -> list[str]:
    """Return the command that starts this script as a child."""
    return [sys.executable, "-m", "examples.persistent_counter", mode, str(data_dir)]


def kill_in_the_middle(data_dir: Path, after: int) -> int:
    """Let a child count, and kill it at a total of `after` or more; return the last one printed."""
    with subprocess.Popen(command(data_dir, "count"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = 0
        for line in process.stdout:
            said = int(line)
            if said == after:
                process.kill()
    if said < after:
        raise SystemExit(f"the child ended by itself, with status {process.returncode}")
    return said


def main() -> None:
    """Let a child count, kill it, and start it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", nargs="?", choices=["show", "count", "look"], default="show")
    parser.add_argument("data_dir", nargs="?", type=Path, help="default: one for this run only")
    arguments = parser.parse_args()
    # Not tempfile.mkdtemp: that makes it 0700, and as root PostgreSQL runs as another user.
    scratch = Path(tempfile.gettempdir()) / f"persistent-counter-{secrets.token_hex(8)}"
    data_dir = arguments.data_dir or scratch
    if arguments.mode != "show":
        child(data_dir, for_ever=arguments.mode == "count")
        return
    try:
        said = kill_in_the_middle(data_dir, after=100)
        print(f"first life: {said} was the last total it was sure of; then it was killed")
        shown = subprocess.run(
            command(data_dir, "look"), stdout=subprocess.PIPE, text=True, check=True
        )
        total = int(shown.stdout)
        # One more may be committed whose answer the kill cut off.
        verdict = "nothing lost" if total in (said, said + 1) else "WRONG"
        print(f"second life: the counter came back with {total}: {verdict}")
    finally:
        if arguments.data_dir is None:
            shutil.rmtree(scratch, ignore_errors=True)
    if verdict == "WRONG":
        raise SystemExit(1)


if __name__ == "__main__":
    main()
