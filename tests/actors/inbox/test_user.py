"""A user's inbox: who gets which entries, from which offset on, and which entries wait."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from actors.inbox import Putting
from actors.inbox.rules.payload import NoPayload, encoded
from actors.inbox.settings import InboxSettings
from actors.runtime.errors import MailboxFull
from persistence import PostgresSettings
from protocol.codec import JSON
from protocol.messages.envelope import Position
from protocol.messages.inbox import (
    InboxEntry,
    InboxHistory,
    InboxJoin,
    InboxLeave,
    InboxMark,
    InboxMarked,
    InboxRead,
    InboxRecovered,
)
from protocol.messages.session import SessionClose, TopicLost
from protocol.server.outbox import Outbox
from tests.actors.inbox.mailroom import (
    Mailroom,
    PutRaw,
    joined,
    offsets,
    open_mailroom,
    page,
    pushed,
    resumed,
    user_of,
)
from tests.actors.players import open_house
from tests.actors.served import until

pytestmark = pytest.mark.usefixtures("layout")

SMALL = InboxSettings(recent=5, joined_entries=3, history_limit=10)


async def away(room: Mailroom, user: str) -> None:
    """Wait until no session of the user is there."""
    await until(lambda: room.inbox(user) is None)


async def test_an_entry_reaches_every_session_of_its_user_and_nobody_else(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        phone = await room.house.second_device(ada, JSON)
        bob = await room.house.player("bob")
        for player in (ada, phone, bob):
            state = await joined(player)
            assert (state.epoch, state.offset, state.unread, state.entries) == (1, 0, 0, [])
        await room.put(user_of(ada), payload={"from": "bob", "n": 1})
        for player in (ada, phone):
            (entry,) = await pushed(player, InboxEntry)
            assert (entry.user, entry.offset) == (user_of(ada), 1)
            assert (entry.type, entry.payload) == ("trial.note", {"from": "bob", "n": 1})
        await room.put(user_of(bob), user_of(ada), payload="both")
        assert (await pushed(bob, InboxEntry))[0].offset == 1
        assert (await pushed(ada, InboxEntry))[0].offset == 2


async def test_what_comes_while_nobody_is_there_waits_and_wakes_nobody(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        for number in range(3):
            await room.put(user, payload=number)
        assert room.inbox(user) is None
        state = await joined(ada)
        assert [entry.payload for entry in state.entries] == [0, 1, 2]
        assert (state.offset, state.read, state.unread) == (3, 0, 3)
        await ada.ask(SessionClose())
        await away(room, user)
        await room.put(user, payload=3)
        assert room.inbox(user) is None
        phone = await room.house.second_device(ada)
        assert (await joined(phone)).offset == 4
        assert not ada.got(InboxEntry)


async def test_a_client_that_does_not_join_is_not_disturbed(inboxes: PostgresSettings) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        await room.put(user_of(ada))
        await room.put(user_of(ada), by="another")
        await ada.settle()
        assert not ada.pushes
        assert await ada.refused(InboxHistory()) == "not_joined"
        assert await ada.refused(InboxRead(offset=1)) == "not_joined"
        assert await ada.ask(InboxLeave()) is None


async def test_an_inbox_that_is_left_is_out_of_memory_and_a_rejoin_brings_it_back(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        phone = await room.house.second_device(ada)
        user = user_of(ada)
        await joined(ada)
        await joined(phone)
        await ada.ask(InboxLeave())
        await room.put(user)
        assert await offsets(phone, 1) == [1]
        assert not ada.got(InboxEntry)
        await phone.ask(InboxLeave())
        await away(room, user)
        assert room.reading("users_online") == 0
        assert (await joined(ada)).offset == 1
        assert room.reading("users_online") == 1


async def test_a_resume_gets_all_that_was_missed(inboxes: PostgresSettings) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        await room.put(user, payload=1)
        state = await joined(ada)
        ada.leave()
        await room.put(user, payload=2)
        await room.put(user, payload=3)
        again, recovered = await resumed(room, ada, state.offset)
        assert recovered.recovered
        assert [entry.payload for entry in recovered.entries] == [2, 3]
        assert (recovered.epoch, recovered.offset, recovered.unread) == (1, 3, 3)
        await room.put(user, payload=4)
        assert await offsets(again, 4) == [4]


async def test_a_resume_that_cannot_be_bridged_is_told_so(inboxes: PostgresSettings) -> None:
    async with open_mailroom(inboxes, SMALL) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        for number in range(1, 9):
            await room.put(user, payload=number)
        _, recovered = await resumed(room, ada, 3)
        assert recovered.recovered
        assert [entry.offset for entry in recovered.entries] == [4, 5, 6, 7, 8]
        for position in (Position(1, 2), Position(1, 9), Position(2, 8)):
            _, recovered = await resumed(room, ada, position.offset, epoch=position.epoch)
            assert not recovered.recovered
            assert [entry.offset for entry in recovered.entries] == [6, 7, 8]
            assert recovered.offset == 8


async def test_a_recovery_that_has_no_room_comes_when_there_is_some(
    inboxes: PostgresSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        await joined(ada)
        await room.put(user)
        takes, asked = Outbox.takes, 0

        def takes_later(outbox: Outbox, size: int) -> bool:
            nonlocal asked
            asked += 1
            return asked > 2 and takes(outbox, size)

        monkeypatch.setattr(Outbox, "takes", takes_later)
        again, recovered = await resumed(room, ada, 0)
        assert asked == 3
        assert [entry.offset for entry in recovered.entries] == [1]
        await room.put(user)
        assert await offsets(again, 2) == [2]


async def test_nobody_gets_into_the_inbox_of_another(inboxes: PostgresSettings) -> None:
    async with open_mailroom(inboxes) as room:
        ada, eve = await room.house.player("ada"), await room.house.player("eve")
        topic = f"user:{user_of(ada)}"
        await joined(ada)
        thief = room.house.connect()
        await thief.resume(room.house.token(eve), {topic: Position(1, 0)})
        (lost,) = await pushed(thief, TopicLost)
        assert (lost.topic, lost.code) == (topic, "not_joined")
        await room.put(user_of(ada))
        assert await offsets(ada, 1) == [1]
        assert not thief.got(InboxEntry)
        # Nor of one who is not there; nothing of it stays in memory.
        bob = await room.house.player("bob")
        thief = room.house.connect()
        await thief.resume(room.house.token(eve), {f"user:{user_of(bob)}": Position(1, 0)})
        assert (await pushed(thief, TopicLost))[0].code == "not_joined"
        await away(room, user_of(bob))
        await until(lambda: room.reading("users_online") == 1)


async def test_what_is_read_is_known_on_all_devices_and_never_unread_again(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        phone = await room.house.second_device(ada)
        user = user_of(ada)
        for _ in range(4):
            await room.put(user)
        await joined(ada)
        await joined(phone)
        assert await ada.ask(InboxRead(offset=3)) == InboxMark(1, 4, 3, 1)
        for player in (ada, phone):
            (marked,) = await pushed(player, InboxMarked)
            assert (marked.user, marked.offset, marked.read, marked.unread) == (user, 4, 3, 1)
        assert await phone.ask(InboxRead(offset=1)) == InboxMark(1, 4, 3, 1)
        assert await phone.ask(InboxRead(offset=3)) == InboxMark(1, 4, 3, 1)
        await phone.settle()
        assert not phone.got(InboxMarked)
        assert await phone.ask(InboxRead(offset=2**53)) == InboxMark(1, 4, 4, 0)
        await ada.ask(InboxLeave())
        await phone.ask(InboxLeave())
        await away(room, user)
        await room.put(user)
        state = await joined(ada)
        assert (state.offset, state.read, state.unread) == (5, 4, 1)
        # An inbox that was always empty has nothing to mark.
        bob = await room.house.player("bob")
        await joined(bob)
        assert await bob.ask(InboxRead(offset=7)) == InboxMark(1, 0, 0, 0)


async def test_history_is_paged_from_memory_and_from_the_table(inboxes: PostgresSettings) -> None:
    async with open_mailroom(inboxes, SMALL) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        for number in range(1, 13):
            await room.put(user, payload=number)
        await joined(ada)
        for before, limit, wanted, more in (
            (0, 3, [10, 11, 12], True),
            (0, 5, [8, 9, 10, 11, 12], True),
            (12, 2, [10, 11], True),
            (10, 4, [6, 7, 8, 9], True),
            (5, 10, [1, 2, 3, 4], False),
            (1, 10, [], False),
            (99, 2, [11, 12], True),
        ):
            found = await page(ada, before, limit)
            assert ([entry.payload for entry in found.entries], found.more) == (wanted, more)
            assert (found.epoch, found.offset, found.unread) == (1, 12, 12)
        assert await ada.refused(InboxHistory(limit=11)) == "out_of_range"


async def test_a_page_has_fewer_entries_where_they_are_long(inboxes: PostgresSettings) -> None:
    settings = InboxSettings(recent=2, answer_bytes=2500)
    async with open_mailroom(inboxes, settings) as room:
        ada = await room.house.player("ada")
        for _ in range(6):
            await room.put(user_of(ada), payload="x" * 1000)
        assert [entry.offset for entry in (await joined(ada)).entries] == [5, 6]
        found = await page(ada, 0, 5)
        assert ([entry.offset for entry in found.entries], found.more) == ([5, 6], True)
        found = await page(ada, 3, 5)
        assert ([entry.offset for entry in found.entries], found.more) == ([1, 2], False)


async def test_an_inbox_that_crashes_skips_nothing_and_says_nothing_twice(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        await joined(ada)
        await room.put(user)
        assert await offsets(ada, 1) == [1]
        before = room.inbox(user)
        room.house.break_owner("user", user)
        await room.put(user)
        await until(lambda: room.inbox(user) is not before)
        for _ in range(2):
            await room.put(user)
        assert await offsets(ada, 4) == [2, 3, 4]
        assert (await page(ada)).offset == 4
        assert not ada.got(InboxRecovered)


async def test_an_inbox_that_is_back_after_a_crash_pushes_what_it_had_not(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes, hints=False) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        await room.put(user)
        await joined(ada)
        await room.put(user)
        await room.put(user)
        room.house.break_owner("user", user)
        assert await offsets(ada, 3) == [2, 3]


async def test_what_is_committed_while_an_inbox_is_read_is_not_lost(
    inboxes: PostgresSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailroom(inboxes, InboxSettings(look_every_s=3600)) as room:
        ada = await room.house.player("ada")
        ask = room.facts.ask

        async def ask_slowly(query: msgspec.Struct) -> Any:
            answer = await ask(query)
            monkeypatch.undo()
            await room.put(user_of(ada))
            return answer

        monkeypatch.setattr(room.facts, "ask", ask_slowly)
        assert (await joined(ada)).offset == 0
        assert await offsets(ada, 1) == [1]


async def test_an_inbox_that_fails_for_good_lets_its_sessions_go(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes, InboxSettings(look_every_s=0.01)) as room:
        ada, bob = await room.house.player("ada"), await room.house.player("bob")
        await joined(ada)
        await joined(bob)
        for _ in range(4):
            room.house.break_owner("user", user_of(ada))
        (lost,) = await pushed(ada, TopicLost)
        assert (lost.topic, lost.code) == (f"user:{user_of(ada)}", "failed")
        await until(lambda: room.reading("users_online") == 1)
        await room.put(user_of(ada), user_of(bob))
        assert await offsets(bob, 1) == [1]


async def test_a_hint_that_got_lost_is_made_up_for_by_the_next_who_comes(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes, hints=False) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        await joined(ada)
        await room.put(user)
        await room.put(user)
        phone = await room.house.second_device(ada)
        assert (await joined(phone)).offset == 2
        assert await offsets(ada, 2) == [1, 2]
        assert not phone.got(InboxEntry)


async def test_who_joins_again_and_again_has_nothing_read_for_it(
    inboxes: PostgresSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        await room.put(user_of(ada))
        state = await joined(ada)
        monkeypatch.setattr(room.facts, "ask", None)
        assert await joined(ada) == state


async def test_a_loop_that_takes_no_more_calls_loses_hints_and_no_entry(
    inboxes: PostgresSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailroom(inboxes, InboxSettings(look_every_s=3600)) as room:
        ada = await room.house.player("ada")
        await joined(ada)

        def full(*_: object) -> None:
            raise MailboxFull("as many calls wait as may")

        monkeypatch.setattr(room.house.system, "call_soon", full)
        await room.put(user_of(ada))
        monkeypatch.undo()
        await room.put(user_of(ada))
        assert await offsets(ada, 2) == [1, 2]


async def test_a_hint_that_got_lost_is_made_up_for_by_the_lookout(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes, InboxSettings(look_every_s=0.01), hints=False) as room:
        ada, bob = await room.house.player("ada"), await room.house.player("bob")
        await joined(ada)
        await joined(bob)
        await room.put(user_of(bob), user_of(ada))
        assert await offsets(ada, 1) == [1]
        assert await offsets(bob, 1) == [1]
        assert room.reading("inbox_late") >= 2


async def test_entries_that_come_side_by_side_are_pushed_in_their_order(
    inboxes: PostgresSettings,
) -> None:
    """More than a page of entries come, while another page is read."""
    async with open_mailroom(inboxes, SMALL) as room:
        ada, bob = await room.house.player("ada"), await room.house.player("bob")
        await joined(ada)
        await joined(bob)
        async with trio.open_nursery() as nursery:
            for number in range(60):
                users = (user_of(ada), user_of(bob))[:: 1 if number % 2 else -1]
                nursery.start_soon(lambda: room.put(*users, by=f"{number}"))  # noqa: B023
        for player in (ada, bob):
            assert await offsets(player, 60) == list(range(1, 61))
        assert room.reading("inbox_entries_pushed") == 120


async def test_what_is_deleted_before_it_could_be_pushed_is_a_gap_that_is_told(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes, SMALL, hints=False) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        await joined(ada)
        for number in range(8):
            await room.put(user, payload=number)
        assert room.running.erase is not None
        await room.running.erase(user)
        (recovered,) = await pushed(ada, InboxRecovered)
        assert (recovered.recovered, recovered.offset, recovered.entries) == (False, 8, [])
        await room.put(user, payload="anew")
        phone = await room.house.second_device(ada)
        assert [entry.offset for entry in (await joined(phone)).entries] == [9]
        assert await offsets(ada, 9) == [9]


async def test_what_is_erased_is_gone_and_its_offsets_are_not_given_again(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        await joined(ada)
        await room.put(user, payload={"secret": 1})
        assert await offsets(ada, 1) == [1]
        assert room.running.export is not None
        (exported,) = await room.running.export(user)
        assert (exported["offset"], exported["payload"]) == (1, {"secret": 1})
        assert room.running.erase is not None
        await room.running.erase(user)
        assert await room.running.export(user) == []
        found = await page(ada)
        assert (found.offset, found.entries, found.more) == (1, [], False)
        await room.put(user)
        assert await offsets(ada, 2) == [2]


async def test_a_payload_that_no_client_could_be_told_keeps_nobody_from_the_others(
    inboxes: PostgresSettings,
) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        phone = await room.house.second_device(ada, JSON)
        await joined(ada)
        await joined(phone)
        odd = {b"\xff": 1, (1, 2): 2}
        for payload in (b"\xc1", b"", msgspec.msgpack.encode(odd), msgspec.msgpack.encode("fine")):
            await room.facts.execute(PutRaw(user_of(ada), payload), user="anyone")
        for player in (ada, phone):
            entries = await pushed(player, InboxEntry, 4)
            assert [entry.payload for entry in entries] == [None, None, None, "fine"]


@pytest.mark.parametrize(
    "value", ["x" * 99, {(1, 2): 3}, object(), 2**64, "\ud800"], ids=lambda value: repr(value)[:9]
)
def test_what_cannot_be_an_entry_is_refused_when_it_is_put(value: object) -> None:
    with pytest.raises(NoPayload):
        encoded(value, 64)


def test_a_server_without_inboxes_has_things_wait_for_one_that_has() -> None:
    class Without:
        def section(self, name: str, kind: type[InboxSettings]) -> InboxSettings:
            raise KeyError(name, kind)

    assert isinstance(Putting(Without()), Putting)


async def test_a_session_that_ends_is_out_of_its_inbox(inboxes: PostgresSettings) -> None:
    async with open_mailroom(inboxes) as room:
        ada = await room.house.player("ada")
        phone = await room.house.second_device(ada)
        await joined(ada)
        await joined(phone)
        await ada.ask(SessionClose())
        topic = f"user:{user_of(phone)}"
        await until(lambda: len(room.house.topics.members(topic)) == 1)
        await room.put(user_of(phone))
        assert await offsets(phone, 1) == [1]


async def test_a_resume_at_a_server_without_inboxes_is_told_that_there_is_none() -> None:
    """The answer must be final, because a client that is told `unavailable` tries again."""
    async with open_house() as house:
        ada = await house.player("ada")
        again = house.connect()
        topic = f"user:{user_of(ada)}"
        await again.resume(house.token(ada), {topic: Position(1, 3)})
        (lost,) = await pushed(again, TopicLost)
        assert (lost.topic, lost.code) == (topic, "not_joined")
        assert house.context.activations.refused == 0


async def test_a_store_that_is_away_is_said_to_be(inboxes: PostgresSettings) -> None:
    nowhere = PostgresSettings(url="postgresql://nobody@127.0.0.1:1/none")
    async with open_mailroom(inboxes, queries_at=nowhere) as room:
        ada = await room.house.player("ada")
        assert await ada.refused(InboxJoin()) == "unavailable"
        await away(room, user_of(ada))
        again = room.house.connect()
        topic = f"user:{user_of(ada)}"
        await again.resume(room.house.token(ada), {topic: Position(1, 0)})
        (lost,) = await pushed(again, TopicLost)
        assert (lost.topic, lost.code) == (topic, "unavailable")
