"""The bus, as a node's event loop sees it: entries out and in, in order, each at most once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import pykka
import structlog
import trio

from actors.cluster.items import AnyItem, Canary, EntriesLost, decode_entry, encode_item
from actors.runtime.child import ChildSpec
from actors.runtime.errors import MailboxFull
from actors.runtime.ref import ActorRef
from actors.runtime.restart import Backoff
from actors.runtime.system_view import SystemView
from persistence.redis.bus import BusReader, BusSender, Intake, Lane, Ship
from persistence.settings import BusSettings, RedisSettings

_log = structlog.get_logger("actors.cluster")

_AT_ONCE: Final = 500
"""How many arrived items are delivered in one turn. The actors handle them at its end. A mailbox
holds 1,024 by default."""
_BEHIND: Final = 50
"""How many in one turn while actors have yet to handle what was delivered before."""


class BusReadings(NamedTuple):
    """Counts of a node's bus, for metrics.

    Attributes:
        sent: entries that are in other nodes' streams.
        received: entries.
        duplicates: entries that had arrived before. A sender that does not know whether an entry
            arrived sends it again.
        gaps: how often entries of a sender were missing.
        unknown: items that only a newer version knows.
        waiting_bytes: what waits in this process for other nodes.
        hop_s: how long the last canary took from this node through the store to this node.
    """

    sent: int
    received: int
    duplicates: int
    gaps: int
    unknown: int
    waiting_bytes: int
    hop_s: float


class Bus:
    """Lanes to other nodes, and what arrives from them.

    Arguments:
        settings: where the store is.
        bounds: the bounds of lanes, entries and streams.
        buried: says whether a node is dead. Entries of dead nodes are ignored.
        current: says whether this node is still a member. It is asked before items are handled.
        handlers: the type of an item -> the function that is called with the sender and the item.
        lost: called with the id of a node when entries from it, or entries to it, were lost.

    Attributes:
        bounds: as given.
        intake: what the thread that reads the node's stream and the event loop share.
    """

    def __init__(
        self,
        settings: RedisSettings,
        bounds: BusSettings,
        *,
        buried: Callable[[str], bool],
        current: Callable[[], bool],
        handlers: Mapping[type, Callable[[str, Any], None]],
        lost: Callable[[str], None],
    ) -> None:
        self.bounds = bounds
        self._settings = settings
        self._buried = buried
        self._current = current
        self._handlers = handlers
        self._lost = lost
        self._lanes: dict[str, Lane] = {}
        self.intake = Intake(self._deliver)
        self._heard: dict[str, int] = {}  # the number of the last entry of each sender
        self._pages: deque[deque[bytes]] = deque()
        self._from = ""  # the sender of the entry that is being delivered
        self._items: Sequence[AnyItem] = ()
        self._at = 0  # the index of the next one
        self._working = False
        self._received = self._duplicates = self._gaps = self._unknown = self._sent = 0
        self._canary_s = 0.0  # when the newest canary that came back was sent
        self._hop_s = 0.0
        self._me: str
        self._system: SystemView
        self._sender: ActorRef

    # --- life ------------------------------------------------------------------------------------

    async def open(self, system: SystemView, me: str) -> None:
        """Start the threads; return once a message has gone from this node to itself.

        Raises trio.TooSlowError if none does within the time-out of the store's settings.
        """
        self._system = system
        self._me = me
        again = Backoff(first_s=0.1, max_s=2.0)
        ref = system.supervise(
            [
                ChildSpec("bus_sender", self._make_sender, backoff=again),
                ChildSpec("bus_reader", self._make_reader, backoff=again),
            ],
            key="bus",
        )
        await ref.started()
        self._sender = system.ref("bus", "bus_sender")
        with trio.fail_after(self._settings.timeout_s):
            while not self._canary_s:
                self.beat()
                await trio.sleep(0.01)

    def _make_sender(self) -> BusSender:
        return BusSender(self._settings, self.bounds, self._me)

    def _make_reader(self) -> BusReader:
        return BusReader(self._settings, self.bounds, self._me, self.intake)

    def beat(self) -> None:
        """Send a canary to this node itself; warn if none has come back for too long."""
        now = self._system.now()
        if self._canary_s and now - self._canary_s > self.bounds.canary_late_s:
            _log.warning("canary_late", s=round(now - self._canary_s, 1))
            self.intake.rewind = True
        self.send(self.lane(self._me), Canary(now))

    def healthy(self) -> bool:
        """Whether messages come through, which the canaries show."""
        return self._system.now() - self._canary_s <= self.bounds.canary_late_s

    def readings(self) -> BusReadings:
        """Counts for metrics."""
        lanes = self._lanes.values()
        return BusReadings(
            sent=self._sent + sum(lane.entries for lane in lanes),
            received=self._received,
            duplicates=self._duplicates,
            gaps=self._gaps,
            unknown=self._unknown,
            waiting_bytes=sum(lane.waiting_bytes for lane in lanes),
            hop_s=self._hop_s,
        )

    # --- out -------------------------------------------------------------------------------------

    def lane(self, node: str) -> Lane:
        """The lane to a node."""
        lane = self._lanes.get(node)
        if lane is None:
            lane = self._lanes[node] = Lane(self._me, node, self.bounds)
        return lane

    def send(self, lane: Lane, item: AnyItem) -> None:
        """Send an item to a node, past any bound."""
        lane.enqueue(encode_item(item))
        if not lane.called:
            self._call(lane)

    def send_encoded(self, lane: Lane, item: bytes, *, patient: bool = False) -> None:
        """Send an item that is already encoded.

        One that is patient waits for others if something has left for the node just now.
        """
        lane.enqueue(item)
        if not (lane.called or (patient and self._gathers(lane))):
            self._call(lane)

    def _gathers(self, lane: Lane) -> bool:
        """Whether what waits in a lane may wait on; it leaves with the next item that may not."""
        if lane.gathering:
            return True
        wait_s = lane.called_s + self.bounds.gather_s - self._system.now()
        if wait_s <= 0:
            return False
        lane.gathering = True
        self._system.after(wait_s, partial(self._gathered, lane))
        return True

    def _gathered(self, lane: Lane) -> None:
        lane.gathering = False
        if lane.has_work() and not lane.called:
            self._call(lane)

    def _call(self, lane: Lane) -> None:
        lane.called = True
        lane.called_s = self._system.now()
        try:
            self._sender.tell(Ship(lane))
        except (pykka.ActorDeadError, MailboxFull):  # the sender is restarting, or has ended
            lane.called = False

    def forget(self, node: str) -> None:
        """Delete the stream of a dead node, and drop what waits for it."""
        self._heard.pop(node, None)
        lane = self._lanes.pop(node, None) or Lane(self._me, node, self.bounds)
        self._sent += lane.entries
        lane.closed = True
        self._call(lane)

    def silence(self) -> None:
        """Drop everything that waits to be sent: this node is no longer a member."""
        for lane in self._lanes.values():
            lane.clear()

    # --- in --------------------------------------------------------------------------------------

    def _deliver(self, page: Sequence[bytes]) -> None:
        """Take entries from the reader. It is called in the reader's thread."""
        with suppress(trio.RunFinishedError):
            self._system.home.call_soon(self._arrived, page)

    def _arrived(self, page: Sequence[bytes]) -> None:
        self._pages.append(deque(page))
        if not self._working:
            self._working = True
            self._work()

    def _work(self) -> None:
        """Deliver some of what has arrived.

        The rest follows after other tasks have had their turns.
        """
        dispatcher = self._system.dispatcher
        budget = _BEHIND if dispatcher.queue else _AT_ONCE
        with dispatcher:
            while budget > 0:
                if self._at == len(self._items) and not self._take_entry():
                    self._working = False
                    return
                some = self._items[self._at : self._at + budget]
                self._at += len(some)
                budget -= len(some)
                self._handle_all(some)
        self._system.home.call_soon(self._work)

    def _handle_all(self, items: Sequence[AnyItem]) -> None:
        if not self._current():  # notices that the process stood still for longer than its lease
            return
        handlers, sender = self._handlers, self._from
        for item in items:
            try:
                handlers[type(item)](sender, item)
            except Exception:
                _log.exception("item_failed", sender=sender, item=type(item).__name__)

    def _take_entry(self) -> bool:
        """Take the items of the next entry that is not to be ignored. False: there is none yet."""
        self._items, self._at = (), 0
        while self._pages:
            page = self._pages[0]
            if not page:
                self._pages.popleft()
                self.intake.done()
                continue
            data = page.popleft()
            try:
                entry, unknown = decode_entry(data)
            except msgspec.DecodeError as error:
                _log.error("entry_unreadable", error=str(error))
                continue
            if self._buried(entry.sender) or not self._in_turn(entry.sender, entry.number):
                continue
            if unknown:
                self._unknown += unknown
                _log.warning("items_unknown", sender=entry.sender, count=unknown)
            self._received += 1
            self._from, self._items = entry.sender, entry.items
            return True
        return False

    def _in_turn(self, sender: str, number: int) -> bool:
        """Whether an entry is new. If entries before it are missing, both nodes are told."""
        last = self._heard.get(sender, 0)
        if number <= last:
            self._duplicates += 1
            return False
        self._heard[sender] = number
        if number > last + 1:
            self._gaps += 1
            _log.error("entries_lost", sender=sender, count=number - last - 1)
            self.send(self.lane(sender), EntriesLost())
            self._lost(sender)
        return True

    def canary_arrived(self, at_s: float) -> None:
        """Take note that the canary that was sent at this time has come back."""
        self._canary_s = max(self._canary_s, at_s)
        self._hop_s = self._system.now() - at_s
