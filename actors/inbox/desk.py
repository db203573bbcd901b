"""Who is here, and the way of a hint: from the thread that has committed an entry to its inbox."""

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


class Desk:
    """Knows the users who are here, and up to which offset each inbox has been pushed to them.

    It outlives the actors, so that one that crashed goes on where it was. What is new of somebody
    who is not here ends at this desk, and costs a look into a table.

    A user is entered before the inbox is read. So whoever commits an entry either finds the user
    here, or the inbox is read after that commit.
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
        """Enter a user whose inbox comes to life; `again`: for those who were there before."""
        if not again:
            self._reached[user] = UNKNOWN
        else:
            self._reached.setdefault(user, UNKNOWN)

    def reached(self, user: str) -> int | None:
        """Up to where an inbox was pushed; None: nobody has been here to be told."""
        reached = self._reached.get(user, UNKNOWN)
        return None if reached == UNKNOWN else reached

    def reach(self, user: str, offset: int) -> None:
        """Those who are here have it all up to this offset."""
        self._reached[user] = offset

    def go(self, user: str) -> None:
        """Nobody is here any more."""
        self._reached.pop(user, None)

    # --- hints -----------------------------------------------------------------------------------

    def pushed(self, entries: Sequence[Pushed]) -> None:
        """Entries have been committed. From any thread; it neither waits nor raises.

        What waits is bounded by the users who are here. A hint that cannot be taken is dropped: the
        next one, or the lookout, makes up for it.
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
        """Tell an inbox that is in memory of what is new, unless it has it."""
        if self._reached.get(user, offset) >= offset:
            return
        if self._system.lookup(KIND, user) is None:  # it failed for good
            self.go(user)
            return
        with suppress(MailboxFull, pykka.ActorDeadError):
            self._system.ref(KIND, user).tell(Look(offset))

    def users(self) -> Sequence[str]:
        """All who are here. One whose inbox has failed for good is not, from now on."""
        for user in list(self._reached):
            if self._system.lookup(KIND, user) is None:
                self.go(user)
        return list(self._reached)
