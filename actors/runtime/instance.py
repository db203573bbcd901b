"""What the runtime needs of an instance of an actor in the event loop."""

from __future__ import annotations

from contextvars import Context
from types import TracebackType
from typing import Any, ClassVar, Protocol

from .handlers import HandlerTable
from .runtime_hooks import RuntimeHooks


class Instance(Protocol):
    """An `Actor`, as the cell that it is seated in sees it.

    What begins with `actor_` is between these two, as such names are in Pykka: embedders can give
    their own attributes any other.
    """

    actor_handlers: ClassVar[HandlerTable]

    @property
    def actor_hooks(self) -> RuntimeHooks:
        """What the runtime does around its hooks."""

    def actor_seated(self, cell: Any) -> Context | None:
        """It has its place in this cell; returns what its constructor set, if anything."""

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
