"""`Op`: one thing that a client can ask for, declared once.

An area of `protocol.messages` lists its ops. Everything else that depends on them is made from that
list: which requests the decoder takes, the types of answers, which requests a client may send
again, which are shed under overload, what a request costs, the tables of PROTOCOL.md, and the
fuzzers' messages.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.errors import ErrorCode
from protocol.messages.envelope import Push, Request

OnRepeat = Literal["harmless", "by key", "acts again"]
"""What happens if the same request comes twice.

`harmless`: the second has no further effect. `by key`: it has none if both have the same
idempotency `key`. `acts again`: it acts a second time.
"""


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """One op.

    Attributes:
        request: the type of the request.
        answer: the type of the answer; None: the answer has no data.
        errors: the errors of this op. PROTOCOL.md names those that any request may get.
        repeat: what happens if the same request comes twice.
        sheddable: whether an overloaded node refuses it. Joins, leaves, resumes and pings are never
            refused: a client sends few of them, and would come back with more if it were refused.
        cost: what a request counts towards its session's rate, in proportion to what it costs the
            server. A plain request counts 1. Pushes to others that it causes are counted
            separately.
        cost_each: the field whose items count 1 each in addition to `cost`; empty if there is none.
        role: the role that whoever asks must have, see `protocol.roles`. Others get `forbidden`.
            None: nobody may ask.
        live: whether it needs a session, because it changes or answers what only a connection has.
            Over HTTP it is answered `needs_session`.
    """

    request: type[Request]
    answer: type[msgspec.Struct] | None = None
    errors: tuple[ErrorCode, ...] = ()
    repeat: OnRepeat = "acts again"
    sheddable: bool = False
    cost: int = 1
    cost_each: str = ""
    role: str | None = None
    live: bool = False

    @property
    def name(self) -> str:
        """The name of the op on the wire."""
        return op_of(self.request)

    def may_repeat(self, request: Request) -> bool:
        """Return whether a client may send the request again if it got no answer to it."""
        if self.repeat == "by key":
            return getattr(request, "key", None) is not None
        return self.repeat == "harmless"

    def cost_of(self, request: Request) -> int:
        """Return what this request counts towards its session's rate."""
        return self.cost + (len(getattr(request, self.cost_each)) if self.cost_each else 0)

    def own_values(self) -> tuple[str, ...]:
        """Return the fields that hold a game's own values, which may be of any type."""
        return tuple(field.name for field in fields_of(self.request) if _is_own(field.type))


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """The ops and pushes that one module of `protocol.messages` declares."""

    ops: tuple[Op, ...]
    pushes: tuple[type[Push], ...] = ()


def fields_of(message: type[msgspec.Struct]) -> tuple[msgspec.inspect.Field, ...]:
    """Return the fields of a message, with their types and limits."""
    info = msgspec.inspect.type_info(message)
    assert isinstance(info, msgspec.inspect.StructType)
    return info.fields


def op_of(message: type[msgspec.Struct] | msgspec.Struct) -> str:
    """Return the op of a request or a push."""
    return str(message.__struct_config__.tag)


def _is_own(kind: Any) -> bool:
    if isinstance(kind, msgspec.inspect.DictType):
        return _is_own(kind.value_type)
    return isinstance(kind, msgspec.inspect.AnyType)
