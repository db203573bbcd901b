"""All messages of the wire, with a module for each area, and the table of all ops."""

from __future__ import annotations

from typing import Final, TypeAlias

from protocol.messages import account, audit, friend, inbox, match, room, session, storage
from protocol.messages.envelope import ErrorReply, Ok, Push, Request
from protocol.messages.op_table import OpTable

EVERY_OP: Final = OpTable(
    (
        session.AREA,
        account.AREA,
        room.AREA,
        match.AREA,
        inbox.AREA,
        friend.AREA,
        storage.AREA,
        audit.AREA,
    )
)
"""All ops.

Clients, pages and fuzzers use this table; a server uses one with the ops of its services.
"""

AnyRequest: TypeAlias = Request
"""One of `OpTable.requests`."""
AnyServerMessage: TypeAlias = Ok | ErrorReply | Push
"""A reply, or one of `OpTable.pushes`."""
