"""Whose code keeps the loop: read off its stack by another thread, so the loop pays nothing."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Final, NamedTuple

from .dispatcher import Dispatcher
from .home import Home, Tenant
from .loop_cell import LoopCell

_TRIO: Final = "trio._core._run"
"""The module whose frames lie between what started the loop and what runs in it."""
_NOBODYS: Final = ("trio", "outcome", "actors.runtime")
"""Packages that call others' code; what they do on the way is not to blame."""


class Culprit(NamedTuple):
    """What runs in the loop at this moment."""

    tenant: Tenant | None
    """The actor whose handler, hook or callback it is. None: it is a constructor's, or no actor's.
    """
    message: str | None
    """The type of what the actor handles, if that is a plain handler."""
    code: str | None
    """The function that trio or the runtime called last."""
    stack: str

    @property
    def fields(self) -> dict[str, str]:
        """For the log: what is known."""
        tenant = self.tenant
        known = {
            "kind": None if tenant is None else tenant.kind,
            "key": None if tenant is None else tenant.key,
            "message": self.message,
            "code": self.code,
            "stack": self.stack,
        }
        return {name: value for name, value in known.items() if value is not None}


def find_culprit(home: Home, dispatcher: Dispatcher) -> Culprit | None:
    """Who keeps the loop at `home`; None: nobody, it waits. From another thread.

    The loop's thread goes on meanwhile unless it is blocked, so this may be a moment late.
    """
    # Async handlers and hooks run as trio runs them, and nothing is noted for each step of theirs.
    # So they are found by the frame of their task, which is on the stack while they run.
    innermost = sys._current_frames().get(home.thread)  # noqa: SLF001 -- the documented way
    frames = list(_in_loop(innermost))
    tenant = home.whose
    if tenant is None:
        for task, whose in list(home.working.items()):
            if task.coro.cr_frame in frames:
                tenant = whose
    code = _entered_last(frames)
    if tenant is None and code is None:
        return None
    return Culprit(
        tenant,
        type(dispatcher.message).__name__ if _is_plain_handler(code) else None,
        None if code is None else _name(code),
        "".join(traceback.format_stack(innermost)),
    )


def _in_loop(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of what the loop runs, from inside out."""
    while frame is not None and frame.f_globals.get("__name__") != _TRIO:
        yield frame
        frame = frame.f_back


def _entered_last(frames: list[FrameType]) -> FrameType | None:
    entered = None
    for frame in frames:
        if not _is_nobodys(frame):
            entered = frame
        elif entered is not None:
            break
    return entered


def _is_nobodys(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    return any(module == name or module.startswith(f"{name}.") for name in _NOBODYS)


def _is_plain_handler(frame: FrameType | None) -> bool:
    caller = None if frame is None else frame.f_back
    return caller is not None and caller.f_code is LoopCell.run.__code__


def _name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
