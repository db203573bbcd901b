"""Which users are online on this node, and the way of hints from threads to inboxes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import pykka
import trio

from actors.inbox.messages import KIND, Look
from actors.runtime.errors import MailboxFull
from actors.runtime.system import ActorSystem
from persistence.commands import Pushed

UNKNOWN: Final = -1


class OnlineUsers:
    """Knows which users are online, and up to which offset each of their inboxes has been pushed.

    It outlives the actors, so that an inbox that crashed goes on from that offset. A hint for a
    user who is not online is dropped here, at the cost of a look into a dict.

    A user is entered before the inbox is read. So a thread that has committed an entry either finds
    the user here, or the inbox is read after that commit.
    """

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._reached: dict[str, int] = {}
        self._lock = threading.Lock()
        self._news: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._reached)

    # --- for inboxes -----------------------------------------------------------------------------

    def come(self, user: str, *, again: bool) -> None:
        """Enter a user whose inbox starts; `again`: after a crash, with the sessions of before."""
        if not again:
            self._reached[user] = UNKNOWN
        else:
            self._reached.setdefault(user, UNKNOWN)

    def reached(self, user: str) -> int | None:
        """Return up to which offset an inbox was pushed; None: it has not been read yet."""
        reached = self._reached.get(user, UNKNOWN)
        return None if reached == UNKNOWN else reached

    def reach(self, user: str, offset: int) -> None:
        """The sessions of the user have been pushed everything up to this offset."""
        self._reached[user] = offset

    def go(self, user: str) -> None:
        """Remove a user whose last session has left."""
        self._reached.pop(user, None)

    # --- hints -----------------------------------------------------------------------------------

    def pushed(self, entries: Sequence[Pushed]) -> None:
        """Take hints: entries have been committed. From any thread; it neither waits nor raises.

        At most one hint waits for each user who is online. If the event loop takes no more calls,
        hints are dropped; the next one of the user, or the lookout, makes up for it.
        """
        news = [one for one in entries if one.user in self._reached]
        if not news:
            return
        with self._lock:
            first = not self._news
            for one in news:
                self._news[one.user] = max(one.offset, self._news.get(one.user, 0))
        if first:
            try:
                self._system.call_soon(self._deliver)
            except (MailboxFull, trio.RunFinishedError):
                with self._lock:
                    self._news.clear()

    def _deliver(self) -> None:
        with self._lock:
            news, self._news = self._news, {}
        for user, offset in news.items():
            self.tell(user, offset)

    def tell(self, user: str, offset: int) -> None:
        """Tell an inbox in memory that there are entries up to this offset, unless it knows."""
        if self._reached.get(user, offset) >= offset:
            return
        if self._system.lookup(KIND, user) is None:  # it failed for good
            self.go(user)
            return
        with suppress(MailboxFull, pykka.ActorDeadError):
            self._system.ref(KIND, user).tell(Look(offset))

    def users(self) -> Sequence[str]:
        """Return who is online. A user whose inbox has failed for good is removed."""
        for user in list(self._reached):
            if self._system.lookup(KIND, user) is None:
                self.go(user)
        return list(self._reached)
