"""The headline: 100,000 joined sessions at once, while rooms of 100 talk.

    python -m bench.hundred_thousand
    python -m bench.hundred_thousand --players 20000 --rate 5000

A player takes about 60 KiB of memory, all processes and the kernel together, and two file
descriptors, one at each end of the connection. A process can open only so many files. The bench
therefore starts several servers and as many generators. The servers are independent nodes on one
PostgreSQL and one Valkey. If the machine has too little memory or too few files, there are fewer
players, and the report says so. The servers are not pinned: they and the load share all cores.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from bench import machine, stage
from bench.child import ChildServer
from bench.client import MIN_BODY
from bench.command import main
from bench.folder import temporary_data
from bench.result import Options, ServerResult
from bench.rooms import RoomsLoad
from bench.scenario import ClientCount, Plan, Scenario
from bench.stage import progress
from persistence.embedded import EmbeddedServers

PATIENCE = ("wire.handshake_timeout_s=60", "wire.first_message_timeout_s=60")
"""Longer timeouts: when all players come at once on few cores, handshakes wait their turn."""
SPARE_FILES = 1000
"""File descriptors of each process that are not for clients."""
BYTES_A_PLAYER = 60 * 1024
MEMORY_SHARE = 0.8
"""Share of the available memory that all processes together may take."""


class Headline(Plan, frozen=True, kw_only=True):
    """Players in rooms of 100."""

    seconds: Annotated[float, Meta(ge=1, le=86_400, description="seconds measured")] = 60.0
    warmup: Annotated[
        float, Meta(ge=0, le=600, description="seconds of load before the measurement")
    ] = 10.0
    players: Annotated[
        ClientCount, Meta(description="joined sessions; fewer if memory or files do not suffice")
    ] = 100_000
    members: Annotated[int, Meta(ge=1, le=5000, description="members of a room")] = 100
    rate: Annotated[float, Meta(ge=1, le=1e6, description="deliveries a second")] = 20_000.0
    body: Annotated[int, Meta(ge=MIN_BODY, le=4096, description="bytes of a message's text")] = 100

    @property
    def rooms(self) -> int:
        return max(1, self.players // self.members)

    def sessions(self) -> int:
        return self.rooms * self.members

    def intended(self) -> float | None:
        return self.rate


def possible(players: int, files: int, memory_bytes: int) -> int:
    """Return how many of the wanted players the machine can carry.

    Arguments:
        players: how many are wanted.
        files: descriptors that the system has left; a connection takes one at each end.
        memory_bytes: available memory.
    """
    by_files = max(0, files - 10 * SPARE_FILES) // 2
    return min(players, by_files, int(memory_bytes * MEMORY_SHARE) // BYTES_A_PLAYER)


def processes_for(players: int, files_each: int) -> int:
    """Return how many processes it takes to have a descriptor for each player."""
    return max(1, -(-players // (files_each - SPARE_FILES)))


def system_files() -> int:
    """Return how many files the whole system may still open."""
    used, free, most = (int(part) for part in Path("/proc/sys/fs/file-nr").read_text().split())
    return most - used + free


@contextmanager
def nodes(count: int, sessions_each: int, settings: list[str]) -> Iterator[list[ChildServer]]:
    """Run `count` servers on the same stores, each with its own schema and key prefix."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_data())
        stores = stack.enter_context(EmbeddedServers(folder / "data"))
        running = []
        for number in range(count):
            command = stage.serve_command([
                f"server.data_dir={folder}/node{number}",
                f"postgres.url={stores.postgres_url}", f"postgres.schema=node{number}",
                f"redis.url={stores.redis_url}", f"redis.prefix=node{number}:",
                f"wire.max_connections={sessions_each + SPARE_FILES // 2}",
                *PATIENCE,
                *settings,
            ])  # fmt: skip
            running.append(stack.enter_context(ChildServer(command)))
        try:
            yield running
        finally:
            for server in running:  # all at once; each is then waited for in turn
                server.process.terminate()


def measure(
    scenario: Scenario, module: str, plan: Headline, options: Options, _: str
) -> ServerResult:
    """Measure as many players as the machine can carry."""
    _soft, files_each = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_each, files_each))
    memory = machine.memory_bytes("MemAvailable")
    wanted, players = plan.players, possible(plan.players, system_files(), memory)
    if players < wanted:
        progress(
            f"scaled down to {players:,} players of {wanted:,}: {memory / 2**30:.1f} GiB of"
            f" memory available, {system_files():,} files"
        )
        plan = msgspec.structs.replace(plan, players=max(plan.members, players))
    count = processes_for(plan.sessions(), files_each)
    each = -(-plan.rooms // count) * plan.members
    if options.url:
        return stage.load(
            scenario, module, plan, options, name="greenroom", driver="", urls=[options.url]
        )
    progress(f"{count} servers and {count} generators, up to {each:,} players each")
    began = time.monotonic()
    with nodes(count, each, options.settings) as servers:
        progress(f"servers are up after {time.monotonic() - began:.0f} s")
        outcome = stage.load(
            scenario, module, plan, msgspec.structs.replace(options, core=-1, generators=count),
            name=f"greenroom x{count}", driver="", urls=[server.url for server in servers],
            servers=servers, settings=[*PATIENCE, *options.settings],
        )  # fmt: skip
    if players < wanted:
        outcome.notes.append(f"scaled down to {plan.sessions():,} players of {wanted:,}")
    return outcome


def extras(_: Headline, outcome: ServerResult) -> dict[str, float]:
    """Return how many sessions joined a second."""
    return {"joins/s": outcome.clients / outcome.ready_s}


SCENARIO = Scenario(
    plan=Headline, load=RoomsLoad, event="deliveries", measure=measure, extras=extras
)

if __name__ == "__main__":
    main("hundred_thousand")
