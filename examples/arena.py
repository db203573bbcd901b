"""The arena: round bodies that push through a square and race for orbs, 20 times a second.

Bodies have radius 1, are in a square of 40 by 40, and move at up to 10 a second. They do not pass
through one another or through walls, but slide along them. A player who touches an orb gets a
point, and a new orb appears elsewhere. The first player with `goal` points wins.

params  {"goal": 10, "orbs": 5}, each optional input   {"x": 0.5, "y": -1}: where to push, each from
-1 to 1; it holds until the next input state   {"bodies": {"u1": [x, y, points], ...}, "orbs": [[x,
y], ...]} event   kind "scored", player: who, data: {"points": 3} result  {"winner": "u1", "points":
{"u1": 10, "u2": 7}}

All randomness (where bodies and orbs appear) comes from the match's seed, so the same inputs at
the same ticks give the same match.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta

from actors.matches import Game, Rejected

SIZE: Final = 40.0
RADIUS: Final = 1.0
SPEED: Final = 10.0
ORB_RADIUS: Final = 0.5
GAP: Final = 1e-6
"""Bodies stop this far apart, so that rounding never makes them overlap."""
STILL: Final = 1e-9
"""A shorter step counts as none, since the squares of ever smaller steps would underflow."""
ALONG: Final = 1e-7
"""A step that leads towards another body by no more than this counts as leading along it.

Otherwise rounding could hold two bodies together that touch. Such a step brings the bodies closer
by a quarter of the square of this, so that GAP lasts for 400 million of them.
"""

Axis = Annotated[float, Meta(ge=-1, le=1)]


class Push(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a player pushes. A vector longer than 1 counts as one of length 1."""

    x: Axis
    y: Axis


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the creator of a match may choose."""

    goal: Annotated[int, Meta(ge=1, le=1000)] = 10
    orbs: Annotated[int, Meta(ge=1, le=20)] = 5


class Body(msgspec.Struct):
    """A player's body: where it is, where it pushes, what it scored."""

    x: float
    y: float
    push_x: float = 0.0
    push_y: float = 0.0
    points: int = 0


class Saved(msgspec.Struct):
    """A snapshot: everything that the next tick depends on."""

    bodies: dict[str, Body]
    orbs: list[tuple[float, float]]
    turn: int
    dice: int
    winner: str | None


class Arena(Game):
    """Movement and collisions for up to eight players."""

    name: ClassVar[str] = "arena"
    tick_hz: ClassVar[float] = 20.0
    max_players: ClassVar[int] = 8
    input_type: ClassVar[Any] = Push
    params_type: ClassVar[Any] = Params

    def __init__(self, seed: int, params: Params) -> None:
        super().__init__(seed, params)
        self.bodies: dict[str, Body] = {}
        self.orbs: list[tuple[float, float]] = []
        self._turn = 0
        self._winner: str | None = None
        for _ in range(params.orbs):
            self.orbs.append(self._free_place(ORB_RADIUS))

    # --- players ---------------------------------------------------------------------------------

    def join(self, player: str) -> None:
        if self._winner is not None:
            raise Rejected("the race is over")
        self.bodies[player] = Body(*self._free_place(RADIUS))

    def leave(self, player: str) -> None:
        del self.bodies[player]

    def input(self, player: str, move: Push) -> None:
        body = self.bodies[player]
        too_long = max(1.0, math.hypot(move.x, move.y))
        body.push_x, body.push_y = move.x / too_long, move.y / too_long

    # --- one step --------------------------------------------------------------------------------

    def tick(self) -> None:
        players = list(self.bodies)
        if players:
            # Bodies move one after the other; taking turns at being first is what makes it fair.
            first = self._turn % len(players)
            for player in players[first:] + players[:first]:
                self._move(player)
                self._collect(player)
        self._turn += 1

    def _move(self, player: str) -> None:
        body = self.bodies[player]
        dx = body.push_x * SPEED / self.tick_hz
        dy = body.push_y * SPEED / self.tick_hz
        # A body moves up to the first contact, then for the rest of the step along what it touched,
        # once. It only moves where nothing is, so bodies never overlap and need not be pushed
        # apart.
        for _ in range(2):
            if math.hypot(dx, dy) < STILL:
                return
            part, normal_x, normal_y = self._contact(player, dx, dy)
            body.x += dx * part
            body.y += dy * part
            into = (dx * normal_x + dy * normal_y) * (1 - part)
            dx = dx * (1 - part) - into * normal_x
            dy = dy * (1 - part) - into * normal_y

    def _contact(self, player: str, dx: float, dy: float) -> tuple[float, float, float]:
        """Return the part of the way (0 to 1) that is free, and the normal of what is hit then."""
        body = self.bodies[player]
        nearest = (1.0, 0.0, 0.0)
        for at, way, normal in ((body.x, dx, (1.0, 0.0)), (body.y, dy, (0.0, 1.0))):
            wall = SIZE - RADIUS - GAP if way > 0 else RADIUS + GAP
            if way != 0.0 and (part := max(0.0, (wall - at) / way)) < nearest[0]:
                nearest = (part, *normal)
        for other_player, other in self.bodies.items():
            if other_player != player:
                part = _until_touch(other.x - body.x, other.y - body.y, dx, dy)
                if part < nearest[0]:
                    away_x = body.x + dx * part - other.x
                    away_y = body.y + dy * part - other.y
                    length = math.hypot(away_x, away_y)
                    nearest = (part, away_x / length, away_y / length)
        return nearest

    def _collect(self, player: str) -> None:
        body = self.bodies[player]
        for index, (x, y) in enumerate(self.orbs):
            if math.hypot(x - body.x, y - body.y) < RADIUS + ORB_RADIUS:
                body.points += 1
                self.orbs[index] = self._free_place(ORB_RADIUS)
                self.happened("scored", player, {"points": body.points})
        if body.points >= self.params.goal and self._winner is None:
            self._winner = player

    def _free_place(self, radius: float) -> tuple[float, float]:
        """Return a random place clear of bodies, which cover less than 7 % of the square."""
        while True:
            x = self.dice.uniform(radius + GAP, SIZE - radius - GAP)
            y = self.dice.uniform(radius + GAP, SIZE - radius - GAP)
            clear = RADIUS + radius + GAP
            if all(math.hypot(x - one.x, y - one.y) > clear for one in self.bodies.values()):
                return x, y

    # --- what is seen, and what is kept ----------------------------------------------------------

    def view(self) -> Any:
        # Two decimals are finer than a pixel and keep a JSON frame small.
        return {
            "bodies": {
                one: (round(body.x, 2), round(body.y, 2), body.points)
                for one, body in self.bodies.items()
            },
            "orbs": [(round(x, 2), round(y, 2)) for x, y in self.orbs],
        }

    def result(self) -> Any | None:
        if self._winner is None:
            return None
        points = {player: body.points for player, body in self.bodies.items()}
        return {"winner": self._winner, "points": points}

    def snapshot(self) -> Saved:
        return Saved(self.bodies, self.orbs, self._turn, self.dice.state, self._winner)

    def restore(self, state: Any) -> None:
        saved = msgspec.convert(state, Saved)
        self.bodies, self.orbs = saved.bodies, saved.orbs
        self._turn, self._winner = saved.turn, saved.winner
        self.dice.state = saved.dice


def _until_touch(to_x: float, to_y: float, dx: float, dy: float) -> float:
    """Return the part of the way `(dx, dy)` that a body goes before it touches a still one.

    `(to_x, to_y)` leads from its centre to the other's. If the result is 1 or more, they do not
    touch. It is the smaller root of |to - part * d| = reach. Bodies that part or stand still never
    touch.
    """
    reach = 2 * RADIUS + GAP
    square = dx * dx + dy * dy
    towards = to_x * dx + to_y * dy
    if towards <= ALONG * math.sqrt(square):
        return 1.0
    outside = to_x * to_x + to_y * to_y - reach * reach
    inside_root = towards * towards - square * outside
    if inside_root <= 0.0:
        return 1.0
    return max(0.0, (towards - math.sqrt(inside_root)) / square)
