"""`Joining`: a system joins its cluster when it opens, and leaves before its actors stop."""

from __future__ import annotations

from contextlib import AsyncExitStack

from actors.cluster.membership import NodeMembership
from actors.cluster.opening import open_membership
from actors.cluster.rules.view import Descriptor
from actors.cluster.settings import MembershipSettings
from actors.runtime.system import ActorSystem
from actors.runtime.system_view import SystemView
from persistence import PostgresSettings, RedisSettings


class Joining:
    """Makes a system a member of the cluster of these stores.

    Arguments:
        descriptor: what the node says of itself.
        redis: the address of Valkey, the same for all nodes.
        postgres: the address of PostgreSQL, the same for all nodes.
        settings: all nodes must have the same `lease_s` and `beats`.

    Attributes:
        descriptor: what the node says of itself.
        membership: the node's, once it has joined.
    """

    membership: NodeMembership

    def __init__(
        self,
        descriptor: Descriptor,
        redis: RedisSettings,
        postgres: PostgresSettings,
        settings: MembershipSettings | None = None,
    ) -> None:
        self.descriptor = descriptor
        self._redis = redis
        self._postgres = postgres
        self._settings = settings
        self._joined = AsyncExitStack()

    async def join(self, system: SystemView) -> NodeMembership:
        """Join. Raises NameTaken, StoreError."""
        assert isinstance(system, ActorSystem)
        self.membership = await self._joined.enter_async_context(
            open_membership(system, self.descriptor, self._redis, self._postgres, self._settings)
        )
        return self.membership

    async def leave(self) -> None:
        """Hand over what the node holds, and leave. Later calls do nothing."""
        await self._joined.aclose()
