"""`Instance`: what the runtime needs of an instance of an actor in the event loop."""

from __future__ import annotations

from contextvars import Context
from types import TracebackType
from typing import Any, ClassVar, Protocol

from .handlers import HandlerTable
from .runtime_hooks import RuntimeHooks


class Instance(Protocol):
    """An `Actor`, as its cell sees it.

    The names that begin with `actor_` are for the runtime, as they are in Pykka. Embedders can use
    any other name for their own attributes.
    """

    actor_handlers: ClassVar[HandlerTable]

    @property
    def actor_hooks(self) -> RuntimeHooks:
        """See `Actor.actor_hooks`."""

    def actor_seated(self, cell: Any) -> Context | None:
        """See `Actor.actor_seated`."""

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
