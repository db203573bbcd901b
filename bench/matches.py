"""Matches at once, each with players and a clock: are ticks on time, does every state arrive?

    python -m bench.matches                       100 matches of 8 players, 20 ticks a second
    python -m bench.matches --matches 50 --hz 60

The game is the arena of examples/. The report has three series, all as the players see them:

ticks    how late a tick's state reached the first player of its match. The ticks of a match are due
         at equal intervals, and the one that came soonest counts as having been on time.
states   how late it reached each of the players. inputs   the time from when an input was due until
its `ok`. Inputs are sent on a schedule, whether
         or not earlier ones were answered.

A tick whose state a player did not get counts as skipped. The server leaves a state out for a slow
player, and runs several ticks at once after a stall.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bench.client import BenchSession, SeenMessage
from bench.command import main
from bench.games import GAMES, GOAL
from bench.result import ServerResult
from bench.scenario import ClientCount, Load, Plan, Scenario, unlimited
from bench.tally import Series, Tally


class MatchesPlan(Plan, frozen=True, kw_only=True):
    """Matches that all run at once."""

    matches: Annotated[ClientCount, Meta(description="matches at once")] = 100
    players: Annotated[int, Meta(ge=1, le=8, description="players in a match")] = 8
    hz: Annotated[int, Meta(ge=10, le=60, description="ticks a second: 10, 20, 30 or 60")] = 20
    inputs: Annotated[
        float, Meta(ge=0.01, le=60, description="inputs of each player, a second")
    ] = 5.0

    def sessions(self) -> int:
        return self.matches * self.players

    def needs(self) -> list[str]:
        game = GAMES[self.hz]
        needs = [*super().needs(), *unlimited(self.inputs)]
        needs.append(f"games.bench={game.__module__}:{game.__name__}")
        if self.matches > 900:
            needs.append(f"matches.max_matches={self.matches + 100}")
        return needs

    def intended(self) -> float | None:
        return float(self.matches * self.players * self.hz)

    def __post_init__(self) -> None:
        if self.hz not in GAMES:
            raise ValueError(f"--hz: one of {', '.join(str(int(hz)) for hz in GAMES)}")


class Grid:
    """When the ticks of one match are due, as far as its players can tell.

    Arguments:
        hz: ticks a second.
        ticks, states: the series in which lateness is counted.
    """

    def __init__(self, hz: float, ticks: Series, states: Series) -> None:
        self.interval_ns = 1e9 / hz
        self.ticks, self.states = ticks, states
        self.zero_ns: float | None = None
        """When tick 0 was due, if the tick that came soonest was on time."""
        self.newest = 0
        """The newest tick that any player got."""

    def came(self, tick: int, now_ns: int) -> None:
        """Count the state of a tick that a player got."""
        zero_ns = now_ns - tick * self.interval_ns
        if self.zero_ns is None or zero_ns < self.zero_ns:
            self.zero_ns = zero_ns
        late_us = int(zero_ns - self.zero_ns) // 1000
        self.states.note(late_us)
        if tick > self.newest:
            self.newest = tick
            self.ticks.note(late_us)


class Player(BenchSession):
    """One player of one match."""

    def __init__(self, tally: Tally, name: str) -> None:
        super().__init__(tally, name)
        self.grid: Grid | None = None
        self.match = ""
        self.tick = 0
        self.seq = 0

    def pushed(self, frame: SeenMessage) -> None:
        if frame.op != "match.state":
            if frame.op == "match.ended":
                self.tally.errors["match ended"] += 1
            return
        now_ns = time.monotonic_ns()
        assert self.grid is not None
        states = self.grid.states
        if self.tick and states.from_ns <= now_ns < states.to_ns:
            skipped = frame.tick - self.tick - 1
            if skipped:
                self.tally.errors["states skipped"] += skipped
        self.tick = frame.tick
        self.grid.came(frame.tick, now_ns)

    def push(self, series: Series, scheduled_ns: int, x: float, y: float) -> None:
        """Send a move in the arena."""
        self.seq += 1
        move = {"x": x, "y": y}
        self.timed(series, scheduled_ns, "match.input", match=self.match, seq=self.seq, input=move)


class MatchesLoad(Load):
    """Whole matches: all players of a match are in the same process."""

    plan: MatchesPlan

    def rate(self) -> float:
        return self.plan.matches * self.plan.players * self.plan.inputs

    async def prepare(self) -> None:
        self.connect = Player
        ours = self.share(self.plan.matches)
        players = await self.open_all(None for _ in ours for _ in range(self.plan.players))
        await asyncio.gather(
            *(
                self.gather(players[at : at + self.plan.players])
                for at in range(0, len(players), self.plan.players)
            )
        )
        self.players = players
        self.inputs = self.tally["inputs"]

    async def gather(self, players: list[Any]) -> None:
        """Create a match and let the players join it."""
        create = {"game": "bench", "params": {"goal": GOAL}}
        created = await players[0].request("match.create", **create)
        match = msgspec.msgpack.decode(created)["match"]
        grid = Grid(self.plan.hz, self.tally["ticks"], self.tally["states"])
        for player in players:
            player.grid, player.match = grid, match
            await player.request("match.join", match=match)

    def act(self, number: int, scheduled_ns: int) -> None:
        x, y = self.random.uniform(-1, 1), self.random.uniform(-1, 1)
        self.players[number % len(self.players)].push(self.inputs, scheduled_ns, x, y)


def extras(plan: MatchesPlan, outcome: ServerResult) -> dict[str, float]:
    """Return the ticks a second that were seen and were due, and the states skipped."""
    ticks = outcome.measures.get("ticks")
    skipped = outcome.errors.get("states skipped", 0)
    return {
        "ticks/s": ticks.per_s if ticks else 0.0,
        "of due": plan.matches * plan.hz,
        "skipped": skipped,
    }


SCENARIO = Scenario(plan=MatchesPlan, load=MatchesLoad, event="states", extras=extras)

if __name__ == "__main__":
    main("matches")
