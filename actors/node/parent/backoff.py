"""When a node that ended is started again."""

from __future__ import annotations

from typing import Final

import msgspec

FIRST_S: Final = 0.1
"""The pause after the first failure."""
LONGEST_S: Final = 10.0
"""Pauses double up to this. A store that is back is used again within it."""
STEADY_S: Final = 30.0
"""A node that was up for so long has recovered from what made it fail before."""
HOPELESS: Final = 5
"""If no node is up, and each has failed so often in a row, the parent gives up. Whoever started it
hears of it then, and may know better."""


class NodeBackoff(msgspec.Struct, frozen=True):
    """The failures of one node in a row: ends that nobody asked for."""

    failures: int = 0

    def after(self, up_s: float) -> NodeBackoff:
        """Return what holds after another end of a node that was up for `up_s`; 0: it never was."""
        return NodeBackoff(1 if up_s >= STEADY_S else self.failures + 1)

    def pause_s(self, chance: float) -> float:
        """Return the pause before the next start, in seconds.

        Arguments:
            chance: from 0 to 1; nodes that failed together do not start together.
        """
        pause = min(LONGEST_S, FIRST_S * 2.0 ** min(self.failures - 1, 60))
        return pause * (0.5 + chance / 2)

    @property
    def hopeless(self) -> bool:
        return self.failures >= HOPELESS
