"""How a node's process ended, and what that makes of the whole server."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Final

import msgspec

from actors.node.exits import Exit


class ProcessEnd(msgspec.Struct, frozen=True):
    """The end of a process.

    Attributes:
        code: its exit code; below 0 the signal that killed it; None: it could not be started.
        why: why the parent killed it, or why it could not be started; "": neither.
        up_s: how long it had served clients; 0.0: it never did.
        words: the last line that it printed for people on its standard error; "": none.
    """

    code: int | None
    why: str = ""
    up_s: float = 0.0
    words: str = ""

    def __str__(self) -> str:
        if self.code is None:
            return f"could not be started: {self.why}"
        if self.code < 0:
            try:
                name = signal.Signals(-self.code).name
            except ValueError:  # a realtime signal, which has no name
                name = f"signal {-self.code}"
            return f"killed by {name}" + (f": {self.why}" if self.why else "")
        return f"exit code {self.code}" + (f": {self.words}" if self.code and self.words else "")

    @property
    def exit(self) -> Exit:
        """The exit code of a server of one node that ended like this."""
        if self.code == -signal.SIGTERM:  # it was asked to stop before it could handle signals
            return Exit.OK
        try:
            return Exit.FAILED if self.code is None else Exit(self.code)
        except ValueError:
            return Exit.FAILED


WORST_FIRST: Final = (Exit.FAILED, Exit.CUT_SHORT, Exit.UNSAVED)


def exit_of_all(exits: Iterable[Exit]) -> Exit:
    """Return the exit code of a server from those with which its nodes stopped when asked to."""
    there = set(exits)
    for exit_code in WORST_FIRST:
        if exit_code in there:
            return exit_code
    return max(there, default=Exit.OK)  # OK is the lowest
