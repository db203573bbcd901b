"""What clients notice when a server's nodes are restarted, or one of them dies.

    python -m bench.rolling                          # `server.py restart` under a load
    python -m bench.rolling --fault kill             # SIGKILL to one node
    python -m bench.rolling --fault freeze           # SIGSTOP: the others go by its lease alone
    python -m bench.rolling --fault freeze --set cluster.lease_s=1.5

It starts a real server of several nodes. Players on all of them talk in rooms, and play matches of
the arena at 20 Hz. No request is made twice by the load: what fails is counted. Noted is, of each
client, the longest time in which nothing came to it, neither push nor answer; of each room, the
longest time that it took to acknowledge a send of a client whose connection held, and the longest
time between two acknowledged sends of anybody; of each match, the longest time between two states.
All of it also for a calm before the fault. The time in which the load itself stood still is in
these figures, and is reported.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from actors.cluster.rules.slots import SLOTS
from actors.node.parent.control import Show, ask
from actors.node.parent.overview import NodeRow, Overview
from bench.child import ROOT, ChildServer
from bench.folder import temporary_data
from bench.interruption import Crowd, Longest

LIMIT_S: Final = 180.0
CALM_S: Final = 5.0
"""How long the load is watched before the fault. It runs for some time more before and after."""
REST_S: Final = 2.0

Fault = Literal["restart", "kill", "freeze"]


class RollingReport(msgspec.Struct, frozen=True):
    """What clients noticed. Times in seconds."""

    fault: str
    nodes: int
    took_s: float
    sends: int
    inputs: int
    failed: dict[str, int]
    lost: int
    """Pushes of acknowledged messages that did not come, and of which the client was not told."""
    gaps: int
    """Those of which it was told: it was away for longer than rooms remember (`rooms.recent`)."""
    doubled: int
    reconnects: int
    clients: Longest
    rooms: Longest
    pauses: Longest
    matches: Longest
    calm: Sequence[Longest]
    """The same four in the calm before the fault: so long they are anyway, under this load."""
    stalled_s: float

    def lines(self) -> list[str]:
        """Return the report for people."""
        failed = ", ".join(f"{count} {why}" for why, count in sorted(self.failed.items())) or "0"

        def longest(what: str, found: Longest, calm: Longest) -> str:
            figures = f"p50 {found.p50:.2f}, p99 {found.p99:.2f}, max {found.max:.2f} s"
            return f"{what:<42}{figures}; in {CALM_S:g} s before: {calm.p50:.2f}, {calm.max:.2f}"

        # In a restart each room has moved from a node that drains, some of them twice.
        drained = "a drained room answers elsewhere within"
        between = drained if self.fault == "restart" else "the longest time between two of a room"
        return [
            f"{self.fault} of {self.nodes} nodes, {self.took_s:.1f} s",
            f"{'acknowledged':<42}{self.sends:,} sends, {self.inputs:,} inputs",
            f"{'failed':<42}{failed}",
            f"{'pushes lost, doubled':<42}{self.lost}, {self.doubled}",
            f"{'pushes reported as missing':<42}{self.gaps}",
            f"{'reconnects':<42}{self.reconnects}",
            longest("the longest silence of a client", self.clients, self.calm[0]),
            longest("the longest time for an acknowledgement", self.rooms, self.calm[1]),
            longest(between, self.pauses, self.calm[2]),
            longest("the longest pause of a match", self.matches, self.calm[3]),
            f"{'of that, the load itself stood still':<42}at most {self.stalled_s:.2f} s",
        ]


class Fleet:
    """A server of several nodes."""

    def __init__(self, folder: Path, nodes: int, settings: Sequence[str]) -> None:
        self.folder = folder
        self.nodes = nodes
        ours = [f"server.nodes={nodes}", "server.name=bench", f"server.data_dir={folder}",
                "listen.port=0", "http.port=0", "api.port=0"]  # fmt: skip
        flags = [part for one in (*ours, *settings) for part in ("--set", one)]
        self.server = ChildServer(["server.py", "serve", *flags], start_timeout_s=LIMIT_S)

    def rows(self) -> tuple[NodeRow, ...]:
        """Return what each node does now."""
        (overview,) = ask(self.folder, Show())
        assert isinstance(overview, Overview)
        return overview.nodes

    async def until_whole(self) -> None:
        """Return once all nodes serve, and each has its share."""
        with trio.fail_after(LIMIT_S):
            while True:
                rows = await trio.to_thread.run_sync(self.rows)
                shares = [row.slots for row in rows if row.state == "up"]
                if len(shares) == self.nodes and sum(shares) == SLOTS and min(shares) > 0:
                    return
                await trio.sleep(0.1)

    def restart(self) -> None:
        """Restart all nodes, one after the other. Raises CalledProcessError."""
        command = [
            sys.executable,
            "server.py",
            "restart",
            "--set",
            f"server.data_dir={self.folder}",
        ]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the last node's process."""
        row = self.rows()[-1]
        assert row.pid is not None
        os.kill(row.pid, number)

    async def suffer(self, fault: Fault) -> None:
        """Have it happen; return once all nodes are there again."""
        if fault == "restart":
            await trio.to_thread.run_sync(self.restart)
        else:
            self.signal(signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
            await trio.sleep(REST_S)
            with trio.fail_after(LIMIT_S):
                while not any(row.restarts for row in await trio.to_thread.run_sync(self.rows)):
                    await trio.sleep(0.1)
        await self.until_whole()


async def measure(fleet: Fleet, options: argparse.Namespace) -> RollingReport:
    """Run the load over the fault."""
    await fleet.until_whole()
    async with AsyncExitStack() as stack:
        crowd = Crowd(stack, random.Random(options.seed))
        await crowd.gather(fleet.server.url, options.rooms, options.members, options.matches)
        async with trio.open_nursery() as nursery:
            crowd.start(nursery, options.rate)
            await trio.sleep(REST_S)
            crowd.begin()
            await trio.sleep(CALM_S)
            calm = crowd.longest()
            crowd.begin()
            began = trio.current_time()
            await fleet.suffer(options.fault)
            took_s = trio.current_time() - began
            await trio.sleep(REST_S)
            clients, rooms, pauses, matches = crowd.longest()
            await crowd.end()
            nursery.cancel_scope.cancel()
        gaps = sum(player.gaps for player in crowd.players)
        return RollingReport(
            fault=options.fault,
            nodes=fleet.nodes,
            took_s=round(took_s, 2),
            sends=sum(map(len, crowd.acked.values())),
            inputs=crowd.inputs,
            failed=dict(crowd.failed),
            lost=crowd.lost() - gaps,
            gaps=gaps,
            doubled=crowd.doubled(),
            reconnects=sum(player.reconnects for player in crowd.players),
            clients=clients,
            rooms=rooms,
            pauses=pauses,
            matches=matches,
            calm=calm,
            stalled_s=round(crowd.stalled_s, 3),
        )


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    found = argparse.ArgumentParser(
        prog="python -m bench.rolling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--fault", choices=("restart", "kill", "freeze"), default="restart")
    add("--nodes", type=int, default=3, metavar="N")
    add("--rooms", type=int, default=12, metavar="N")
    add("--members", type=int, default=6, metavar="N", help="of each room; each player is in two")
    add("--rate", type=float, default=20.0, metavar="N", help="sends a second to each room")
    add("--matches", type=int, default=6, metavar="N")
    add("--seed", type=int, default=1)
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
        help="a setting for the server; may be repeated")  # fmt: skip
    add("--json", type=Path, help="write the report to this file, too")
    return found


def main() -> None:
    """Run the command."""
    options = parser().parse_args()
    if options.nodes < 2 or options.rooms < 2 or options.members < 2 or options.rate <= 0:
        parser().error("--nodes, --rooms and --members are at least 2, --rate is above 0")
    with temporary_data() as folder:
        fleet = Fleet(folder / "data", options.nodes, options.set)
        with fleet.server:
            report = trio.run(partial(measure, fleet, options))
    sys.stdout.write("\n".join(report.lines()) + "\n")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


if __name__ == "__main__":
    main()
