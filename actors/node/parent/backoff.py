"""When a node that ended is started again."""

from __future__ import annotations

from typing import Final

import msgspec

FIRST_S: Final = 0.1
"""The pause after the first failure."""
LONGEST_S: Final = 10.0
"""Pauses double up to this. So a node is back at most this long after its stores are."""
STEADY_S: Final = 30.0
"""Once a node was up for so long, its earlier failures no longer count."""
HOPELESS: Final = 5
"""If no node is up, and each has failed so often in a row, the parent gives up. Then whoever
started the parent hears of it, such as systemd or an operator."""


class NodeBackoff(msgspec.Struct, frozen=True):
    """Counts the failures of one node in a row. A failure is an end that nobody asked for."""

    failures: int = 0

    def after(self, up_s: float) -> NodeBackoff:
        """Return the state after one more failure, of a node that was up for `up_s` (0: never)."""
        return NodeBackoff(1 if up_s >= STEADY_S else self.failures + 1)

    def pause_s(self, chance: float) -> float:
        """Return the pause before the next start, in seconds.

        Arguments:
            chance: random, from 0 to 1, so that nodes that failed together do not start together.
        """
        pause = min(LONGEST_S, FIRST_S * 2.0 ** min(self.failures - 1, 60))
        return pause * (0.5 + chance / 2)

    @property
    def hopeless(self) -> bool:
        return self.failures >= HOPELESS
