"""Hooks by which the runtime's own actor types act before and after the hooks of embedders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .reasons import Reason


class RuntimeHooks(NamedTuple):
    """The runtime's hooks of one instance. Plain actors have empty ones.

    Attributes:
        recover: called before `on_start`, to read state from stores. May be async.
        launch: called after `on_start`, before the first message.
        is_up: returns whether the actor counts as started after `launch`. If not, it calls
            `Cell.has_started` later.
        leave: called with the reason after `on_stop` or `on_failure`, to write state to stores. May
            be async.
        killed: called when the actor ends without its hooks, to release what would outlive it.
    """

    recover: Callable[[], Any]
    launch: Callable[[], None]
    is_up: Callable[[], bool]
    leave: Callable[[Reason], Any]
    killed: Callable[[], None]


def _nothing(*_: object) -> None:
    pass


NO_HOOKS: Final = RuntimeHooks(_nothing, _nothing, lambda: True, _nothing, _nothing)
