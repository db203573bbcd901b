"""The lookout, which finds entries whose hint got lost."""

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
    """Timer: look up all users who are online."""


class _Answered(msgspec.Struct, frozen=True):
    """The last offsets of these users' inboxes. `others`: the users to look up next."""

    users: Sequence[str]
    others: Sequence[str]
    done: Future[Any]


class Lookout(Actor):
    """Looks up in rounds whether users who are online have entries that were not pushed.

    Inboxes are told of new entries by hints. A hint gets lost if its thread ends too early, or if a
    queue is full.

    Arguments:
        host: what all inboxes of the node share.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=16)

    def __init__(self, host: InboxHost) -> None:
        super().__init__()
        self._host = host
        self._online = host.online
        self._every_s = host.settings.look_every_s

    def on_start(self) -> None:
        self.start_timer(self._every_s, _Round())

    @handles(_Round)
    def look(self, _: _Round) -> None:
        """Begin a round."""
        self._ask(self._online.users())

    def _ask(self, users: Sequence[str]) -> None:
        """Look up the first of these users; without any, the round is over."""
        if users:
            some, others = users[:USERS], users[USERS:]
            newest = self._host.facts.ask(Newest(some))
            self.pipe_to_self(newest, partial(_Answered, some, others))
        else:
            self.start_timer(self._every_s, _Round())

    @handles(_Answered)
    def answered(self, message: _Answered) -> None:
        """Tell each inbox that lacks entries."""
        # The store is away, so try again in the next round.
        if message.done.exception() is not None:
            self._ask(())
            return
        newest = message.done.result()
        for user in message.users:
            reached = self._online.reached(user)
            if reached is not None and newest.get(user, 0) > reached:
                self._host.counters.late += 1
                self._online.tell(user, newest[user])
        self._ask(message.others)
