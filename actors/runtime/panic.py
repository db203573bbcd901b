"""Exceptions that are no `Exception`: which of them may end more than the actor they came from.

A handler may raise a KeyboardInterrupt or a SystemExit, to end the system: its actors are stopped
in order, and the exception comes out of `async with`. Cancelled ends the task that it was meant
for. Everything else, such as the PanicException of an extension written in Rust, is the failure of
one actor and no more. A thread of a ThreadingActor is like any other thread: no exception in it
ends more than the actor.
"""

from __future__ import annotations

import trio


class HandlerPanic(Exception):  # noqa: N818 -- Rust's word for it
    """What an asker gets in place of an exception that is no `Exception`, which is its cause.

    A program that catches `Exception` must be safe from what others' actors raise.
    """


def ends_task(error: BaseException) -> bool:
    """Whether it must go on up through the task that it was raised in."""
    return _within(error, trio.Cancelled, GeneratorExit) is not None


def end_of_all(error: BaseException) -> BaseException | None:
    """The exception that asks for the end of the system, if that is what this is, or holds."""
    return _within(error, KeyboardInterrupt, SystemExit)


def _within(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, (_within(each, *kinds) for each in error.exceptions)), None)
    return error if isinstance(error, kinds) else None


def presentable(error: BaseException) -> Exception:
    """The exception to show to others: itself, or a HandlerPanic that it caused."""
    if isinstance(error, Exception):
        return error
    panic = HandlerPanic(f"{type(error).__name__}: {error}")
    panic.__cause__ = error
    return panic
