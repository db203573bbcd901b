"""Every message of the wire, one module an area, and the table of all ops that there are."""

from __future__ import annotations

from typing import Final, TypeAlias

from protocol.messages import inbox, match, room, session, storage
from protocol.messages.envelope import ErrorReply, Ok, Push, Request
from protocol.messages.op_table import OpTable

EVERY_OP: Final = OpTable((session.AREA, room.AREA, match.AREA, inbox.AREA, storage.AREA))
"""What clients speak, pages describe and fuzzers send. A server has those of its services."""

AnyRequest: TypeAlias = Request
"""One of `OpTable.requests`."""
AnyServerMessage: TypeAlias = Ok | ErrorReply | Push
"""A reply, or one of `OpTable.pushes`."""
