"""Who has a connection, on which node ever."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from actors.edge.hubs import Hubs
from actors.edge.topics import Topics
from actors.runtime.system import ActorSystem
from tests.actors.nodes import OTHERS, OWNERS
from tests.actors.players import House, open_house, token_of


async def online(house: House, *users: str) -> set[str]:
    return set(await house.topics.users.anywhere(list(users)))


async def test_a_user_is_online_as_long_as_one_session_has_a_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        first, second = house.connect(), house.connect()
        ada = (await first.open("ada")).user
        await second.resume(token_of(first))  # takes the session over
        assert await online(house, ada, "bob") == {ada}
        first.leave()
        assert await online(house, ada) == {ada}
        second.leave()
        await second.settle()
        assert await online(house, ada) == set()
        third = house.connect()
        await third.resume(token_of(second))
        assert await online(house, ada) == {ada}
        third.leave()
        await third.settle()
        assert await online(house, ada) == set()


@pytest.mark.usefixtures("two_nodes")
async def test_a_user_is_online_wherever_the_session_is(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        near = (await house.connect(node=OWNERS).open("ada")).user
        far = (await house.connect(node=OTHERS).open("bob")).user
        for node in house.nodes:
            assert set(await node.topics.users.anywhere([near, far, "cyd"])) == {near, far}


async def test_a_node_that_does_not_answer_counts_as_if_nobody_were_there(
    autojump_clock: MockClock,
) -> None:
    async with ActorSystem("alone") as system:
        topics = Topics(hubs=Hubs(system, OWNERS, lambda: (OWNERS, OTHERS)))
        assert set(await topics.users.anywhere(["ada"])) == set()
