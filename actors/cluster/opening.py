"""`open_membership`: a node joins, is a member, and leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
import trio

from actors.cluster.admission import admit
from actors.cluster.membership import NodeMembership, seconds_since_boot
from actors.cluster.rules.view import Descriptor
from actors.cluster.settings import MembershipSettings
from actors.cluster.stores import start_cluster_stores
from actors.runtime.system import ActorSystem
from persistence import PostgresSettings, RedisSettings

log = structlog.get_logger("actors.cluster")


@asynccontextmanager
async def open_membership(
    system: ActorSystem,
    descriptor: Descriptor,
    redis: RedisSettings,
    postgres: PostgresSettings,
    settings: MembershipSettings | None = None,
    *,
    clock: Callable[[], float] = seconds_since_boot,
) -> AsyncIterator[NodeMembership]:
    """Join the cluster of these stores, be a member in the block, and leave at its end.

    Arguments:
        system: the system in which the stores' threads run.
        descriptor: what this node says of itself.
        redis: the address of Valkey, the same for all nodes.
        postgres: the address of PostgreSQL, the same for all nodes.
        settings: all nodes must have the same `lease_s` and `beats`.
        clock: seconds of a clock that never goes back, for tests.

    Raises:
        NameTaken: a node of this name lives.
        VersionsDiffer, LabelsDiffer, StoresDiffer: this node cannot be of one cluster with those
            that live.
        StoreError: a store does not answer.
    """
    settings = settings or MembershipSettings()
    stores = await start_cluster_stores(system, redis, postgres, settings.timing)
    member = await admit(stores, descriptor, settings.timing, clock)
    log.info("joined the cluster", node=member.me, nodes=len(member.view.nodes))
    membership = NodeMembership(member, stores, settings, clock)
    check = CheckFirst(membership)
    system.dispatcher.enclose(check)
    trio.lowlevel.add_instrument(check)
    system.nursery.start_soon(membership.run)
    try:
        yield membership
    finally:
        with trio.CancelScope(shield=True):
            await membership.leave()
        with suppress(KeyError):  # trio removes an instrument that has raised
            trio.lowlevel.remove_instrument(check)


class CheckFirst(trio.abc.Instrument):
    """Looks at the clock whenever the loop wakes up, and before each turn of the actors.

    A process that is frozen is mostly waiting for I/O at that moment, and then this is the first
    code that runs when it goes on. If it was frozen in the middle of a pass of the loop, at most
    the rest of one turn runs before this. The cost is a reading of the clock for each pass, 0.3 us.
    """

    def __init__(self, membership: NodeMembership) -> None:
        self._membership = membership

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - the clock is another one
        """The loop goes on."""
        self._membership.current()

    def __enter__(self) -> None:
        self._membership.current()

    def __exit__(self, *_: object) -> None:
        pass
