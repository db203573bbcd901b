"""One fuzz of one server: attackers by the dozen, two bystanders, and a look at the server."""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import trio

from tests.protocol.fuzz import vitals
from tests.protocol.fuzz.attacker import Attacker
from tests.protocol.fuzz.bystander import Bystander
from tests.protocol.fuzz.messages import World
from tests.protocol.fuzz.tally import Tally
from tests.server_process import Server

SETTINGS: Final = (
    "log.format=json",
    # What attackers leave behind is to be gone again within the run, or memory would not tell.
    "sessions.resume_within_s=1",
    "rooms.idle_after_s=2",
    "matches.max_matches=24",
    "matches.rejoin_within_s=1",
    "matches.abandon_after_s=2",
    "matches.remember_ended_s=1",
    "wire.first_message_timeout_s=2",
    "wire.handshake_timeout_s=1",
    "wire.close_timeout_s=1",
)
UNLIMITED: Final = ("sessions.messages_per_s=0", "sessions.bytes_per_s=0")
"""Settings without rate limits, so that the server reads the frames in place of refusing them."""

GROWTH_MIB: Final = 10.0
"""So much memory may come on top between the first pause, by which the server is warm, and the
last. Measured in pauses, when everyone is gone: under attack rooms and matches fill up to their
bounds, which takes longer than a run, and would hide a leak or look like one.

A million frames on 30,000 connections made it 7 MiB, less with each round. Of half as many, 4.4, it
is known what they were: Python held 301,500 blocks in the first pause and 299,900 in the last after
a collection, so it was what the allocator could not give back, and garbage not collected yet. A
leak of 1 KiB a connection, which this found and which was mended, made it 23."""
BYSTANDERS: Final = {"connections": 2.0, "sessions": 2.0, "actors": 3.0}
"""What is there in a pause, by metric: the bystanders' connections, sessions and room."""
_SAMPLE_S = 0.5
_SETTLE_POLL_S = 1.0
"""Polls are seldom, because each leaves some 60 KiB to the collector, which would be measured."""


class Plan(msgspec.Struct, frozen=True):
    """How much to send. `limited`: with the default rate limits; otherwise without any."""

    seed: int
    frames: int
    handshakes: int
    attackers: int = 12
    limited: bool = False
    rounds: int = 1
    """The number of rounds. After each is a pause, in which the server forgets everyone. Memory is
    judged if there are 3 or more. A single round has no pause, and waits only for sessions to end,
    not for rooms and matches."""
    settle_s: float = 90.0
    """How long the server may take to forget everyone."""


class Report(msgspec.Struct):
    """The result of a run."""

    plan: Plan
    seconds: float
    frames: dict[str, int]
    floods: dict[str, int]
    valid: int
    taken: int
    connections: int
    handshakes: dict[str, int]
    answers: int
    closes: dict[str, int]
    errors: dict[str, int]
    bystanders: dict[str, int]
    latency_ms: dict[str, float]
    memory_mib: list[float]
    """Resident memory in each pause."""
    most_mib: float
    """The highest resident memory under attack."""
    before: vitals.Vitals
    after: vitals.Vitals
    left: dict[str, float]
    warnings: dict[str, int]
    violations: list[str]

    @property
    def mutated(self) -> int:
        """Mutated frames sent."""
        return sum(self.frames.values())

    def text(self) -> str:
        """The report for people."""
        limits = "as by default" if self.plan.limited else "off"
        rows = [
            f"seed {self.plan.seed}, {self.plan.attackers} attackers, rate limits {limits}:"
            f" {self.seconds:.0f} s",
            f"  {self.mutated:9,} mutated frames, {self.mutated / self.seconds:,.0f} a second,"
            f" and {self.valid:,} valid ones on {self.connections:,} connections;"
            f" {self.taken:,} of them before a ping that was answered",
            *(f"    {count:9,}  {name}" for name, count in sorted(self.frames.items())),
            "  floods, in frames: " + _line(self.floods),
            f"  {sum(self.handshakes.values()):9,} mutated handshakes, by answer: "
            + _line(self.handshakes),
            f"  {self.answers:9,} messages of the server, each decoded by msgpack or json",
            "            errors: " + _line(self.errors),
            "            closes: " + _line(self.closes),
            "  bystanders: " + _line(self.bystanders) + f"; acknowledged in ms {self.latency_ms}",
            f"  memory in MiB: at most {self.most_mib:.1f}, and in the pauses "
            + (", ".join(f"{size:.1f}" for size in self.memory_mib) or "(there were none)"),
            f"  threads {self.before.threads} before and {self.after.threads} after,"
            f" files {self.before.files} and {self.after.files}; left: {self.left}",
            "  warnings in the log: " + (_line(self.warnings) or "none"),
            f"  violations: {len(self.violations)}",
            *(f"    {one}" for one in self.violations),
        ]
        return "\n".join(rows)


def _line(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


class Run:
    """One fuzz of a running server."""

    def __init__(self, plan: Plan, server: Server, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.server = server
        self.tally = Tally()
        self.pauses_mib: list[float] = []
        self.most_mib = 0.0
        self._say = say
        self._goal = 0

    async def perform(self) -> Report:
        """Attack until everything planned was sent, then look at what is left in the server."""
        plan, tally, server = self.plan, self.tally, self.server
        dice = random.Random(plan.seed)
        server.get("/readyz")  # asks every store, so that each connection is there
        before = vitals.look(server.process.pid)
        began = time.monotonic()
        bystanders = [
            Bystander(server.ws, "ada", tally, json_text=False),
            Bystander(server.ws, "bob", tally, json_text=True),
        ]
        async with trio.open_nursery() as nursery:
            done = trio.Event()
            for bystander in bystanders:
                await nursery.start(bystander.chat, done)
            world = World()
            attackers = [
                Attacker(server.port, random.Random(dice.randrange(2**64)), tally, world)
                for _ in range(plan.attackers)
            ]
            for place in range(1, plan.rounds + 1):
                self._goal = plan.frames * place // plan.rounds
                await self._attack(attackers)
                if plan.rounds > 1 and self._alive():
                    await self._settle(BYSTANDERS)
                    self.pauses_mib.append(vitals.look(server.process.pid).rss_bytes / vitals.MIB)
            done.set()
        seconds = time.monotonic() - began
        left = await self._settle({}) if self._alive() else {}
        return self._report(seconds, before, left, bystanders)

    async def _attack(self, attackers: list[Attacker]) -> None:
        """One round: a quarter of the attackers sends handshakes first."""
        async with trio.open_nursery() as attack:
            attack.start_soon(self._watch)
            for number, attacker in enumerate(attackers):
                if number % 4:
                    attack.start_soon(attacker.send_frames, self._wants_frames)
                else:
                    attack.start_soon(self._send_both, attacker)

    async def _send_both(self, attacker: Attacker) -> None:
        await attacker.send_handshakes(
            lambda: self._goes_on() and sum(self.tally.handshakes.values()) < self.plan.handshakes
        )
        await attacker.send_frames(self._wants_frames)

    def _wants_frames(self) -> bool:
        return self._goes_on() and self.tally.mutated < self._goal

    def _goes_on(self) -> bool:
        return self._alive() and len(self.tally.violations) < 20

    def _alive(self) -> bool:
        return self.server.process.poll() is None

    def _done(self) -> bool:
        tally, plan = self.tally, self.plan
        sent = sum(tally.handshakes.values()) >= plan.handshakes and tally.mutated >= self._goal
        return sent or not self._goes_on()

    async def _watch(self) -> None:
        began = said = time.monotonic()
        while not self._done():
            size_mib = vitals.look(self.server.process.pid).rss_bytes / vitals.MIB
            self.most_mib = max(self.most_mib, size_mib)
            if time.monotonic() - said > 15:
                said = time.monotonic()
                self._say(
                    f"{said - began:6.0f} s  {self.tally.mutated:,} frames,"
                    f" {sum(self.tally.handshakes.values()):,} handshakes,"
                    f" {size_mib:.1f} MiB,"
                    f" {len(self.tally.violations)} violations"
                )
            await trio.sleep(_SAMPLE_S)

    async def _settle(self, but: dict[str, float]) -> dict[str, float]:
        """Wait until the server has forgotten everyone else; returns what it has not forgotten."""
        left: dict[str, float] = {}
        with trio.move_on_after(self.plan.settle_s):
            while True:
                left = await trio.to_thread.run_sync(self._left, but)
                if not left:
                    break
                await trio.sleep(_SETTLE_POLL_S)
        return left

    def _left(self, but: dict[str, float]) -> dict[str, float]:
        text = self.server.get("/metrics")[1]
        left = {}
        names = ["connections", "sessions", "workers_busy", "outbox_bytes"]
        if self.plan.rounds > 1:  # rooms and matches stay for up to 20 s: the short form does not
            names.append("actors")
        for name in names:
            found = re.findall(rf"^greenroom_{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
            value = sum(map(float, found))
            if value > but.get(name, 0):
                left[name] = value
        return left

    def _report(
        self,
        seconds: float,
        before: vitals.Vitals,
        left: dict[str, float],
        bystanders: list[Bystander],
    ) -> Report:
        tally, server = self.tally, self.server
        after = before
        if self._alive():
            after = vitals.look(server.process.pid)
            self._judge(before, after, left)
        else:
            tally.violation(f"the server ended with {server.process.poll()}: {server.err[-5:]}")
        errors, warnings = vitals.complaints(server)
        for error in errors[:10]:
            tally.violation(f"it said: {error}")
        latencies = [one for bystander in bystanders for one in bystander.latencies_s]
        return Report(
            plan=self.plan,
            seconds=seconds,
            frames=dict(tally.frames),
            floods=dict(tally.floods),
            valid=tally.valid,
            taken=tally.taken,
            connections=tally.connections,
            handshakes=dict(tally.handshakes),
            answers=tally.answers,
            closes=dict(tally.closes),
            errors=dict(tally.errors),
            bystanders={
                "sent": sum(one.sent for one in bystanders),
                "acknowledged": len(latencies),
                "pushes seen": sum(one.pushed for one in bystanders),
            },
            latency_ms=vitals.numbers(latencies),
            memory_mib=self.pauses_mib,
            most_mib=self.most_mib,
            before=before,
            after=after,
            left=left,
            warnings=dict(Counter(warnings)),
            violations=tally.violations,
        )

    def _judge(self, before: vitals.Vitals, after: vitals.Vitals, left: dict[str, float]) -> None:
        tally = self.tally
        if left:
            tally.violation(f"still there after {self.plan.settle_s:g} s: {left}")
        if after.files > before.files + 4:  # connections to stores may have been made anew
            tally.violation(f"files: {before.files} before, {after.files} after")
        if after.threads > before.threads + 4:  # trio keeps a few for reuse
            tally.violation(f"threads: {before.threads} before, {after.threads} after")
        pauses = self.pauses_mib
        if len(pauses) > 2 and pauses[-1] - pauses[0] > GROWTH_MIB:
            tally.violation(f"memory grows, in MiB: {pauses}")


def perform(plan: Plan, say: Callable[[str], None] = lambda _: None) -> Report:
    """Start a server, fuzz it, stop it. Call it in the main thread."""
    folder = Path(tempfile.mkdtemp(prefix="greenroom-fuzz-"))
    folder.chmod(0o755)  # PostgreSQL may have to run as another user, who must get in
    try:
        settings = SETTINGS if plan.limited else (*SETTINGS, *UNLIMITED)
        with Server(folder / "data", *settings) as server:
            report = trio.run(Run(plan, server, say).perform)
            if server.process.poll() is None and (code := server.stop()):
                report.violations.append(f"it stopped with {code}: {server.err[-5:]}")
            return report
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def progress(line: str) -> None:
    """Print the progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)
