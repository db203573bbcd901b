"""Exceptions that are no `Exception`: which of them may end more than the actor they came from.

A handler may raise a KeyboardInterrupt or a SystemExit, to end the system: its actors are stopped
in order, and the exception comes out of `async with`. Cancelled ends the task that it was meant
for. Everything else, such as the PanicException of an extension written in Rust, is the failure of
one actor and no more. A thread of a ThreadingActor is like any other thread: no exception in it
ends more than the actor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio


def shown(value: object, how: Callable[[object], str] = repr) -> str:
    """The `repr`, or `str`, of something that is not ours: there is one, whatever that raises."""
    try:
        return how(value)
    except BaseException as error:
        return f"<{type(value).__name__}, whose {how.__name__}() raises {type(error).__name__}>"


class HandlerPanic(Exception):  # noqa: N818 -- Rust's word for it
    """What an asker gets in place of an exception that is no `Exception`, which is its cause.

    A program that catches `Exception` must be safe from what others' actors raise.
    """


def in_task(task: trio.lowlevel.Task | None) -> bool:
    """Whether the caller is in this task."""
    try:
        return trio.lowlevel.current_task() is task
    except RuntimeError:  # between tasks, in what a thread had called, or the loop has ended
        return False


def ends_task(error: BaseException, task: trio.lowlevel.Task | None) -> bool:
    """Whether it must go on up through the task in whose code it came up.

    That is a Cancelled if the task is cancelled, and whatever comes up in a coroutine that is
    closed from without. Code that raises a GeneratorExit, or a Cancelled that it once caught
    elsewhere, fails by it as by any other exception.
    """
    if not in_task(task):
        return True
    cancelled = trio.current_effective_deadline() == -math.inf
    return cancelled and _within(error, trio.Cancelled) is not None


def end_of_all(error: BaseException) -> BaseException | None:
    """The exception that asks for the end of the system, if that is what this is, or holds."""
    return _within(error, KeyboardInterrupt, SystemExit)


def _within(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        found = (_within(each, *kinds) for each in error.exceptions)
        return next((each for each in found if each is not None), None)
    return error if isinstance(error, kinds) else None


def presentable(error: BaseException) -> Exception:
    """The exception to show to others: itself, or a HandlerPanic that it caused."""
    if isinstance(error, Exception):
        return error
    panic = HandlerPanic(f"{type(error).__name__}: {shown(error, str)}")
    panic.__cause__ = error
    return panic
