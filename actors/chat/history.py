"""Readers of the event log: they read a room's older messages while the room goes on.

A room that awaited the store would keep its mailbox waiting. It asks a reader instead, and returns
the future. The readers also bound the share of the store's time that history can take: `READERS`
reads at once on a node, 256 waiting for each reader, and `MailboxFull` beyond that, which clients
see as `busy`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
import trio

from actors.edge.failures import Refused
from actors.runtime.actor import Actor
from actors.runtime.child import ChildSpec
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.stores import EventRow, EventStore
from actors.runtime.system_view import SystemView
from protocol.errors import UNAVAILABLE

KIND = "history"
"""The readers are `history/0` and so on; a supervisor starts them."""
READERS = 4
"""Reads at once. The store answers one in about a millisecond, which makes some thousands a second.
"""


class ReadPostsBefore(msgspec.Struct, frozen=True, gc=False):
    """The last `limit` events of an actor with a seq below `before`, ascending."""

    kind: str
    key: str
    before: int
    limit: int


class HistoryReader(Actor):
    """Reads the event log, one request after the other.

    Arguments:
        events: the store.
        timeout_s: how long one read may take, in seconds.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=256)

    def __init__(self, events: EventStore, timeout_s: float = 4.0) -> None:
        super().__init__()
        self._events = events
        self._timeout_s = timeout_s

    @handles(ReadPostsBefore)
    async def read(self, message: ReadPostsBefore) -> Sequence[EventRow]:
        """Return the rows, oldest first.

        Raises:
            Refused: UNAVAILABLE, if the store does not answer.
        """
        try:
            with trio.fail_after(self._timeout_s):
                return await self._events.read_before(
                    message.kind, message.key, before=message.before, limit=message.limit
                )
        except Exception as error:  # every error of a store means that it is away
            self.log.warning(
                "history not read", of=f"{message.kind}/{message.key}", error=repr(error)
            )
            raise Refused(UNAVAILABLE, "older messages cannot be read now") from error


def reader_specs(events: EventStore) -> list[ChildSpec]:
    """Return the specs by which a supervisor starts the readers."""
    return [
        ChildSpec(id=str(number), factory=partial(HistoryReader, events))
        for number in range(READERS)
    ]


def read_before(system: SystemView, message: ReadPostsBefore) -> Future[Any]:
    """Ask the reader that serves this actor; returns a future of the rows, oldest first."""
    reader = zlib.crc32(message.key.encode()) % READERS
    return system.ref(KIND, str(reader)).ask(message)
