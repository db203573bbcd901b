"""Answers the messages of Pykka's proxies: call a method, get or set an attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Final

from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr


def _found(actor: Any, path: Sequence[str]) -> Any:
    return reduce(getattr, path, actor)


def _call(actor: Any, message: ProxyCall) -> Any:
    return _found(actor, message.attr_path)(*message.args, **message.kwargs)


def _get(actor: Any, message: ProxyGetAttr) -> Any:
    return _found(actor, message.attr_path)


def _set(actor: Any, message: ProxySetAttr) -> None:
    *parents, name = message.attr_path
    setattr(_found(actor, parents), name, message.value)


PROXIED: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ProxyCall: _call,
    ProxyGetAttr: _get,
    ProxySetAttr: _set,
}
"""The function that answers each type of message."""
