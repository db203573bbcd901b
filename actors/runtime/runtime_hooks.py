"""What the runtime does in the life of an instance, around the hooks that an embedder writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .reasons import Reason


class RuntimeHooks(NamedTuple):
    """Those of one instance, for the actor types of the runtime; plain actors have none of it.

    Attributes:
        recover: before `on_start`: state comes back from stores. May be async.
        launch: after `on_start`, and before the first message.
        is_up: whether the actor counts as started once it was launched; one that does not says when
            (see `Cell.has_started`).
        leave: after `on_stop` or `on_failure`: state goes to stores. May be async.
        killed: the actor ends without hooks: what would outlive it is taken along.
    """

    recover: Callable[[], Any]
    launch: Callable[[], None]
    is_up: Callable[[], bool]
    leave: Callable[[Reason], Any]
    killed: Callable[[], None]


def _nothing(*_: object) -> None:
    pass


NO_HOOKS: Final = RuntimeHooks(_nothing, _nothing, lambda: True, _nothing, _nothing)
