"""`BlockWatch`: has blocks that were made on other nodes hold on this one."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Final

import msgspec

from actors.edge.blocks import Blocks
from actors.facts import Facts
from actors.friends.queries import BlockChanges, ChangedBlocks
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.mailbox import MailboxSpec

OVERLAP_S: Final = 60.0
"""How far back it looks for changes that committed late; a transaction takes 30 s at most."""


class _LookForBlocks(msgspec.Struct, frozen=True, gc=False):
    """Timer: look whose blocks have changed."""


class _BlocksFound(msgspec.Struct, frozen=True):
    """Whose blocks have changed."""

    done: Future[Any]


class BlockWatch(Actor):
    """Looks in rounds whose blocks have changed, on whichever node, and has the hub read them.

    Those of users without a session here are of no use to it.

    Arguments:
        facts: runs the queries.
        blocks: the blocks that the hub goes by.
        every_s: the pause between two looks, in seconds.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=16)

    def __init__(self, facts: Facts, blocks: Blocks, every_s: float) -> None:
        super().__init__()
        self._facts = facts
        self._blocks = blocks
        self._every_s = every_s
        self._since = 0.0
        self._seen: dict[str, float] = {}

    def on_start(self) -> None:
        """Look at once: what changes from then on is found."""
        self.look(_LookForBlocks())

    @handles(_LookForBlocks)
    def look(self, _: _LookForBlocks) -> None:
        """Ask for what has changed."""
        asked = self._facts.ask(ChangedBlocks(max(0.0, self._since - OVERLAP_S)))
        self.pipe_to_self(asked, partial(_BlocksFound))

    @handles(_BlocksFound)
    def found(self, message: _BlocksFound) -> None:
        """Have changed blocks read, and look again later."""
        self.start_timer(self._every_s, _LookForBlocks())
        if message.done.exception() is not None:
            return  # the store is away
        found: BlockChanges = message.done.result()
        self._since = found.now
        changed = [user for user, at in found.users.items() if self._seen.get(user) != at]
        self._seen = found.users
        self._blocks.reload(changed)
