"""A system as its own actors see it."""

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
    """What an actor may ask of the `ActorSystem` that it lives in; there, all is described.

    A class of its own, so that what lives in a system need not know what the system is made of.
    """

    name: str
    durability: Durability | None

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages that nobody could take."""

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
    """The system whose `async with`, or actor, the caller is in. Raises RuntimeError."""
    return cast("SystemView", current_naming())
