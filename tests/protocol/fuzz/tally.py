"""What a fuzz counts, and what it finds wrong with the server."""

from __future__ import annotations

from collections import Counter

_KEPT = 50


class Tally:
    """Counts over all attackers, and violations: each a sentence. The first ones are kept."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        """Frames sent by what is wrong with them; `valid` ones are counted apart."""
        self.floods: Counter[str] = Counter()
        """Frames of floods, which are right but for their number."""
        self.valid = 0
        self.taken = 0
        """Frames, mutated or not, behind which a ping was answered: the server took them all."""
        self.connections = 0
        self.handshakes: Counter[str] = Counter()
        """Mutated handshakes by the answer's HTTP status, or `end` for an end without one."""
        self.closes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.answers = 0
        self.violations: list[str] = []

    @property
    def mutated(self) -> int:
        """Mutated frames sent."""
        return sum(self.frames.values())

    def violation(self, what: str) -> None:
        """Hold something against the server."""
        if len(self.violations) < _KEPT:
            self.violations.append(what)
