"""Runs an actor's hooks, which may be sync or async. Only an async hook takes a task."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from inspect import isawaitable
from typing import Any, Protocol

import structlog

from .cell import Host
from .panic import end_of_all

_log = structlog.get_logger("actors")

Steps = Iterator[Callable[[], Any]]
Then = Callable[[BaseException | None], None]


class Hooked(Protocol):
    """The cell of the actor whose hooks are run."""

    kind: str
    key: str

    @property
    def system(self) -> Host:
        """The system that the actor lives in."""

    @property
    def alive(self) -> bool:
        """Whether the cell has not ended."""

    def occupy(self, job: Coroutine[Any, Any, None]) -> None:
        """Have a worker await the job. Until it is done, no message is handled."""

    def ends_worker(self, error: BaseException) -> bool:
        """Return whether the exception must be raised on in the worker's task."""

    def leave_worker(self) -> None:
        """Take note that the worker has done its job."""


def run_hooks(cell: Hooked, steps: Steps, then: Then) -> None:
    """Call each step, and then `then(None)`. An exception skips the other steps: `then(error)`.

    If a step returns an awaitable, a worker awaits it and takes the steps after it.
    """
    for step in steps:
        try:
            result = step()
        except BaseException as error:
            then(error)
            return
        if result is not None and isawaitable(result):
            cell.occupy(_await_hooks(cell, result, steps, then))
            return
    then(None)


async def _await_hooks(cell: Hooked, result: Any, steps: Steps, then: Then) -> None:
    error: BaseException | None = None
    try:
        await result
        for step in steps:
            if not cell.alive:  # the cell ended without waiting for this
                break
            result = step()
            if result is not None and isawaitable(result):
                await result
    except BaseException as raised:
        if cell.ends_worker(raised):
            raise
        error = raised
    cell.leave_worker()
    if cell.alive:
        then(error)


def farewell(cell: Hooked, *hooks: Callable[[], Any]) -> Steps:
    """Yield steps for `run_hooks` that are all taken: an error of one is logged, not raised."""
    for hook in hooks:
        yield partial(_guarded, cell, hook)


def _guarded(cell: Hooked, hook: Callable[[], Any]) -> Any:
    try:
        result = hook()
    except BaseException as error:
        _failed(cell, error)
        return None
    if result is not None and isawaitable(result):
        return _guarded_wait(cell, result)
    return None


async def _guarded_wait(cell: Hooked, result: Any) -> None:
    try:
        await result
    except BaseException as error:
        if cell.ends_worker(error):
            raise
        _failed(cell, error)


def _failed(cell: Hooked, error: BaseException) -> None:
    _log.error("hook_failed", kind=cell.kind, key=cell.key, exc_info=error)
    if (end := end_of_all(error)) is not None:
        cell.system.fail(end)
