"""The backlog: bytes that wait for clients whose sockets are full, with bounds for all of them.

A client that reads nothing may stay within the bound of its own outbox for a long time, and may
even answer pings. Many such clients together could hold more memory than the server has. So a
client that has read nothing for some time is closed. If the backlog of all clients, or of one
address, is too large, the clients with the most bytes are closed.

The backlog knows only outboxes whose socket is full. It looks at them a few times a second, so that
nothing has to be counted when a frame is pushed or sent. Between two looks the sums can exceed
their bounds by the bytes that are pushed in that time; the bound of each outbox limits these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import trio

from protocol.server.outbox import Outbox
from protocol.server.settings import WireSettings

LOOK_EVERY_S: Final = 0.25


class WaitingBytes(NamedTuple):
    """The bytes that wait for one client.

    Attributes:
        outbox: the client's outbox.
        address: the address whose limits apply; None: it has no limits.
        size: how many bytes wait.
        since: when the socket last took bytes, in trio's time.
    """

    outbox: Outbox
    address: str | None
    size: int
    since: float


class Backlog:
    """The outboxes whose socket is full. The flusher adds and removes them; `keep` is a task.

    Attributes:
        closed: how many clients were closed for a bound.
    """

    def __init__(self) -> None:
        self.closed = 0
        self._since: dict[Outbox, float] = {}
        self._added: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._since)

    def add(self, outbox: Outbox) -> None:
        """Add an outbox whose socket is full."""
        self._since[outbox] = trio.current_time()
        if self._added is not None:
            self._added.set()

    def moved(self, outbox: Outbox) -> None:
        """Note that the socket of an outbox has taken bytes."""
        self._since[outbox] = trio.current_time()

    def remove(self, outbox: Outbox) -> None:
        """Remove an outbox whose socket is no longer full."""
        self._since.pop(outbox, None)

    async def keep(
        self,
        settings: WireSettings,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the backlog within its bounds until cancelled."""
        task_status.started()
        while True:
            if not self._since:
                self._added = trio.Event()
                await self._added.wait()
                self._added = None
            await trio.sleep(LOOK_EVERY_S)
            for one, reason in list(slow_clients(self._waiting(), trio.current_time(), settings)):
                self.closed += 1
                one.outbox.transport.fell_behind(reason)

    def _waiting(self) -> list[WaitingBytes]:
        return [
            WaitingBytes(outbox, outbox.transport.address, outbox.waiting_bytes, since)
            for outbox, since in self._since.items()
            if not outbox.closed
        ]


def slow_clients(
    waiting: Iterable[WaitingBytes], now: float, settings: WireSettings
) -> Iterator[tuple[WaitingBytes, str]]:
    """Choose the clients to close, with a reason for each."""
    staying: list[WaitingBytes] = []
    of_address: dict[str, list[WaitingBytes]] = defaultdict(list)
    for one in waiting:
        if now - one.since >= settings.stalled_s:
            yield one, f"it has read nothing for {settings.stalled_s:g} s"
            continue
        staying.append(one)
        if one.address is not None:
            of_address[one.address].append(one)
    gone: set[WaitingBytes] = set()
    if settings.address_backlog_bytes:
        for group in of_address.values():
            for one in _largest(group, settings.address_backlog_bytes):
                gone.add(one)
                yield one, "too much waits for the clients of its address"
    rest = [one for one in staying if one not in gone] if gone else staying
    for one in _largest(rest, settings.backlog_bytes):
        yield one, "too much waits for all clients"


def _largest(waiting: list[WaitingBytes], bound: int) -> Iterator[WaitingBytes]:
    """Yield those with the most bytes, until the others are within the bound."""
    total = sum(one.size for one in waiting)
    if total <= bound:
        return
    for one in sorted(waiting, key=lambda one: one.size, reverse=True):
        yield one
        total -= one.size
        if total <= bound:
            return
