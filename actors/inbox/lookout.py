"""Makes up for hints that got lost: looks in rounds whether anyone who is here lacks something."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Final

import msgspec

from actors.inbox.entries import Newest
from actors.inbox.host import InboxHost
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.mailbox import MailboxSpec

LOOKOUT: Final = "inbox-lookout"
USERS: Final = 500
"""How many users are looked up at once."""


class _Round(msgspec.Struct, frozen=True, gc=False):
    """Timer: look up the next users."""

    after: str


class _Answered(msgspec.Struct, frozen=True):
    """What the inboxes of these users reach to."""

    users: Sequence[str]
    done: Future[Any]


class Lookout(Actor):
    """Looks up in rounds whether those who are here have all that there is.

    A hint can get lost: with the thread that was to give it, or as a queue was full.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=16)

    def __init__(self, host: InboxHost) -> None:
        super().__init__()
        self._host = host
        self._desk = host.desk
        self._every_s = host.settings.look_every_s

    def on_start(self) -> None:
        self.start_timer(self._every_s, _Round(""))

    @handles(_Round)
    def look(self, message: _Round) -> None:
        """Ask for the next users."""
        users = self._desk.users(message.after, USERS)
        if users:
            self.pipe_to_self(self._host.facts.ask(Newest(users)), partial(_Answered, users))
        else:
            self.start_timer(self._every_s, _Round(""))

    @handles(_Answered)
    def answered(self, message: _Answered) -> None:
        """Tell those who lack something."""
        if message.done.exception() is not None:  # the store is away: a round later
            self.start_timer(self._every_s, _Round(""))
            return
        newest = message.done.result()
        for user in message.users:
            reached = self._desk.reached(user)
            if reached is not None and newest.get(user, 0) > reached:
                self._host.counters.late += 1
                self._desk.tell(user, newest[user])
        full = len(message.users) == USERS
        self.start_timer(0.0 if full else self._every_s, _Round(message.users[-1] if full else ""))
