"""The thread that reads this node's stream."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

import pykka
import structlog
from redis.exceptions import RedisError

from persistence.peek import is_to_stop
from persistence.reconnect import Reconnect
from persistence.redis.bus.intake import Intake
from persistence.redis.commands import Command
from persistence.redis.connection import one_line
from persistence.redis.lines import open_line
from persistence.settings import BusSettings, RedisSettings

_log = structlog.get_logger("persistence.bus")

_PAUSE_S: Final = 0.02


class Read(NamedTuple):
    """To the reader: read a page, and go on."""


READ: Final = Read()


class BusReader(pykka.ThreadingActor):
    """Reads the entries of this node's stream, page by page, and deletes what it has read.

    So the length of the stream is what the node has yet to read, and its senders see it. What is
    read and then lost with this process is lost with it in any case: nobody else reads the stream.

    Arguments:
        settings: where the store is.
        bus: the bounds.
        me: the id of this node.
        intake: where the entries go.
    """

    use_daemon_thread = True

    def __init__(self, settings: RedisSettings, bus: BusSettings, me: str, intake: Intake) -> None:
        super().__init__()
        self._bus = bus
        self._key = f"{settings.prefix}bus:{me}"
        self._intake = intake
        self._connection = open_line(settings)
        self._reconnect = Reconnect(settings.first_retry_s, settings.max_retry_s)
        self._untrimmed = 0
        self._busy = True

    def on_start(self) -> None:
        self.actor_ref.tell(READ)

    def on_stop(self) -> None:
        """Delete the stream: the node's id will not come again."""
        with suppress(RedisError, OSError):  # then the others do it
            self._connection.execute(("DEL", self._key))
        self._connection.close()

    def on_failure(self, *_: Any) -> None:
        self._connection.close()

    def on_receive(self, message: Any) -> Any:
        """Read until another message comes."""
        if message is not READ:
            return super().on_receive(message)
        while self.actor_inbox.empty():
            if self._intake.room.acquire(timeout=self._bus.block_s):
                self._page()
        if not is_to_stop(self.actor_inbox):
            self.actor_ref.tell(READ)
        return None

    def _page(self) -> None:
        """Read a page and hand it over, which takes a place in the intake."""
        try:
            entries = self._read()
        except (RedisError, OSError) as error:
            entries = None
            self._away(one_line(error))
        if entries:
            self._intake.deliver([fields[1] for _, fields in entries])
        else:
            self._intake.done()

    def _read(self) -> Any:
        intake, bus = self._intake, self._bus
        if intake.rewind:
            intake.rewind = False
            intake.last = b"0-0"
        commands: list[Command] = []
        if self._untrimmed > (bus.stream_entries // 16 if self._busy else 0):
            # All up to the last one that was read. Not with each page: it costs as much as a read.
            head, _, tail = intake.last.partition(b"-")
            commands.append(("XTRIM", self._key, "MINID", b"%b-%d" % (head, int(tail) + 1)))
            self._untrimmed = 0
        count, block_ms = bus.page_entries, max(1, int(bus.block_s * 1000))
        read: Command = ("XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", self._key)
        commands.append((*read, intake.last))
        reply = self._connection.execute(*commands)[-1]
        if isinstance(reply, Exception):
            raise reply
        self._reconnect.succeeded()
        self._busy = bool(reply)
        if not reply:
            return None
        entries = reply[0][1]
        intake.last = entries[-1][0]
        self._untrimmed += len(entries)
        return entries

    def _away(self, reason: str) -> None:
        if not self._reconnect.reason:
            _log.warning("bus_cannot_read", reason=reason)
        self._reconnect.failed(reason)
        while self._reconnect.waiting and self.actor_inbox.empty():
            time.sleep(_PAUSE_S)
