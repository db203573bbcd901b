"""What the runtime needs of an instance of an actor in the event loop."""

from __future__ import annotations

from contextvars import Context
from types import TracebackType
from typing import Any, ClassVar, Protocol

from .handlers import HandlerTable
from .reasons import Reason


class Instance(Protocol):
    """An `Actor`, as the cell that it is seated in sees it.

    What has an underscore is between these two: embedders see none of it, and can give their own
    attributes any other name.
    """

    _table: ClassVar[HandlerTable]
    _cell: Any  # the cell it is seated in, which is what knows of this class
    _made_in: Context | None  # what its constructor set, if anything
    _up: bool  # whether it counts as started once `_launch` has returned

    def may_passivate(self) -> bool:
        """See `Actor.may_passivate`."""

    def on_start(self) -> Any:
        """See `Actor.on_start`."""

    def on_stop(self) -> Any:
        """See `Actor.on_stop`."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """See `Actor.on_failure`."""

    def _recover(self) -> Any:
        """Before `on_start`: where state comes back from stores. May be async."""

    def _launch(self) -> None:
        """After `on_start`, and before the first message."""

    def _leave(self, reason: Reason) -> Any:
        """After `on_stop` or `on_failure`: where state goes to stores. May be async."""

    def _killed(self) -> None:
        """The actor ends without hooks: take along what would outlive it."""
