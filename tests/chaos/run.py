"""`python -m tests.chaos.run`: play under faults, then judge what was recorded.

The seed decides which faults come, in which order and for how long, and what clients do when; what
the machine makes of it differs from run to run, as it should.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from tests.chaos.checker import Violation, check
from tests.chaos.faults import FAULTS, Fault, draw
from tests.chaos.history import History
from tests.chaos.player import Player
from tests.chaos.stage import SNAPSHOT_INTERVAL_S, Stage

ARENA_HZ = 20.0


class Plan(msgspec.Struct, frozen=True):
    """What to play and what to break."""

    seed: int
    faults: Sequence[Fault]
    """One after the other."""
    senders: int = 24
    rooms: int = 6
    pause_s: tuple[float, float] = (0.3, 1.5)
    """Between a client's sends, drawn evenly; and ten times as much between two faults."""


class Report(msgspec.Struct):
    """What came of a run."""

    seed: int
    seconds: float
    faults: dict[str, int]
    operations: dict[str, int]
    closes: dict[str, int]
    recovery_s: list[float]
    """From each SIGKILL of the server to the first send acknowledged after it."""
    violations: list[Violation]
    tracebacks: list[str]

    def text(self) -> str:
        """The report for people."""
        lines = [f"seed {self.seed}, {self.seconds:.0f} s", "", "faults injected"]
        lines += [f"  {count:6}  {name}" for name, count in sorted(self.faults.items())]
        lines += ["", "recorded"]
        lines += [f"  {count:6}  {name}" for name, count in self.operations.items()]
        lines += ["", "connections closed, by code"]
        lines += [f"  {count:6}  {code}" for code, count in sorted(self.closes.items())]
        if self.recovery_s:
            middle = statistics.median(self.recovery_s)
            lines += [
                "",
                f"from SIGKILL to the first acknowledged send: p50 {middle:.2f} s, "
                f"max {max(self.recovery_s):.2f} s, of {len(self.recovery_s)}",
            ]
        lines += ["", f"violations: {len(self.violations)}"]
        lines += [f"  {each.rule}: {each.detail}" for each in self.violations[:50]]
        if self.tracebacks:
            lines += ["", "the server said, outside its log:", *self.tracebacks[:20]]
        return "\n".join(lines)


class Run:
    """One run of a plan on a stage."""

    def __init__(self, plan: Plan, stage: Stage) -> None:
        self.plan = plan
        self.stage = stage
        self.rng = random.Random(plan.seed)
        self.history = History(snapshot_interval_s=SNAPSHOT_INTERVAL_S)
        self.players: list[Player] = []
        self.recovery_s: list[float] = []
        self.quiet = False
        self._busy = 0
        self._matches: list[str] = []

    async def play(self) -> Report:
        """Play, break, mend, and judge."""
        started = time.monotonic()
        await self.stage.start()
        async with trio.open_nursery() as nursery:
            port = await nursery.start(self.stage.proxy.run)
            url = f"ws://127.0.0.1:{port}/ws"
            for number in range(self.plan.senders):
                self._hire(nursery, url, f"sender-{number}", self._chat)
            for number in range(4):
                self._hire(nursery, url, f"arena-{number}", self._roam)
            for number in range(2):
                self._hire(nursery, url, f"turns-{number}", self._take_turns)
            await trio.sleep(2.0)
            for fault in self.plan.faults:
                print(f"{time.monotonic() - started:7.1f} s  {fault.name}", file=sys.stderr)
                killed_at = trio.current_time()
                await fault.inject(self.stage, self.rng)
                if fault.name == "kill server":
                    await self._note_recovery(killed_at)
                await trio.sleep(self.rng.uniform(*self.plan.pause_s))
            await self._settle()
            nursery.cancel_scope.cancel()
        await self.stage.stop()
        self.history.log = await trio.to_thread.run_sync(self.stage.read_log)
        violations = await trio.to_thread.run_sync(check, self.history)
        return self._report(time.monotonic() - started, violations)

    def _hire(self, nursery: trio.Nursery, url: str, name: str, act: object) -> None:
        player = Player(url, name, self.history, random.Random(self.rng.random()))
        self.players.append(player)
        nursery.start_soon(player.run)
        nursery.start_soon(act, player, random.Random(self.rng.random()))  # type: ignore[arg-type]  # one of the three below

    # --- what players do ---

    async def _chat(self, player: Player, rng: random.Random) -> None:
        """Two rooms each; a send, a pause, another; never two at once, as a person."""
        rooms = [f"room-{n}" for n in rng.sample(range(self.plan.rooms), 2)]
        for room in rooms:
            await player.join(room)
        while not self.quiet:
            self._busy += 1
            try:
                await player.send(rng.choice(rooms))
            finally:
                self._busy -= 1
            await trio.sleep(rng.uniform(0, 0.2))

    async def _roam(self, player: Player, rng: random.Random) -> None:
        """Four players in one arena, whose states are compared across restarts."""
        if not self._matches:
            self._matches.append("")
            answer = await player.request(op="match.create", game="arena", key="the-arena")
            self._matches[0] = answer["data"]["match"]
            self.history.tick_hz[self._matches[0]] = ARENA_HZ
        while not self._matches[0]:
            await trio.sleep(0.05)
        await player.play(self._matches[0])
        while not self.quiet:
            await trio.sleep(rng.uniform(0.1, 0.5))

    async def _take_turns(self, player: Player, rng: random.Random) -> None:
        """Tic-tac-toe against oneself is not allowed, so each plays the first moves of many."""
        number = 0
        while not self.quiet:
            number += 1
            self._busy += 1
            try:
                key = f"{player.name}-{number}"
                made = await player.request(op="match.create", game="tictactoe", key=key)
                match = made["data"]["match"]
                await player.play(match)
                await player.input(match, 1, {"cell": rng.randrange(9)})
                await player.input(match, 2, {"cell": rng.randrange(9)})
                await player.request(op="match.leave", match=match)
            finally:
                self._busy -= 1
            await trio.sleep(rng.uniform(0.1, 0.5))

    # --- around it ---

    async def _note_recovery(self, killed_at: float) -> None:
        before = len(self.history.sends)
        with trio.move_on_after(60):
            while True:
                new = [send for send in self.history.sends[before:] if send.outcome == "ok"]
                if new:
                    self.recovery_s.append(min(send.answered_at for send in new) - killed_at)
                    return
                await trio.sleep(0.01)
        self.recovery_s.append(float("inf"))

    async def _settle(self) -> None:
        """Let every command come to its end and every push arrive."""
        self.quiet = True
        with trio.move_on_after(60):
            while self._busy:
                await trio.sleep(0.1)
        await trio.sleep(1.5)

    def _report(self, seconds: float, violations: list[Violation]) -> Report:
        sends = Counter(send.outcome for send in self.history.sends)
        closes: Counter[str] = Counter()
        for player in self.players:
            for code, count in player.closes.items():
                closes[str(code)] += count
        return Report(
            seed=self.plan.seed,
            seconds=seconds,
            faults=dict(Counter(fault.name for fault in self.plan.faults)),
            operations={
                "sends acknowledged": sends["ok"],
                "sends refused": sends["error"],
                "sends without an answer": sends["none"],
                "pushes seen": len(self.history.stream),
                "match states seen": len(self.history.states),
                "durable inputs": len(self.history.inputs),
                "events in the log": len(self.history.log),
                "connections": sum(player.connections for player in self.players),
            },
            closes=dict(closes),
            recovery_s=self.recovery_s,
            violations=violations,
            tracebacks=self.stage.tracebacks,
        )


def perform(plan: Plan) -> Report:
    """Set the stage, run the plan, clear up. In the main thread."""
    folder = Path(tempfile.mkdtemp(prefix="greenroom-chaos-"))
    folder.chmod(0o755)  # PostgreSQL may have to run as another user, who must get in
    try:
        settings = ("sessions.messages_per_s=0", "sessions.bytes_per_s=0")
        with Stage(folder, random.Random(plan.seed), *settings) as stage:
            return trio.run(Run(plan, stage).play)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--faults", type=int, default=60, help="how many, drawn by weight")
    parser.add_argument("--kills", type=int, default=0, help="so many SIGKILLs of the server more")
    parser.add_argument("--only", default="", help="draw from the faults whose name has this")
    parser.add_argument("--json", type=Path, help="write the report there, too")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    chosen = [fault for fault in FAULTS if arguments.only in fault.name]
    if not chosen:
        parser.error(f"no fault is called like {arguments.only!r}")
    kill = next(fault for fault in FAULTS if fault.name == "kill server")
    faults = [draw(rng, chosen) for _ in range(arguments.faults)] + [kill] * arguments.kills
    rng.shuffle(faults)
    report = perform(Plan(seed=seed, faults=faults))
    print(report.text())
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return 1 if report.violations or report.tracebacks else 0


if __name__ == "__main__":
    sys.exit(main())
