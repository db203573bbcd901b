"""`Target`: what a ref needs of the actor that it names.

Actors elsewhere can implement it as well.
"""

from __future__ import annotations

from typing import Any, Protocol

from .future import Future
from .mailbox import Control
from .reasons import Reason


class Target(Protocol):
    """Takes the messages for a name. A cell is a target; an actor on another node can be one, too.

    All is used in the home thread only, except `thread`, `alive` and `tell_from_thread`.
    """

    @property
    def name(self) -> str:
        """Kind and key, `kind/key`, for error messages."""

    @property
    def thread(self) -> int:
        """The ident of the thread in which the target is `Near`; -1 if there is none."""

    @property
    def alive(self) -> bool:
        """Whether it takes messages. If not, the ref looks its name up again."""

    @property
    def up(self) -> bool:
        """Whether the present instance has started; for a supervisor, its children as well."""

    @property
    def error(self) -> BaseException | None:
        """The exception that the last failed instance failed with, if any."""

    @property
    def reason(self) -> Reason | None:
        """How the actor ended, or None if it has not."""

    def actor_or_none(self) -> Any:
        """Return the present instance, for Pykka's proxies; None if there is none within reach."""

    def tell(self, message: Any) -> None:
        """Take a message. Raises MailboxFull."""

    def tell_or_wait(self, message: Any) -> Future[bool] | None:
        """Take a message, or return a future that is set once it is taken. Raises MailboxFull."""

    def tell_from_thread(self, message: Any) -> None:
        """Take a message from another thread. Raises MailboxFull if that is known at once."""

    def ask(self, message: Any, future: Future[Any]) -> None:
        """Take a message. Its reply, or any error, settles `future`."""

    def control(self, control: Control) -> None:
        """Take a control message, even if the mailbox is full."""

    def when_started(self) -> Future[bool]:
        """Return a future that tells whether the present instance started.

        During a back-off, the future is about the instance that comes after it.
        """

    def stop(self, reason: Reason = "stopped") -> Future[bool]:
        """Ask the actor to stop. The returned future is True once it has ended."""
