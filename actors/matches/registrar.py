"""The registrar: writes the reports of this node's matches into their rows."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Final

import msgspec

from actors.facts import Facts
from actors.matches.commands import SERVICE, ReportMatches
from actors.matches.standing import ReportBatch, Standing
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.mailbox import MailboxSpec

REGISTRAR: Final = "match-registrar"
MOST: Final = 500
"""How many reports one write takes."""


class Write(msgspec.Struct, frozen=True, gc=False):
    """Timer, or a match has ended: write the reports that wait."""


class _Written(msgspec.Struct, frozen=True):
    """A write is done, or has failed."""

    batch: ReportBatch
    done: Future[Any]


class Registrar(Actor):
    """Writes numbers of players every `every_s` seconds, and ends at once, because a client may be
    waiting for the room. There is one write at a time; reports that come meanwhile go together in
    the next one.

    Arguments:
        standing: the reports.
        facts: runs the commands.
        every_s: in seconds.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=64)

    def __init__(self, standing: Standing, facts: Facts, every_s: float) -> None:
        super().__init__()
        self._standing = standing
        self._facts = facts
        self._every_s = every_s
        self._writing = False

    def on_start(self) -> None:
        self.start_ticks(self._every_s, Write(), name="write")

    @handles(Write)
    def write(self, _: Write) -> None:
        """Begin a write, unless nothing waits or a write is under way."""
        batch = self._standing.to_write(MOST)
        if self._writing or not any(batch):
            return
        self._writing = True
        written = self._facts.execute(ReportMatches(*batch), user=SERVICE)
        self.pipe_to_self(written, partial(_Written, batch))

    @handles(_Written)
    def written(self, message: _Written) -> None:
        """Write what has come meanwhile. After a failure that has to wait for the timer."""
        self._writing = False
        error = message.done.exception()
        if error is not None:  # PostgreSQL is not there
            self.log.warning("matches_not_written", reason=repr(error))
            return
        self._standing.written(message.batch)
        batch = message.batch
        full = MOST in (len(batch.running) + len(batch.ended), len(batch.joined))
        if self._standing.ended() or full:
            self.write(Write())
