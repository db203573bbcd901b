"""Games for the tests: one that counts, and ones that misbehave when they are told to."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from actors.matches.rules.game import Game, Rejected

STUCK_S = 0.6
"""How long a call is stuck: longer than any test allows."""


def stay_in_c(seconds: float) -> None:
    """Make one call into C that holds the interpreter for so long, as a regular expression may."""
    until = time.perf_counter() + seconds
    any(map(until.__lt__, iter(time.perf_counter, None)))


class Counting(Game):
    """A game with 20 ticks a second, whose view shows everything that was done to it."""

    name: ClassVar[str] = "counting"
    tick_hz: ClassVar[float] = 20.0
    max_players: ClassVar[int] = 4

    def __init__(self, seed: int, params: Any) -> None:
        super().__init__(seed, params)
        if params.get("refuse"):
            raise Rejected("not with these")
        if params.get("crash"):
            raise KeyError("crash")
        self.ticks = 0
        self.sums: dict[str, int] = {}
        self.end: Any = None

    def join(self, player: str) -> None:
        if player == "eve":
            raise Rejected("not you")
        self.sums[player] = 0

    def leave(self, player: str) -> None:
        del self.sums[player]

    def input(self, player: str, move: Any) -> None:
        match move:
            case int():
                self.sums[player] += move
            case {"say": data}:
                self.happened("said", player, data)
            case {"end": result}:
                self.end = result
            case _:
                raise Rejected("an integer, please")

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks == self.params.get("until"):
            self.end = "time is up"

    def view(self) -> Any:
        return {"ticks": self.ticks, "sums": self.sums}

    def result(self) -> Any | None:
        return self.end

    def snapshot(self) -> Any:
        return [self.ticks, self.sums, self.end]

    def restore(self, state: Any) -> None:
        self.ticks, self.sums, self.end = state


class Ledger(Counting):
    """`Counting` with durable inputs: ticks and inputs all come back."""

    name: ClassVar[str] = "ledger"
    durable_inputs: ClassVar[bool] = True

    def tick(self) -> None:
        super().tick()
        for player in self.sums:
            self.sums[player] *= 2


class Hands(Counting):
    """A game in turns without durable inputs. Each player sees only their own state."""

    name: ClassVar[str] = "hands"
    tick_hz: ClassVar[float] = 0.0
    private_views: ClassVar[bool] = True

    def view_for(self, player: str) -> Any:
        return {"mine": self.sums.get(player)}


class Faulty(Counting):
    """A game that misbehaves at a tick, or at an input, which the test sets on the class."""

    name: ClassVar[str] = "faulty"
    wrong: ClassVar[str] = ""
    times: ClassVar[int] = 0
    """How many more times it misbehaves."""
    at_tick: ClassVar[int] = 30

    def _is_wrong(self, what: str) -> bool:
        if type(self).wrong != what or type(self).times <= 0 or self.ticks < type(self).at_tick:
            return False
        type(self).times -= 1
        return True

    def tick(self) -> None:
        super().tick()
        if self._is_wrong("tick"):
            raise ZeroDivisionError("by nothing")
        if self._is_wrong("exit"):
            raise SystemExit(3)
        if self._is_wrong("hang"):
            until = time.perf_counter() + 20
            while time.perf_counter() < until:
                pass
        if self._is_wrong("stuck"):
            stay_in_c(STUCK_S)
        if self._is_wrong("slow"):
            time.sleep(1.5 / self.tick_hz)
        if self._is_wrong("talk"):
            for number in range(10_000):
                self.happened("said", None, number)
        if self._is_wrong("shout"):
            self.happened("said", None, "x" * 200_000)
        if self._is_wrong("babble"):
            self.happened("said", None, object())

    def input(self, player: str, move: Any) -> None:
        if move == "crash":
            self.sums[player] += 100  # half a change
            raise KeyError("crash")
        if move == "interrupt":
            raise KeyboardInterrupt
        if move == "stuck":
            stay_in_c(STUCK_S)
        if move == "stuck and rejected":
            stay_in_c(STUCK_S)
            raise Rejected("after a while")
        if move == "mumble":
            raise Rejected("\ud800" * 1000)
        super().input(player, move)

    def view(self) -> Any:
        if self._is_wrong("panorama"):
            return "x" * 300_000
        return object() if self._is_wrong("view") else super().view()

    def snapshot(self) -> Any:
        return {"it": object()} if self._is_wrong("snapshot") else super().snapshot()


class FaultyTurns(Faulty):
    """`Faulty` in turns, with durable inputs."""

    name: ClassVar[str] = "faulty_turns"
    tick_hz: ClassVar[float] = 0.0
    durable_inputs: ClassVar[bool] = True
