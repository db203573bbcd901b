"""What an op is: one thing that a client can ask for, declared once.

An area of `protocol.messages` lists its ops. Everything else that must know them is made from that
list: what the decoder takes, what an answer is decoded as, which requests a client may send again,
what is shed first and what a request costs, the tables of PROTOCOL.md, and what the fuzzers send.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.errors import ErrorCode
from protocol.messages.envelope import Push, Request

Repeat = Literal["harmless", "by key", "acts again"]
"""What the same request does when it comes again: nothing that the first did not; nothing, if it
has the idempotency `key` of the first; or it acts again."""


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """One op. `errors` are those of its own; PROTOCOL.md names those that any request may get.

    `sheddable`: a node that has too much to do refuses it. Coming, going, resuming and pings are
    always taken up: they are few a client, and to refuse them would have clients come back with
    more.

    `role`: which role a user must have who asks it; None: anyone may. Others get `forbidden`.

    `cost`: what it counts towards its session's rate, about what it costs the server; a plain
    request is 1. What it has pushed to others is counted apart, by how many they are.

    `cost_each`: the field whose items count 1 each, on top of `cost`; empty: there is none.
    """

    request: type[Request]
    answer: type[msgspec.Struct] | None = None
    errors: tuple[ErrorCode, ...] = ()
    repeat: Repeat = "acts again"
    sheddable: bool = False
    cost: int = 1
    cost_each: str = ""
    role: str | None = None

    @property
    def name(self) -> str:
        """What it is called on the wire."""
        return name_of(self.request)

    def may_repeat(self, request: Request) -> bool:
        """Whether a client that does not know if it has acted may send it again."""
        if self.repeat == "by key":
            return getattr(request, "key", None) is not None
        return self.repeat == "harmless"

    def cost_of(self, request: Request) -> int:
        """What this request counts."""
        return self.cost + (len(getattr(request, self.cost_each)) if self.cost_each else 0)

    def own_values(self) -> tuple[str, ...]:
        """Its fields that are a game's own: any value, in them or as them."""
        return tuple(field.name for field in fields_of(self.request) if _is_own(field.type))


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """What a module of `protocol.messages` declares: its ops, and what the server pushes."""

    ops: tuple[Op, ...]
    pushes: tuple[type[Push], ...] = ()


def fields_of(message: type[msgspec.Struct]) -> tuple[msgspec.inspect.Field, ...]:
    """The fields of a message, with their types and limits."""
    info = msgspec.inspect.type_info(message)
    assert isinstance(info, msgspec.inspect.StructType)
    return info.fields


def name_of(message: type[msgspec.Struct] | msgspec.Struct) -> str:
    """The op of a request or a push."""
    return str(message.__struct_config__.tag)


def _is_own(kind: Any) -> bool:
    if isinstance(kind, msgspec.inspect.DictType):
        return _is_own(kind.value_type)
    return isinstance(kind, msgspec.inspect.AnyType)
