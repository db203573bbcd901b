"""The actor system, as its own actors see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast

from .cell import Host
from .child import ChildSpec, Strategy
from .dead_letters import DeadLetters
from .durability import Durability
from .journal import Journal
from .kinds import Kind
from .ref import ActorRef, current_naming
from .restart import RestartPolicy
from .statistics import Statistics
from .timers import Alarm


class SystemView(Host, Protocol):
    """The part of `ActorSystem` that actors may use. `ActorSystem` describes its methods.

    It is a separate Protocol so that the modules of actors need not import the module of the
    system, which imports them.
    """

    name: str
    durability: Durability | None

    @property
    def dead_letters(self) -> DeadLetters:
        """See `ActorSystem.dead_letters`."""

    @property
    def journal(self) -> Journal:
        """See `ActorSystem.journal`."""

    def start(
        self,
        cls: Callable[..., Any],
        *args: Any,
        kind: str | None = None,
        key: str | None = None,
        policy: RestartPolicy | None = None,
        **kwargs: Any,
    ) -> ActorRef:
        """See `ActorSystem.start`."""

    def register(self, kind: Kind) -> None:
        """See `ActorSystem.register`."""

    def supervise(
        self,
        specs: Sequence[ChildSpec],
        strategy: Strategy = "one_for_one",
        *,
        max_restarts: int = 3,
        within_s: float = 5.0,
        key: str | None = None,
    ) -> ActorRef:
        """See `ActorSystem.supervise`."""

    def actors(self, kind: str | None = None) -> Iterator[ActorRef]:
        """See `ActorSystem.actors`."""

    def after(self, delay_s: float, function: Callable[[], object]) -> Alarm:
        """See `ActorSystem.after`."""

    def statistics(self) -> Statistics:
        """See `ActorSystem.statistics`."""


def current_system() -> SystemView:
    """Return the current system. Raises RuntimeError if there is none."""
    return cast("SystemView", current_naming())
