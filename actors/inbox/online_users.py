"""`OnlineUsers`: which users are online on this node, and hints from threads to their inboxes."""

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

    It outlives the actors of inboxes, so that an inbox that crashed goes on from that offset. A
    hint for a user who is not online is dropped here, at the cost of one look into a dict. In a
    cluster, hints for inboxes that are placed on other nodes are sent there.

    A user is entered here before the inbox is read. So for each entry that a thread commits, either
    the thread finds the user here, or the inbox is read after the commit.
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
        """Enter a user whose inbox starts.

        `again` says that the inbox has crashed and its sessions are still there.
        """
        if not again:
            self._reached[user] = UNKNOWN
        else:
            self._reached.setdefault(user, UNKNOWN)

    def reached(self, user: str) -> int | None:
        """Return the offset up to which an inbox was pushed, or None if it has not been read
        yet.
        """
        reached = self._reached.get(user, UNKNOWN)
        return None if reached == UNKNOWN else reached

    def reach(self, user: str, offset: int) -> None:
        """Enter that the user's sessions have been pushed all entries up to this offset."""
        self._reached[user] = offset

    def go(self, user: str) -> None:
        """Remove a user whose last session has left."""
        self._reached.pop(user, None)

    # --- hints -----------------------------------------------------------------------------------

    def pushed(self, entries: Sequence[Pushed]) -> None:
        """Take hints that entries have been committed. Any thread may call this; it does not wait.

        At most one hint waits for each user who is online. If the event loop takes no more calls,
        hints are dropped. The entries are then pushed after the user's next hint, or when the
        lookout finds them.
        """
        news = [one for one in entries if one.user in self._reached or self._system.clustered]
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
            if user in self._reached:
                self.tell(user, offset)
            elif self._system.whereabouts(KIND, user) is not None:  # on another node
                self._send(user, offset)

    def tell(self, user: str, offset: int) -> None:
        """Tell an inbox in memory that there are entries up to this offset, unless it knows."""
        if self._reached.get(user, offset) >= offset:
            return
        if self._system.lookup(KIND, user) is None:  # the inbox failed for good
            self.go(user)
            return
        self._send(user, offset)

    def _send(self, user: str, offset: int) -> None:
        with suppress(MailboxFull, pykka.ActorDeadError):
            self._system.ref(KIND, user).tell(Look(offset))

    def users(self) -> Sequence[str]:
        """Return the users who are online, after removing those whose inbox has failed for good."""
        for user in list(self._reached):
            if self._system.lookup(KIND, user) is None:
                self.go(user)
        return list(self._reached)
