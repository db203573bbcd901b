"""Finds out whose code blocks the loop.

Another thread reads the loop's stack, so the loop pays nothing.
"""

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
"""The module whose frames lie between the code that started the loop and the code that runs in
it."""
_NOBODYS: Final = ("trio", "outcome", "actors.runtime")
"""Packages that only call other people's code. They are not reported as the culprit."""


class Culprit(NamedTuple):
    """What runs in the loop at this moment."""

    tenant: Tenant | None
    """The actor whose handler, hook or callback runs. None for a constructor and for other code."""
    message: str | None
    """The type of the message that is handled, if a plain (not async) handler runs."""
    code: str | None
    """The function that trio or the runtime called last."""
    stack: str
    """The whole stack of the loop's thread, as a traceback shows it."""

    @property
    def fields(self) -> dict[str, str]:
        """The known facts, as fields of a log line."""
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
    """Return what runs in the loop at `home`, or None if the loop waits. Called in another thread.

    A loop that is not blocked goes on meanwhile, so the result may be out of date by a moment.
    """
    # Nothing is recorded at each step of an async handler or hook. Such a one is found by the frame
    # of its task, which is on the stack while it runs.
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
    """Yield the frames of the code that the loop runs, the innermost first."""
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
