"""Messages that the runtime itself sends: to whoever watches, and to its own cells."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

from .reasons import Reason
from .ref import ActorRef


class Terminated(NamedTuple):
    """Delivered once to whoever watched `ref` when that actor ended.

    `reason` says how: `stopped` (asked to), `failed` (more often than allowed), `escalated` (its
    supervisor gave up), `passivated` (idle; the next message brings it back), `killed` (it did not
    stop by its deadline), `fenced` (another incarnation owns its log), `absent` (there was none),
    `moved` (handed over to another node; the next message starts it there), `node_down` (its node
    is gone).
    """

    ref: ActorRef
    reason: Reason


class Stop(NamedTuple):
    """End the actor after what is before this in the mailbox."""

    reason: Reason = "stopped"


class Halt(NamedTuple):
    """End the incarnation and keep the mailbox: a supervisor will start another one."""


class Kill(NamedTuple):
    """End the actor at once: no hook, nothing more is handled."""

    reason: Reason = "killed"


class Abandon(NamedTuple):
    """End the incarnation at once: its state is worth nothing. What waits brings the actor back."""


class Broken(NamedTuple):
    """Fail this instance: code of its own raised where no handler was running."""

    actor: Any
    error: BaseException
    what: str


Order = Stop | Halt | Kill | Abandon | Broken
ORDERS: frozenset[type[Any]] = frozenset(get_args(Order))
"""What the cell does itself, without the actor."""
