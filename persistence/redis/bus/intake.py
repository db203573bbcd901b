"""Where arrived entries go, and how far a node's stream was read; it outlives the reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Semaphore
from typing import Final

_PAGES: Final = 4
"""How many pages may wait for the event loop before no more are read: enough for the loop never to
wait for the reader, and no more memory than that takes."""


class Intake:
    """Between the reader's thread and the event loop.

    Arguments:
        deliver: called in the reader's thread with the entries of a page, in their order. Whoever
            has worked off a page calls `done`.
    """

    __slots__ = ("deliver", "last", "rewind", "room")

    def __init__(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self.deliver = deliver
        self.room = Semaphore(_PAGES)
        self.last = b"0-0"
        """The place in the stream of what was read last."""
        self.rewind = False
        """Read the stream from its beginning: the store may be another one, or its clock."""

    def done(self) -> None:
        """One page more may be read."""
        self.room.release()
