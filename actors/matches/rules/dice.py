"""A seeded random generator whose whole state is one integer, so that a snapshot can hold it."""

from __future__ import annotations

import random
from typing import Final, NoReturn

_MASK: Final = 2**64 - 1


class Dice(random.Random):
    """`random.Random` with the SplitMix64 generator.

    It has the methods of the standard class (`choice`, `shuffle`, `uniform`, ...), repeats its
    results for the same `seed`, and is saved and restored by its one integer `state`. The standard
    Mersenne Twister would add 625 integers to every snapshot of every game.

    The algorithm is from Steele, Lea, Flood, "Fast splittable pseudorandom number generators"
    (2014). It is for games, not for secrets: whoever sees a few results can compute the next.
    """

    state: int
    """0 to 2**64 - 1. Set it to a value that was read before to go on from there."""

    def __init__(self, seed: int) -> None:
        self.state = seed & _MASK
        super().__init__()

    def seed(self, a: object = None, version: int = 2) -> None:  # noqa: ARG002 - the base's shape
        """Set the state to an integer.

        The base class also calls this without one; then do nothing.
        """
        if isinstance(a, int):
            self.state = a & _MASK

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of `k` random bits. Raises ValueError if `k` is negative."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        bits = 0
        for _ in range(-(-k // 64)):
            bits = (bits << 64) | self._next()
        return bits >> (-k % 64)

    def random(self) -> float:
        """Return a float in [0, 1), with 53 random bits."""
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
        """Raise NotImplementedError: gauss keeps a value outside `state`. Use `normalvariate`."""
        raise NotImplementedError("dice have no gauss; use normalvariate")

    def _next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)
