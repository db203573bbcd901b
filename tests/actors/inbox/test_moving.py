"""An inbox that moves to another node takes its user's sessions along, wherever they are."""

from __future__ import annotations

import pytest
import trio

from persistence import PostgresSettings
from protocol.messages.envelope import Ok
from protocol.messages.inbox import InboxHistory, InboxLeave, InboxRead, InboxRecovered
from tests.actors.inbox.mailroom import joined, offsets, open_mailroom, pushed, user_of
from tests.actors.nodes import OTHERS, OWNERS
from tests.actors.served import LIMIT_S, until

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
        await room.house.hand_over("user", user, OTHERS)
        for device in (desk, phone):
            (recovered,) = await pushed(device, InboxRecovered)
            assert (recovered.offset, recovered.unread) == (1, 1)
        with trio.fail_after(20):
            there = room.house.nodes.named(OTHERS).topics
            await until(lambda: len(there.members(f"user:{user}")) == 2)
        await room.put(user)
        for device in (desk, phone):
            assert await offsets(device, 2) == [2]


@pytest.mark.parametrize("node", [OWNERS, OTHERS])
async def test_what_is_asked_of_an_inbox_that_has_just_moved_waits_for_its_sessions(
    inboxes: PostgresSettings, node: str
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada", node=node)
        user = user_of(ada)
        await joined(ada)
        await room.put(user)
        assert await offsets(ada, 1) == [1]
        tell_hubs = await room.house.move("user", user, OTHERS)
        ada.tell(InboxHistory(limit=5, ref=101))
        ada.tell(InboxRead(offset=1, ref=102))
        ada.tell(InboxLeave(ref=103))
        with trio.fail_after(LIMIT_S):
            await until(lambda: room.inbox(user) is not None)
        await ada.settle()
        assert not ada.replies
        tell_hubs()
        for ref in (101, 102, 103):
            assert isinstance(await ada.replied(ref), Ok)
        assert await ada.refused(InboxRead(offset=1)) == "not_joined"
