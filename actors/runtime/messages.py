"""Messages of the runtime itself: `Terminated` for watchers, and orders for its cells."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

from .reasons import Reason
from .ref import ActorRef


class Terminated(NamedTuple):
    """Delivered once to each actor that watched `ref` when that actor ended.

    `reason` says how it ended: `stopped` (it was asked to), `failed` (more often than allowed),
    `escalated` (its supervisor gave up), `passivated` (it was idle, and the next message brings it
    back), `killed` (it did not stop by its deadline), `fenced` (another incarnation owns its log),
    `absent` (there was no such actor), `moved` (it was handed over to another node, where the next
    message starts it), `node_down` (its node is gone).
    """

    ref: ActorRef
    reason: Reason


class Stop(NamedTuple):
    """End the actor after the messages that are before this one in the mailbox."""

    reason: Reason = "stopped"


class Halt(NamedTuple):
    """End the incarnation and keep the mailbox, since a supervisor will start another one."""


class Kill(NamedTuple):
    """End the actor at once, without hooks and without handling another message."""

    reason: Reason = "killed"


class Abandon(NamedTuple):
    """End the incarnation at once, since its log is another's.

    A message that waits starts a new one.
    """


class Broken(NamedTuple):
    """Have this instance fail, because a callback of it raised while no handler of it ran."""

    actor: Any
    error: BaseException
    what: str


Order = Stop | Halt | Kill | Abandon | Broken
ORDERS: frozenset[type[Any]] = frozenset(get_args(Order))
"""The types of messages that the cell carries out itself."""
