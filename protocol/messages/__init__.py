"""Every message of the wire, one module per area, and the one table from op name to type."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, Final, TypeAlias

import msgspec

from protocol.messages import match, room, session
from protocol.messages.envelope import ErrorReply, Ok, Push, Request
from protocol.messages.op import Op, name_of

_AREAS = (session, room, match)

OPS: Final[dict[str, Op]] = {op.name: op for area in _AREAS for op in area.OPS}
"""Every op, by its name on the wire. All that follows is made from it."""

REQUESTS: Final[dict[str, type[Request]]] = {name: op.request for name, op in OPS.items()}
"""What a client may send: op -> type."""

ANSWERS: Final[dict[str, type[msgspec.Struct] | None]] = {n: op.answer for n, op in OPS.items()}
"""What `ok` carries as `data`: op of the request -> type."""

COSTS: Final[dict[type[Request], int]] = {op.request: op.cost for op in OPS.values()}
"""What a request counts towards its session's rate."""

SHEDDABLE: Final = frozenset(op.request for op in OPS.values() if op.sheddable)
"""What a node refuses that has too much to do."""

OWN_VALUES: Final = {op.request: own for op in OPS.values() if (own := op.own_values())}
"""Fields that are a game's own, of the requests that have any."""

PUSHES: Final[dict[str, type[Push]]] = {
    name_of(push): push for area in _AREAS for push in area.PUSHES
}
"""What the server may send on its own account: op -> type."""

AnyRequest: TypeAlias = Request
"""One of `REQUESTS`."""
AnyServerMessage: TypeAlias = Ok | ErrorReply | Push
"""A reply, or one of `PUSHES`."""

REQUEST_UNION: Final[Any] = reduce(or_, REQUESTS.values())
"""The tagged union that a server decodes."""
SERVER_UNION: Final[Any] = reduce(or_, (Ok, ErrorReply, *PUSHES.values()))
"""And the one that a client does."""
