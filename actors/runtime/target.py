"""What a ref needs of the actor that it names: the seam for an actor that is somewhere else."""

from __future__ import annotations

from typing import Any, Protocol

from .future import Future
from .mailbox import Control
from .reasons import Reason


class Target(Protocol):
    """Whoever takes the messages for a name. A cell is one; a name on another node can be another.

    All is for the home thread, but `thread`, `alive` and `tell_from_thread`.
    """

    @property
    def name(self) -> str:
        """Its kind and key, for errors."""

    @property
    def thread(self) -> int:
        """The ident of the thread in which it is `Near`, and its mailbox at hand; -1: in none."""

    @property
    def alive(self) -> bool:
        """Whether it takes messages; if not, its name is looked up anew."""

    @property
    def up(self) -> bool:
        """Whether the present instance has started, and all that belongs to it."""

    @property
    def error(self) -> BaseException | None:
        """What its last instance failed of."""

    @property
    def reason(self) -> Reason | None:
        """How it ended; None while it is there."""

    def actor_or_none(self) -> Any:
        """The present instance, for Pykka's proxies; None also if it is out of reach."""

    def tell(self, message: Any) -> None:
        """Take a message in. Raises MailboxFull."""

    def tell_or_wait(self, message: Any) -> Future[bool] | None:
        """Take a message in, or return a future that is set when it is in. Raises MailboxFull."""

    def tell_from_thread(self, message: Any) -> None:
        """Take a message in, called in another thread. Raises MailboxFull if it knows already."""

    def ask(self, message: Any, future: Future[Any]) -> None:
        """Take a message in whose reply settles `future`, and so does whatever goes wrong."""

    def control(self, control: Control) -> None:
        """Take in a control message, past any bound."""

    def when_started(self) -> Future[bool]:
        """A future of whether the present instance, or the one after a back-off, did start."""

    def stop(self, reason: Reason = "stopped") -> Future[bool]:
        """Ask the actor to stop. The future is True once it has ended."""
