"""The thread that puts what waits for other nodes into their streams."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import pykka
import structlog
from redis.exceptions import RedisError

from persistence.peek import is_to_stop
from persistence.reconnect import Reconnect
from persistence.redis.bus.lane import Lane
from persistence.redis.commands import Command
from persistence.redis.connection import one_line
from persistence.redis.lines import open_line
from persistence.settings import BusSettings, RedisSettings

_log = structlog.get_logger("persistence.bus")

_PAUSE_S: Final = 0.005
"""Between two looks at a stream that is full. Short, for other nodes' messages wait meanwhile."""
_LAST_S: Final = 1.0
"""How long it tries at its end to send what waits."""
_LOOK_EVERY: Final = 16
"""The length of a stream is asked for with each so-manieth entry: it costs a fifth of an entry."""


class Ship(NamedTuple):
    """To the sender: something waits in this lane, or it was closed."""

    lane: Lane


class BusSender(pykka.ThreadingActor):
    """Puts what waits for each node into one entry of that node's stream.

    All nodes' entries leave in one round trip, one entry each. An entry that may or may not have
    arrived is sent again under its number, and the receiver drops the second one. So the order is
    kept over reconnects, and nothing arrives twice.

    Arguments:
        settings: where the store is.
        bus: the bounds.
        me: the id of this node.
    """

    use_daemon_thread = True

    def __init__(self, settings: RedisSettings, bus: BusSettings, me: str) -> None:
        super().__init__()
        self._bus = bus
        self._me = me
        self._prefix = settings.prefix
        self._connection = open_line(settings)
        self._reconnect = Reconnect(settings.first_retry_s, settings.max_retry_s)
        self._lanes: dict[Lane, None] = {}  # that have work
        self._known: dict[Lane, None] = {}  # that may have: it has not been told yet

    def on_stop(self) -> None:
        """Send what still waits, if the store and the receivers take it soon."""
        self._lanes |= self._known
        until = time.monotonic() + _LAST_S
        while self._lanes and not self._reconnect.waiting and time.monotonic() < until:
            self._round()
        self._connection.close()

    def on_failure(self, *_: Any) -> None:
        self._connection.close()

    def on_receive(self, message: Any) -> Any:
        """Send what waits, until nothing does or another message has come."""
        if not isinstance(message, Ship):
            return super().on_receive(message)
        self._take(message)
        inbox: Any = self.actor_inbox
        while self._lanes:
            self._round()
            if not inbox.empty():
                break
        else:
            return None
        self._take_others(inbox)
        if self._lanes and not is_to_stop(inbox):  # which sends the rest
            self.actor_ref.tell(Ship(next(iter(self._lanes))))
        return None

    def _take(self, message: Ship) -> None:
        message.lane.called = False  # before the look at what waits: see `Lane.called`
        message.lane.more = True  # behind an entry that is sent again, if there is one
        self._lanes[message.lane] = self._known[message.lane] = None

    def _take_others(self, inbox: Any) -> None:
        while True:
            try:
                envelope = inbox.get_nowait()
            except queue.Empty:
                return
            if not isinstance(envelope.message, Ship):
                inbox.put(envelope)
                return
            self._take(envelope.message)

    def _round(self) -> None:
        """One round trip, with at most one entry for each node.

        Two of one node could fail and arrive in turn, and then the first would be lost.
        """
        steps = [(lane, *step) for lane in list(self._lanes) for step in self._steps(lane)]
        if not steps:
            return
        try:
            replies = self._connection.execute(*(command for _, command, _ in steps))
        except (RedisError, OSError) as error:
            self._away(one_line(error))
            return
        self._reconnect.succeeded()
        failed = ""
        for (lane, _, then), reply in zip(steps, replies, strict=True):
            if isinstance(reply, Exception):
                failed = one_line(reply)
            else:
                then(lane, reply)
        if failed:  # out of memory, loading, a replica by now: all of it once more, later
            self._away(failed)
        elif self._lanes and all(lane.congested for lane in self._lanes):
            time.sleep(_PAUSE_S)

    def _steps(self, lane: Lane) -> Iterator[tuple[Command, Callable[[Lane, Any], None]]]:
        """What is to be asked for a lane now, and what to do with the replies."""
        key = self._key(lane)
        if lane.closed:
            lane.clear()
            yield ("DEL", key), self._deleted
        elif not lane.has_work():
            del self._lanes[lane]
        elif lane.congested:
            yield ("XLEN", key), self._measured
        else:
            yield self._add(lane, lane.next_entry()), self._added
            if lane.number % _LOOK_EVERY == 0:
                yield ("XLEN", key), self._measured

    def _add(self, lane: Lane, entry: bytes) -> Command:
        key = self._key(lane)
        if lane.node == self._me:
            return ("XADD", key, "*", "", entry)
        # The receiver makes its stream, so that one of the dead does not come back.
        return ("XADD", key, "NOMKSTREAM", "*", "", entry)

    def _added(self, lane: Lane, place: bytes | None) -> None:
        if place is None:
            lane.congested = True  # not yet there, or not any more: ask again
        else:
            lane.arrived()
            if not lane.more:  # what has come since is told of in its time: it may gather others
                del self._lanes[lane]

    def _measured(self, lane: Lane, length: int) -> None:
        # Zero may be a stream that is not there; the next entry tells.
        lane.congested = length >= self._bus.stream_entries

    def _deleted(self, lane: Lane, _count: int) -> None:
        self._lanes.pop(lane, None)
        self._known.pop(lane, None)

    def _key(self, lane: Lane) -> str:
        return f"{self._prefix}bus:{lane.node}"

    def _away(self, reason: str) -> None:
        if not self._reconnect.reason:
            _log.warning("bus_cannot_send", reason=reason)
        self._reconnect.failed(reason)
        while (
            self._reconnect.waiting and self.actor_inbox.empty() and not self.actor_stopped.is_set()
        ):
            time.sleep(_PAUSE_S)
