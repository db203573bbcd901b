"""Members of one cluster in one process, each with a system of its own, on real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import trio

from actors import ActorSystem
from actors.cluster.membership import NodeMembership, seconds_since_boot
from actors.cluster.opening import open_membership
from actors.cluster.rules.slots import SLOTS
from actors.cluster.rules.view import UNDERSTOOD, VERSION, Descriptor
from actors.cluster.settings import MembershipSettings
from persistence import PostgresSettings, RedisSettings
from persistence.postgres import migrate

SETTINGS = MembershipSettings(lease_s=6.0, beats=15, move_slots_per_s=100_000)
STEADY = MembershipSettings(lease_s=60.0, beats=150, move_slots_per_s=100_000)
"""For tests in which no lease must end, although their nodes share a loop on a busy machine."""
ALL = frozenset(range(SLOTS))


class Recorder:
    """A listener that remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.given: dict[int, str] = {}
        self.slow: dict[str, trio.Event] = {}
        """Until when the actors of what a node gets do not stop."""

    def node_up(self, node: str) -> None:
        self.told.append(("up", node))

    def node_down(self, node: str) -> None:
        self.told.append(("down", node))

    async def give_up(self, slots: frozenset[int], to: str) -> None:
        self.told.append(("give up", slots))
        self.given.update(dict.fromkeys(slots, to))
        if to in self.slow:
            await self.slow[to].wait()

    def taken(self, slots: frozenset[int]) -> None:
        self.told.append(("taken", slots))

    def moved(self, slots: frozenset[int]) -> None:
        self.told.append(("moved", slots))

    def fenced(self, why: str) -> None:
        self.told.append(("fenced", why))

    def forget(self) -> None:
        self.told.clear()
        self.given.clear()

    def of(self, what: str) -> list[object]:
        return [found for told, found in self.told if told == what]

    def slots_of(self, what: str) -> set[int]:
        found: set[int] = set()
        for slots in self.of(what):
            assert isinstance(slots, frozenset)
            found |= slots
        return found


class MemberNode:
    """A node of a cluster, and what its listener was told."""

    def __init__(self, membership: NodeMembership, system: ActorSystem) -> None:
        self.place = membership
        self.system = system
        self.recorder = Recorder()
        membership.listen(self.recorder)

    def held(self) -> frozenset[int]:
        return frozenset(slot for slot in ALL if self.place.holder(slot) == self.place.me)


class Where:
    """The stores of a test's own cluster."""

    def __init__(
        self,
        redis: RedisSettings,
        postgres: PostgresSettings,
        settings: MembershipSettings = SETTINGS,
    ) -> None:
        self.redis = redis
        self.postgres = postgres
        self.settings = settings


def own_cluster(redis: RedisSettings, postgres: PostgresSettings, unique: str) -> Where:
    """A cluster of a test's own: a prefix in Valkey, and a schema in PostgreSQL."""
    found = Where(
        msgspec.structs.replace(redis, prefix=f"{unique}:"),
        msgspec.structs.replace(postgres, schema=unique),
    )
    migrate(found.postgres)
    return found


@asynccontextmanager
async def member(
    where: Where,
    name: str,
    *,
    redis: RedisSettings | None = None,
    postgres: PostgresSettings | None = None,
    weight: float = 1.0,
    pools: tuple[int, ...] = (0,),
    version: int = VERSION,
    understood: int = UNDERSTOOD,
    clock: Callable[[], float] = seconds_since_boot,
) -> AsyncIterator[MemberNode]:
    """A node of this name, on stores that may be reached by links of its own."""
    async with (
        ActorSystem(name) as system,
        open_membership(
            system,
            Descriptor(
                name=name, weight=weight, pools=pools, version=version, understood=understood
            ),
            redis or where.redis,
            postgres or where.postgres,
            where.settings,
            clock=clock,
        ) as membership,
    ):
        yield MemberNode(membership, system)


@asynccontextmanager
async def members(where: Where, names: str) -> AsyncIterator[list[MemberNode]]:
    """Open a node for each letter; yields once all slots are where they should be."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(member(where, name)) for name in names]
        await settled(*nodes)
        yield nodes


async def until(true: Callable[[], object]) -> None:
    """Return once the function returns true. It is called often, as it waits for real stores."""
    with trio.fail_after(120):
        while not true():
            await trio.sleep(0.05)


async def settled(*nodes: MemberNode) -> None:
    """Return once all of them know each other, and all slots are where they should be."""
    ids = {node.place.me for node in nodes}
    await until(
        lambda: all(
            node.place.view().nodes.keys() == ids and node.place.settled() for node in nodes
        )
    )
    await until(lambda: _agreed(nodes, ids))
    assert sum(len(node.held()) for node in nodes) == SLOTS


def _agreed(nodes: Sequence[MemberNode], ids: Set[str]) -> bool:
    """Whether each of these nodes knows that they hold all slots, and which of them holds which."""
    known = [[node.place.holder(slot) for slot in ALL] for node in nodes]
    return set(known[0]) <= ids and all(holders == known[0] for holders in known)
