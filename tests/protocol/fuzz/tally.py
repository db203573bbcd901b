"""What a fuzz counts, and what it finds wrong with the server."""

from __future__ import annotations

from collections import Counter

_KEPT = 50


class Tally:
    """Counts over all attackers, and violations: each a sentence. The first ones are kept."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        """Frames sent, by the mistake in them. Valid ones are counted as `valid`."""
        self.floods: Counter[str] = Counter()
        """Frames of floods, which are valid but too many."""
        self.valid = 0
        self.taken = 0
        """Frames, mutated or not, after which a ping was answered, so that the server took them
        all."""
        self.connections = 0
        self.handshakes: Counter[str] = Counter()
        """Mutated handshakes, by the HTTP status of the answer; `end`: the connection ended without
        one."""
        self.closes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.answers = 0
        self.violations: list[str] = []

    @property
    def mutated(self) -> int:
        """Mutated frames sent."""
        return sum(self.frames.values())

    def violation(self, what: str) -> None:
        """Note a violation by the server."""
        if len(self.violations) < _KEPT:
            self.violations.append(what)
