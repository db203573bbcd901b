"""The context variables of actors. Each actor has its own, separate from those of its callers."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TypeVar

T = TypeVar("T")


def enterable(context: Context) -> Context:
    """Return the context, or a copy if it is entered already: Python allows that only once."""
    try:
        context.run(_nothing)
    except RuntimeError:
        return context.copy()
    return context


def _nothing() -> None:
    pass


class Contexts:
    """Makes contexts with the variables that were set when the system was opened.

    Most actors never set a variable, so they all run in one context, `shared`. An actor that sets
    one keeps that context as its own, and the others go on in a new one. Whether a variable was set
    is checked after each slice, not after each message; the check compares two pointers in C and
    costs 11 ns.

    The decimal context is left out. It is an object that is changed in place, so copies of a
    context would share it. An actor that uses it gets one from decimal.DefaultContext, as a new
    thread does.
    """

    __slots__ = ("_spare", "pristine", "shared")

    def __init__(self) -> None:
        self.pristine = Context()
        self.shared = Context()
        self._spare: Context | None = None

    def open(self) -> None:
        """Make the caller's present variables those that every actor begins with."""
        self.pristine = Context()
        for variable, value in copy_context().items():
            if not isinstance(value, decimal.Context):
                self.pristine.run(variable.set, value)
        self.shared = self.fresh()
        self._spare = None

    def fresh(self) -> Context:
        """Return a new context in which nothing has been changed."""
        return self.pristine.copy()

    def changed(self, context: Context) -> bool:
        """Return whether a variable was set in this context."""
        try:
            return context != self.pristine
        except BaseException:  # two values whose comparison raises are not the same value
            return True

    def call(self, function: Callable[[], T]) -> tuple[T, Context | None]:
        """Call a function with the context variables of a new actor.

        Returns the function's result, and the context if the function changed it.
        """
        context, self._spare = self._spare or self.fresh(), None
        result = context.run(function)
        if self.changed(context):
            return result, context
        self._spare = context
        return result, None

    def take_shared(self) -> Context:
        """Give the shared context to the actor that changed it, and make a new shared one."""
        taken, self.shared = self.shared, self.fresh()
        return taken
