"""What the owner of stores does for them while it runs: renew their lease, start them again."""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

import structlog
import trio

from actors.node.stopping import Stopping
from persistence import StoreUnavailable
from persistence.postgres import SchemaLease
from persistence.postgres.lease import BEAT_S

log = structlog.get_logger("actors.node.upkeep")

REVIVE_EVERY_S: Final = 1.0
"""How often to look whether an embedded server has died."""


class Revivable(Protocol):
    """Embedded servers, which are started again when they die."""

    def revive(self) -> list[str]:
        """Start the servers that have died; returns their names."""


async def hold_lease(lease: SchemaLease, stopping: Stopping) -> None:
    """Renew the lease until another server has taken it; then stop this one, or only warn.

    It only warns if [server] alone is false, so that several servers may share the schema.
    """
    while not lease.lost:
        beat = partial(lease.beat, draining=stopping.asked.is_set())
        try:
            # A thread that can be abandoned: a frozen store must not keep the server from ending.
            await trio.to_thread.run_sync(beat, abandon_on_cancel=True)
        except StoreUnavailable as error:
            log.debug("lease not renewed", error=str(error))
        await trio.sleep(BEAT_S)
    why = "another server has taken this one's place"
    if lease.binding:
        stopping.ask(why)
    else:
        log.warning("not alone", why=why)


async def keep_alive(embedded: Revivable) -> None:
    """Start embedded servers again that have died. They have to be started by the main thread."""
    while True:
        await trio.sleep(REVIVE_EVERY_S)
        try:
            for name in embedded.revive():
                log.error("embedded server had died and was started again", server=name)
        except Exception as error:  # the next round tries again
            log.error("embedded server cannot be started", error=str(error))
