"""Messages that the runtime itself sends, and the names of the ways an actor can end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from .actor import Actor
    from .cell import Cell
    from .child import Child
    from .ref import ActorRef
    from .round import Round

Reason = Literal["stopped", "failed", "escalated", "passivated", "killed", "fenced", "absent"]
"""How an actor ended. `stopped`: asked to. `failed`: more often than allowed. `escalated`: its
supervisor gave up. `passivated`: idle; the next message brings it back. `killed`: it did not stop
by its deadline. `fenced`: another incarnation owns its log. `absent`: there was none."""


class Terminated(NamedTuple):
    """Delivered once to whoever watched `ref` when that actor ended.

    `reason` says how: `stopped` (asked to), `failed` (more often than allowed), `escalated` (its
    supervisor gave up), `passivated` (idle; the next message brings it back), `killed` (it did not
    stop by its deadline), `fenced` (another incarnation owns its log), `absent` (there was none).
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

    actor: Actor
    error: BaseException
    what: str


class ChildFailed(NamedTuple):
    """To a supervisor: the incarnation in this cell failed."""

    child: Child
    cell: Cell
    error: BaseException
    incarnation: int


class ChildEnded(NamedTuple):
    """To a supervisor: this cell ended by itself."""

    child: Child
    cell: Cell
    reason: Reason


class RoundOver(NamedTuple):
    """To a supervisor: a round of its own is done, or could not start a child."""

    round: Round
    error: Exception | None


ORDERS: frozenset[type[Any]] = frozenset({Stop, Halt, Kill, Abandon, Broken})
"""What the cell does itself, without the actor."""
