"""A node in a process of its own, to be frozen and killed.

It prints what its listener is told, as lines of JSON. One of its actors beats as often as it can,
and prints that whenever it has beaten while the node held slots.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import trio

from actors import Actor, ActorSystem, handles
from actors.cluster.membership import NodeMembership
from actors.cluster.opening import open_membership
from actors.cluster.rules.view import Descriptor
from actors.cluster.settings import MembershipSettings
from persistence import PostgresSettings, RedisSettings


class Order(msgspec.Struct, frozen=True):
    """The settings of the process."""

    name: str
    redis: RedisSettings
    postgres: PostgresSettings
    settings: MembershipSettings


class Beat(msgspec.Struct, frozen=True):
    """A message from the actor to itself."""


def say(what: str, about: Any = None) -> None:
    sys.stdout.write(msgspec.json.encode([what, about]).decode() + "\n")
    sys.stdout.flush()


class Beater(Actor):
    """Handles messages all the time."""

    def __init__(self, place: NodeMembership) -> None:
        super().__init__()
        self._place = place

    def on_start(self) -> None:
        self.start_timer(0.001, Beat())

    @handles(Beat)
    def beat(self, _: Beat) -> None:
        # Like other actors it looks at the table of slots, and not at the clock.
        say("beat", self._place.holder(0) == self._place.me)
        self.start_timer(0.001, Beat())


class Speaker:
    """A listener that prints what it is told."""

    def node_up(self, node: str) -> None:
        say("up", node)

    def node_down(self, node: str) -> None:
        say("down", node)

    async def give_up(self, slots: frozenset[int], to: str) -> None:
        say("give up", [len(slots), to])

    def taken(self, slots: frozenset[int]) -> None:
        say("taken", len(slots))

    def moved(self, slots: frozenset[int]) -> None:
        say("moved", len(slots))

    def fenced(self, why: str) -> None:
        say("fenced", why)


async def main(order: Order) -> None:
    async with (
        ActorSystem(order.name) as system,
        open_membership(
            system, Descriptor(name=order.name), order.redis, order.postgres, order.settings
        ) as membership,
    ):
        membership.listen(Speaker())
        system.start(Beater, membership)
        say("joined", membership.me)
        await membership.over.wait()


if __name__ == "__main__":
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(main, msgspec.json.decode(sys.argv[1], type=Order))
