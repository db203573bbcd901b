"""`python -m tests.chaos.run`: play under faults, then judge the records.

The seed decides which faults come, in which order and for how long, and what clients do when. The
timing on the machine still differs from run to run.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from protocol.errors import SESSION_ENDED
from tests.chaos import known
from tests.chaos.checker import Violation, check
from tests.chaos.clockwork import HZ
from tests.chaos.faults import KILL
from tests.chaos.history import History
from tests.chaos.mingler import Mingler
from tests.chaos.plan import Plan, draw_plan
from tests.chaos.player import Player
from tests.chaos.report import Memory, Report
from tests.chaos.saver import Saver
from tests.chaos.stage import SNAPSHOT_INTERVAL_S, Stage
from tests.chaos.teller import Teller
from tests.chaos.typescript import TypeScriptChatter
from tests.chaos.vitals import Vitals, leaks, look, rss_mib
from tests.protocol.js.tools import NODE

LOOK_EVERY_S = 0.25
"""The time between two looks at the server's memory."""
GONE_WITHIN_S = 15.0
"""How long after the last session has expired threads may take to end."""


class Run:
    """One run of a plan on a stage."""

    def __init__(self, plan: Plan, stage: Stage) -> None:
        self.plan = plan
        self.stage = stage
        self.rng = random.Random(plan.seed)
        self.history = History(snapshot_interval_s=SNAPSHOT_INTERVAL_S)
        self.players: list[Player] = []
        self.chatters: list[TypeScriptChatter] = []
        self.recovery_s: list[float] = []
        self.quiet = False
        self.most_mib = 0.0
        self._busy = 0
        self._matches: dict[str, list[str | None]] = {"clockwork": [], "tictactoe": []}
        prefix = known.name if plan.known_rooms else "room-{}".format
        stage.rooms = [prefix(number) for number in range(plan.rooms)]

    async def play(self) -> Report:
        """Play, break, mend, and judge."""
        started = time.monotonic()
        await self.stage.start()
        async with trio.open_nursery() as nursery:
            port = await nursery.start(self.stage.proxy.run)
            nursery.start_soon(self._watch_memory)
            url = f"ws://127.0.0.1:{port}/ws"
            for number in range(self.plan.senders):
                self._hire(nursery, url, f"sender-{number}", self._chat)
            for number in range(4):
                self._hire(nursery, url, f"clock-{number}", self._roam)
            for number in range(2):
                self._hire(nursery, url, f"turns-{number}", self._take_turns)
            for number in range(2):
                self._hire(nursery, url, f"saver-{number}", self._save)
            listeners = [
                self._hire(nursery, url, f"listener-{number}", self._listen) for number in range(3)
            ]
            for number in range(2):
                self._hire(nursery, url, f"teller-{number}", partial(self._tell, listeners))
            minglers: list[Player] = []
            for number in range(3):
                mingle = partial(self._mingle, minglers)
                minglers.append(self._hire(nursery, url, f"mingler-{number}", mingle))
            if NODE is not None:
                self._hire_typescript(nursery, url)
            await trio.sleep(2.0)
            for step in self.plan.steps:
                print(f"{time.monotonic() - started:7.1f} s  {step.fault.name}", file=sys.stderr)
                killed_at = trio.current_time()
                await step.fault.inject(self.stage, step.rng())
                if step.fault is KILL:
                    await self._note_recovery(killed_at)
                await trio.sleep(step.pause_s)
            await self._settle()
            nursery.cancel_scope.cancel()
        last, leaked = await self._look_for_leaks()
        memory = Memory(self._before().rss_mib, self.most_mib, last.rss_mib)
        await self.stage.stop()
        self.history.unwritten = self.stage.unwritten
        self.history.servers_ended = self.stage.servers_ended
        self.history.log = await trio.to_thread.run_sync(self.stage.read_log)
        self.history.ties = await trio.to_thread.run_sync(self.stage.read_ties)
        self.history.kept = await trio.to_thread.run_sync(self.stage.read_objects)
        violations = await trio.to_thread.run_sync(check, self.history)
        return self._report(time.monotonic() - started, violations, memory, leaked)

    def _hire(
        self,
        nursery: trio.Nursery,
        url: str,
        name: str,
        act: Callable[[Player, random.Random], Awaitable[None]],
    ) -> Player:
        player = Player(url, name, self.history, random.Random(self.rng.random()))
        self.players.append(player)
        nursery.start_soon(player.run)
        nursery.start_soon(act, player, random.Random(self.rng.random()))
        return player

    def _hire_typescript(self, nursery: trio.Nursery, url: str) -> None:
        for number, room in enumerate(self.stage.rooms[:2]):
            rng = random.Random(self.rng.random())
            chatter = TypeScriptChatter(url, f"typescript-{number}", room, self.history, rng)
            self.chatters.append(chatter)
            nursery.start_soon(chatter.run, lambda: self.quiet)

    # --- what players do ---

    async def _chat(self, player: Player, rng: random.Random) -> None:
        """Be in two rooms, and send messages one at a time with pauses, as a person does."""
        rooms = rng.sample(self.stage.rooms, 2)
        for room in rooms:
            await player.join(room)
        await self._go_on(lambda: player.send(rng.choice(rooms)), rng)

    async def _roam(self, player: Player, rng: random.Random) -> None:
        """Play in the match that all share, and in the next when it is over.

        Its states are compared across restarts.
        """
        number = 0
        while not self.quiet:
            match = await self._made(player, "clockwork", number)
            if match is not None:
                self.history.tick_hz[match] = HZ
                await player.play(match)
                seq = 0
                while player.in_match(match):
                    if self.quiet:
                        return
                    seq += 1
                    await player.input(match, seq, seq)
                    await trio.sleep(rng.uniform(0.1, 0.5))
                number += 1
            await trio.sleep(rng.uniform(0.1, 0.5))

    async def _made(self, player: Player, game: str, number: int) -> str | None:
        """Return the match with this number.

        The first player to ask makes it; None: not yet made.
        """
        made = self._matches[game]
        if number == len(made):
            made.append(None)
            match = await player.create(game, key=f"{game}-{number}")
            if match is None:
                made.pop()
            else:
                made[number] = match
                # the answer must be the same match
                await player.create(game, key=f"{game}-{number}")
        return made[number] if number < len(made) else None

    async def _take_turns(self, player: Player, rng: random.Random) -> None:
        """Play tic-tac-toe at random, so that most inputs are refused by its rules.

        Some inputs are sent again, and some come late, with a lower `seq` than one that was used.
        """
        number = 0
        while not self.quiet:
            self._busy += 1
            try:
                match = await self._made(player, "tictactoe", number)
                if match is not None:
                    await self._play_turns(player, rng, match)
                    number += 1
            finally:
                self._busy -= 1
            await trio.sleep(rng.uniform(0.1, 0.5))

    async def _play_turns(self, player: Player, rng: random.Random, match: str) -> None:
        await player.play(match)
        given: dict[int, Any] = {}
        for number in range(12):
            seq, value = 2 * number + 1, {"cell": rng.randrange(9)}
            given[seq] = value
            await player.input(match, seq, value)
            if not player.in_match(match) or self.quiet:
                break
            if rng.random() < 0.3:
                again = rng.choice(list(given))
                await player.input(match, again, given[again])
            if rng.random() < 0.1:
                await player.input(match, seq - 1, value)
            await trio.sleep(rng.uniform(0.0, 0.2))
        await player.request(op="match.leave", match=match)

    async def _save(self, player: Player, rng: random.Random) -> None:
        """Save an object again and again, with pauses."""
        await self._go_on(Saver(player, rng).save, rng)

    async def _listen(self, player: Player, _: random.Random) -> None:
        """Stay in one's own inbox."""
        await player.listen()

    async def _tell(self, listeners: Sequence[Player], player: Player, rng: random.Random) -> None:
        """Put notes into the inboxes of those who listen, with pauses."""
        await self._go_on(Teller(player, listeners, rng).tell, rng)

    async def _mingle(self, others: Sequence[Player], player: Player, rng: random.Random) -> None:
        """Make friends and lose them."""
        mingler = Mingler(player, others, rng)
        await self._go_on(mingler.mingle, rng)
        if mingler.under_way is not None:
            self.history.undecided.add((mingler.user, mingler.under_way[1]))

    async def _go_on(self, act: Callable[[], Awaitable[object]], rng: random.Random) -> None:
        """Act, pause, and act again, until the run ends."""
        while not self.quiet:
            self._busy += 1
            try:
                await act()
            finally:
                self._busy -= 1
            await trio.sleep(rng.uniform(0, 0.2))

    # --- around it ---

    def _before(self) -> Vitals:
        assert self.stage.before is not None
        return self.stage.before

    async def _watch_memory(self) -> None:
        while True:
            if self.stage.server is not None:
                self.most_mib = max(self.most_mib, rss_mib(self.stage.server.process.pid))
            await trio.sleep(LOOK_EVERY_S)

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
        """Wait until every command has ended and every push has arrived."""
        self.quiet = True
        with trio.move_on_after(60):
            while self._busy:
                await trio.sleep(0.1)
        await trio.sleep(1.5)

    async def _look_for_leaks(self) -> tuple[Vitals, list[str]]:
        """Look for leaks once all clients have gone and their sessions have expired."""
        server = self.stage.server
        assert server is not None
        if self.stage.nodes > 1:  # the parent's metrics say nothing of its nodes
            return self._before(), []
        deadline = trio.current_time() + self.plan.resume_within_s + GONE_WITHIN_S
        while True:
            now = await trio.to_thread.run_sync(look, server)
            found = leaks(self._before(), now)
            sessions = await trio.to_thread.run_sync(server.metric, "greenroom_sessions")
            if sessions:
                found.append(f"sessions: {sessions:.0f}")
            if not found or trio.current_time() > deadline:
                return now, found
            await trio.sleep(0.3)

    def _report(
        self, seconds: float, violations: list[Violation], memory: Memory, leaked: list[str]
    ) -> Report:
        sends = Counter(send.outcome for send in self.history.sends)
        refusals = Counter(send.code for send in self.history.sends if send.code)
        closes: Counter[str] = Counter()
        for player in self.players:
            for code, count in player.closes.items():
                closes[str(code)] += count
        inputs = Counter(given.outcome for given in self.history.inputs)
        return Report(
            seed=self.plan.seed,
            seconds=seconds,
            faults=self.plan.faults(),
            operations={
                "sends acknowledged": sends["ok"],
                "sends refused": sends["error"],
                "sends without an answer": sends["none"],
                "pushes seen": len(self.history.stream),
                "match states seen": len(self.history.states),
                "durable inputs acknowledged": inputs["ok"],
                "inputs refused": inputs["error"],
                "creations of matches acknowledged": len(self.history.made),
                "writes of objects acknowledged": sum(
                    write.outcome == "ok" for write in self.history.writes
                ),
                "changes of friends and blocks acknowledged": sum(
                    act.outcome == "ok" for act in self.history.mingled
                ),
                "entries of inboxes acknowledged": sum(
                    told.outcome == "ok" for told in self.history.told
                ),
                "events in the log": len(self.history.log),
                "messages read by the TypeScript client": sum(
                    chatter.read for chatter in self.chatters
                ),
                "connections": sum(player.connections for player in self.players),
            },
            refusals=dict(sorted(refusals.items())),
            closes=dict(sorted(closes.items())),
            logged=dict(sorted(self.stage.said.items())),
            recovery_s=self.recovery_s,
            known_rooms=self.plan.known_rooms,
            memory=memory,
            leaks=leaked,
            violations=violations,
            wrong=[
                *self.stage.wrong,
                *([] if sends["ok"] else ["no send was acknowledged at all"]),
                *(
                    ["a client was told not to come back"]
                    if closes[str(SESSION_ENDED.code)]
                    else []
                ),
            ],
            tracebacks=self.stage.tracebacks,
        )


def perform(plan: Plan) -> Report:
    """Set the stage, run the plan, clear up. Call it in the main thread."""
    folder = Path(tempfile.mkdtemp(prefix="greenroom-chaos-"))
    folder.chmod(0o755)  # PostgreSQL may have to run as another user, who must get in
    settings = (
        "sessions.messages_per_s=0",
        "sessions.bytes_per_s=0",
        f"sessions.resume_within_s={plan.resume_within_s}",
        # With odd seeds a server that is usurped and wakes goes on beside the other.
        f"server.alone={'false' if plan.seed % 2 else 'true'}",
    )
    try:
        dice = random.Random(plan.seed)
        with Stage(
            folder, dice, *settings, known_rooms=plan.known_rooms, nodes=plan.nodes
        ) as stage:
            return trio.run(Run(plan, stage).play)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--faults", type=int, default=60, help="how many, drawn by weight")
    parser.add_argument("--kills", type=int, default=0, help="so many SIGKILLs of the server more")
    parser.add_argument("--away", type=int, default=0, help="times PostgreSQL is gone for 30 s")
    parser.add_argument("--only", default="", help="draw from the faults whose name has this")
    parser.add_argument(
        "--known-rooms", type=int, default=0, help="rooms in the stores before it begins"
    )
    parser.add_argument("--nodes", type=int, default=1, help="of the server (default: 1)")
    parser.add_argument("--json", type=Path, help="write the report there, too")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", file=sys.stderr)
    try:
        plan = draw_plan(
            seed,
            faults=given.faults,
            kills=given.kills,
            away=given.away,
            only=given.only,
            known_rooms=given.known_rooms,
            nodes=given.nodes,
        )
    except ValueError as error:
        parser.error(str(error))
    report = perform(plan)
    print(report.text())
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return 0 if report.kept else 1


if __name__ == "__main__":
    sys.exit(main())
