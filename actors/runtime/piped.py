"""Delivers the result of a future to an actor as a message (`Actor.pipe_to_self`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .future import Future
from .instance import Instance
from .lifecycle import LoopLife
from .mailbox import Control


class Piped:
    """Stands between a future and the mailbox of the instance that waits for it.

    It belongs to that instance, as timers do. The next instance has not asked for the result, so it
    does not get it.
    """

    __slots__ = ("_actor", "_cell", "_future", "_message")

    def __init__(
        self,
        cell: LoopLife,
        actor: Instance,
        future: Future[Any],
        message: Callable[[Future[Any]], Any],
    ) -> None:
        self._cell = cell
        self._actor = actor
        self._future = future
        self._message = message
        if cell.actor is actor:  # false for an instance that still runs after the end of its cell
            cell.results_to_come += 1
        future.when_done(self._arrived)

    def _arrived(self, _done: Future[Any]) -> None:
        self._cell.control(Control(None, self))

    def take(self, control: Control) -> bool:
        """Make the message, in the actor's turn.

        Return False if the instance is not there any more.
        """
        if self._cell.actor is not self._actor:
            return False
        self._cell.results_to_come -= 1
        try:
            control.message = self._message(self._future)
        except BaseException as error:
            self._cell.broke(self._actor, error, "pipe_to_self")
            return False
        return True
