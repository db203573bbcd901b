"""Randomness that a snapshot can hold: a seeded generator whose whole state is one integer."""

from __future__ import annotations

import random
from typing import Final, NoReturn

_MASK: Final = 2**64 - 1


class Dice(random.Random):
    """`random.Random` on SplitMix64: everything the standard class offers (`choice`, `shuffle`,
    `uniform`, ...), repeatable from `seed`, and saved and restored as the one integer `state`.

    The standard Mersenne Twister would put 625 integers in every snapshot of every game. The
    algorithm is Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014). For
    games, not for secrets: who sees a few results can tell the next.
    """

    state: int
    """0 to 2**64 - 1; write it back to go on from there."""

    def __init__(self, seed: int) -> None:
        self.state = seed & _MASK
        super().__init__()

    def seed(self, a: object = None, version: int = 2) -> None:  # noqa: ARG002 - the base's shape
        """Set the state from an integer. The base class calls it without one when it is made."""
        if isinstance(a, int):
            self.state = a & _MASK

    def getrandbits(self, k: int, /) -> int:
        """An integer of `k` random bits."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        bits = 0
        for _ in range(-(-k // 64)):
            bits = (bits << 64) | self._next()
        return bits >> (-k % 64)

    def random(self) -> float:
        """A float in [0, 1), with 53 random bits."""
        return (self._next() >> 11) / 2**53

    def getstate(self) -> tuple[int]:
        return (self.state,)

    def setstate(self, state: object) -> None:
        match state:
            case (int() as value,):
                self.state = value & _MASK
            case _:
                raise ValueError(f"not the state of dice: {state!r}")

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> NoReturn:
        """Refused: it keeps every second value aside, outside `state`. Use `normalvariate`."""
        raise NotImplementedError("dice have no gauss; use normalvariate")

    def _next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)
