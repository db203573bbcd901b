"""Blocks that were made on another node come to hold on this one, with the real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import trio

from actors.edge.blocks import Blocks
from actors.facts import Facts
from actors.friends.queries import QUERIES, BlocksOf
from actors.friends.watch import BlockWatch
from actors.runtime.child import ChildSpec
from actors.runtime.system import ActorSystem
from persistence import PostgresSettings
from persistence.queries import QueryTable, QueryWorker
from tests.actors.friends.circle import Circle
from tests.actors.served import LIMIT_S


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT_S):
        while not holds():
            await trio.sleep(0.01)


@pytest.mark.parametrize("before", [True, False])
async def test_a_block_made_on_another_node_holds_here(
    circle: Circle, settings: PostgresSettings, before: bool
) -> None:
    """`circle` is the other node. Time is real, as threads do not wait for a mock clock."""
    blocks = Blocks()
    async with ActorSystem("node") as system:
        make = partial(QueryWorker, settings, QueryTable(QUERIES))
        await system.supervise([ChildSpec(id="queries", factory=make)], key="stores").started()
        facts = Facts([], [system.ref("stores", "queries")])
        blocks.source = lambda user: facts.ask(BlocksOf(user))
        if before:
            await trio.to_thread.run_sync(circle.act, "ada", "block", "bob")
        watch = partial(BlockWatch, facts, blocks, 0.05)
        await system.supervise([ChildSpec(id="0", factory=watch)], key="watch").started()
        known = blocks.come("ada")
        blocks.come("cyd")
        await until(lambda: known.loading is None)
        if not before:
            assert known.users == frozenset()
            await trio.to_thread.run_sync(circle.act, "ada", "block", "bob")
        await until(lambda: known.users == {"bob"})
        assert blocks.blockers == {"bob": {"ada"}}
        await trio.to_thread.run_sync(circle.act, "ada", "block", "dan")
        await until(lambda: known.users == {"bob", "dan"})
        await trio.to_thread.run_sync(circle.act, "ada", "unblock", "bob")
        await until(lambda: known.users == {"dan"})
        assert blocks.of("cyd") == frozenset()
