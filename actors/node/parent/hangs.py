"""Finds which actor a node is caught in, and has it held back from all nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
import trio

from actors.node.parent.caught import log_held, log_not_held
from actors.node.parent.keeper import NodeKeeper
from actors.node.parent.process import NodeProcess
from actors.runtime.running_page import RunningBlock
from persistence import StoreUnavailable
from persistence.postgres.held import HangCount

log = structlog.get_logger("actors.node.parent")

LOOK_S: Final = 0.2
"""How often the nodes are looked at. It costs 20 us for each."""
RETRY_S: Final = 1.0

HoldActor = Callable[[str, str, str], HangCount]
"""Holds an actor, by the name of the node, and the actor's kind and key. Blocks."""


class HangWatch:
    """Looks at the pages of all nodes.

    A game that hangs in C code hangs its node, and then the next node, to which its match comes
    from the last snapshot. So the match is marked before any other node can take it: after half of
    `cluster.lease_s`, while the cluster takes a node for dead after all of it.

    Arguments:
        keepers: the keepers of the nodes.
        hold: marks an actor.
        after_s: how long a block must run to be taken for one that hangs.

    Attributes:
        caught: how often an actor was held.
    """

    def __init__(self, keepers: Sequence[NodeKeeper], hold: HoldActor, after_s: float) -> None:
        self.caught = 0
        self._keepers = keepers
        self._hold = hold
        self._after_s = after_s
        self._seen: dict[str, tuple[RunningBlock, int]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(LOOK_S)
                for keeper in self._keepers:
                    found = None if keeper.process is None else keeper.process.caught(self._after_s)
                    if self._is_news(keeper.name, found):
                        assert found is not None
                        assert keeper.process is not None
                        nursery.start_soon(self._mark, keeper.name, keeper.process, found)

    def _is_news(self, node: str, found: RunningBlock | None) -> bool:
        """Whether a block is found for the second time in a row.

        Once is not enough, because this process may have been frozen together with its nodes.
        """
        if found is None:
            self._seen.pop(node, None)
            return False
        before, times = self._seen.get(node, (None, 0))
        times = times + 1 if found == before else 1
        self._seen[node] = (found, times)
        return times == 2

    async def _mark(self, node: str, process: NodeProcess, block: RunningBlock) -> None:
        while not process.over.is_set():
            try:
                hold = partial(self._hold, node, block.kind, block.key)
                count = await trio.to_thread.run_sync(hold, abandon_on_cancel=True)
            except StoreUnavailable as error:
                log_not_held(log, block, error)
                await trio.sleep(RETRY_S)
                continue
            self.caught += 1
            log_held(log, node, block, count)
            return
