"""An inbox that moves to another node takes its user's sessions along, wherever they are."""

from __future__ import annotations

import pytest
import trio

from persistence import PostgresSettings
from protocol.messages.inbox import InboxRecovered
from tests.actors.inbox.mailroom import joined, offsets, open_mailroom, pushed, user_of
from tests.actors.nodes import OTHERS, OWNERS
from tests.actors.served import until

pytestmark = pytest.mark.usefixtures("two_nodes")


async def test_an_inbox_that_moves_says_how_it_stands_and_goes_on(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes) as room:
        desk = await room.house.player("ada", node=OWNERS)
        phone = room.house.connect(node=OTHERS)
        await phone.resume(room.house.token(desk))
        user = user_of(desk)
        for device in (desk, phone):
            await joined(device)
        await room.put(user)
        for device in (desk, phone):
            assert await offsets(device, 1) == [1]
        # There is one PostgreSQL, so that the node makes no difference to the inbox itself.
        await room.house.hand_over("user", user, OWNERS)
        for device in (desk, phone):
            (recovered,) = await pushed(device, InboxRecovered)
            assert (recovered.offset, recovered.unread) == (1, 1)
        with trio.fail_after(20):
            await until(lambda: len(room.house.topics.members(f"user:{user}")) == 2)
        await room.put(user)
        for device in (desk, phone):
            assert await offsets(device, 2) == [2]
