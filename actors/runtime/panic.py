"""Exceptions that are no `Exception`, and which of them end more than one actor.

A KeyboardInterrupt or SystemExit in an actor ends the system: all actors stop in order, and the
exception is raised out of `async with ActorSystem()`. A Cancelled ends the task that was cancelled.
Any other exception, such as the PanicException of an extension written in Rust, is a failure of one
actor. In the thread of a ThreadingActor no exception ends more than that actor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio


def shown(value: object, how: Callable[[object], str] = repr) -> str:
    """Return the `repr` or `str` of a value, or a substitute if that raises."""
    try:
        return how(value)
    except BaseException as error:
        return f"<{type(value).__name__}, whose {how.__name__}() raises {type(error).__name__}>"


class HandlerPanic(Exception):  # noqa: N818 -- Rust's word for it
    """An asker gets this instead of an exception that is no `Exception`, which is its `__cause__`.

    So a program that catches `Exception` catches whatever an actor answers.
    """


def in_task(task: trio.lowlevel.Task | None) -> bool:
    """Return whether the caller runs in this task."""
    try:
        return trio.lowlevel.current_task() is task
    # In a call from another thread, which is in no task; or the loop has ended.
    except RuntimeError:
        return False


def ends_task(error: BaseException, task: trio.lowlevel.Task | None) -> bool:
    """Return whether an exception must be raised on to the top of the task in which it came up.

    That holds for a Cancelled while the task is cancelled, and for any exception in a coroutine
    that is being closed from outside the task. If code raises a GeneratorExit itself, or a
    Cancelled that it caught elsewhere, that is a failure like any other.
    """
    if not in_task(task):
        return True
    cancelled = trio.current_effective_deadline() == -math.inf
    return cancelled and _within(error, trio.Cancelled) is not None


def end_of_all(error: BaseException) -> BaseException | None:
    """Return the KeyboardInterrupt or SystemExit that this exception is or holds, if any."""
    return _within(error, KeyboardInterrupt, SystemExit)


def _within(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        found = (_within(each, *kinds) for each in error.exceptions)
        return next((each for each in found if each is not None), None)
    return error if isinstance(error, kinds) else None


def presentable(error: BaseException) -> Exception:
    """Return the exception to show to others: the same, or a HandlerPanic with it as the cause."""
    if isinstance(error, Exception):
        return error
    panic = HandlerPanic(f"{type(error).__name__}: {shown(error, str)}")
    panic.__cause__ = error
    return panic
