"""The context variables that actors see: each actor its own, none the caller's."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TypeVar

T = TypeVar("T")


def enterable(context: Context) -> Context:
    """Return the context, or a copy if somebody up the stack is in it: none is entered twice."""
    try:
        context.run(_nothing)
    except RuntimeError:
        return context.copy()
    return context


def _nothing() -> None:
    pass


class Contexts:
    """Makes contexts that are as the system found them when it was opened.

    Most actors never set a variable, so they all run in `shared`, and only one that did is given
    a context of its own: the one it has just changed, while the others go on in a new one. To look
    is one comparison of two pointers in C, 11 ns, after each slice and not after each message.

    The decimal context is left out: it is an object that is changed in place, so a copy would not
    keep actors apart. Whoever uses it gets one from decimal.DefaultContext, as a new thread does.
    """

    __slots__ = ("_spare", "pristine", "shared")

    def __init__(self) -> None:
        self.pristine = Context()
        self.shared = Context()
        self._spare: Context | None = None

    def open(self) -> None:
        """Take the caller's variables as those that every actor begins with."""
        self.pristine = Context()
        for variable, value in copy_context().items():
            if not isinstance(value, decimal.Context):
                self.pristine.run(variable.set, value)
        self.shared = self.fresh()
        self._spare = None

    def fresh(self) -> Context:
        """Return one that nobody has changed."""
        return self.pristine.copy()

    def changed(self, context: Context) -> bool:
        """Whether a variable was set in it."""
        try:
            return context != self.pristine
        except BaseException:  # two values that will not be compared are two values
            return True

    def call(self, function: Callable[[], T]) -> tuple[T, Context | None]:
        """Call a function that is to see what a new actor sees.

        Returns what it returns, and the context if it changed that.
        """
        context, self._spare = self._spare or self.fresh(), None
        result = context.run(function)
        if self.changed(context):
            return result, context
        self._spare = context
        return result, None

    def take_shared(self) -> Context:
        """Give away the shared one, which somebody changed."""
        taken, self.shared = self.shared, self.fresh()
        return taken
