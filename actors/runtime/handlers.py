"""The table of an actor class that says which method handles which type of message."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .proxied import PROXIED

F = TypeVar("F", bound=Callable[..., Any])
HandlerFunction = Callable[[Any, Any], Any]

_MARK = "__handles__"
_LOCAL = "__handles_local__"


def handles(*message_types: type, local: bool = False) -> Callable[[F], F]:
    """Mark a method, `def` or `async def`, as the handler of these message types and their
    subclasses.

    If several handlers fit a message, the one for the nearest class in the method resolution order
    of the message's type gets it. Messages that no handler fits go to `on_receive`. A subclass that
    overrides the method need not repeat the mark.

    `local=True` says that these messages come from this node only, most often from the actor
    itself. They need not be able to cross to another node.

    Raises TypeError if an argument is no class.
    """
    if not message_types or not all(isinstance(each, type) for each in message_types):
        raise TypeError("handles() takes message types: @handles(Greet)")

    def mark(method: F) -> F:
        setattr(method, _MARK, message_types)
        setattr(method, _LOCAL, local)
        return method

    return mark


def _check_answers(cls: type, name: str, method: Any) -> None:
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise TypeError(
            f"{cls.__name__}.{name} is a generator: it would give its asker code that runs outside"
            " of the actor, and do nothing for a message that was told"
        )


def marked_method(cls: type) -> str | None:
    """Return the name of a marked method of the class, own or inherited; None if there is none."""
    methods = ((name, what) for base in cls.__mro__ for name, what in vars(base).items())
    return next((name for name, what in methods if hasattr(what, _MARK)), None)


class HandlerTable(dict[type, HandlerFunction]):
    """Maps a message type to its handler. An entry is made at the first look-up of its type.

    It is a dict with `__missing__`, so the look-up of a type that was seen before costs no call.
    `crossing` has the handlers of the messages that can come from another node.
    """

    __slots__ = ("_declared", "_fallback", "crossing")

    def __init__(self, cls: type) -> None:
        super().__init__()
        self._fallback: HandlerFunction = cls.on_receive  # type: ignore[attr-defined]  # an Actor has it
        self._declared: dict[type, HandlerFunction] = dict(PROXIED)
        owners: dict[type, str] = {}
        at_home: set[type] = set()
        for base in reversed(cls.__mro__):
            here: dict[type, str] = {}
            for name, method in vars(base).items():
                types = getattr(method, _MARK, ())
                if types or name == "on_receive":
                    _check_answers(base, name, method)
                for message_type in types:
                    if message_type in here:
                        raise TypeError(
                            f"{base.__name__}: {here[message_type]} and {name} both handle "
                            f"{message_type.__name__}"
                        )
                    here[message_type] = name
                    if getattr(method, _LOCAL):
                        at_home.add(message_type)
                    else:
                        at_home.discard(message_type)
            owners |= here
        for message_type, name in owners.items():
            self._declared[message_type] = getattr(cls, name)
        self.crossing = {
            message_type: getattr(cls, name)
            for message_type, name in owners.items()
            if message_type not in at_home
        }

    def __missing__(self, message_type: type) -> HandlerFunction:
        for base in message_type.__mro__:
            if base in self._declared:
                handler = self._declared[base]
                break
        else:
            handler = self._fallback
        self[message_type] = handler
        return handler
