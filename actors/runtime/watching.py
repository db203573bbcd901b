"""Who hears of an actor's end, and what can be watched for it: here or on another node."""

from __future__ import annotations

from typing import Protocol

from .messages import Terminated
from .ref import ActorRef
from .target import Target


class Watcher(Protocol):
    """Hears once of the end of each actor that it is entered with.

    A cell is a watcher. What stands for the watchers on another node can be one, too.
    """

    watching: set[ActorRef] | None
    """The refs that it watches. Whoever notifies it takes the ref out before."""

    def notify(self, end: Terminated) -> None:
        """Take note that an actor has ended."""


class Located(Target, Protocol):
    """A target that tells its watchers when its actor ends: a cell, or an actor elsewhere."""

    def add_watcher(self, watcher: Watcher) -> None:
        """Notify the watcher once the actor has ended."""

    def remove_watcher(self, watcher: Watcher) -> None:
        """Do not notify the watcher any more."""
