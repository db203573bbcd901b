"""Rooms and matches of names that nobody has used: looking at one leaves nothing behind.

How many of them one may look at is bounded, too. A room that was joined but never written to has no
epoch of its own. Its members are at offset 0, and get everything that is ever said in it, whatever
happens to the room.
"""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

import psycopg
import pytest
import trio
from trio.testing import MockClock

from actors.chat.room import room_kind
from actors.chat.settings import RoomSettings
from actors.edge.failures import Refused
from actors.edge.settings import SessionSettings
from actors.edge.topics import Topics
from actors.matches.rules.game import Rejected
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from actors.runtime.system import ActorSystem
from persistence import PostgresSettings, RedisSettings
from protocol.messages.envelope import Position
from protocol.messages.match import MatchCreate, MatchInput, MatchJoin, MatchLeave
from protocol.messages.room import (
    RoomJoin,
    RoomLeave,
    RoomMessage,
    RoomRecovered,
    RoomRestarted,
    RoomSend,
    RoomState,
)
from protocol.messages.session import SessionClose, SessionResume, TopicLost
from tests.actors.games import Counting
from tests.actors.players import House, at, bodies, in_room, joined, open_house, token_of
from tests.actors.served import serve
from tests.actors.table import settled, table


def there(house: House, kind: str) -> list[str]:
    return [ref.key for ref in house.system.actors(kind)]


# --- what stays -----------------------------------------------------------------------------------


async def test_rooms_that_were_only_joined_and_left_leave_nothing(
    autojump_clock: MockClock,
) -> None:
    events, snapshots = MemoryEventStore(), MemorySnapshotStore()
    async with open_house(events=events, snapshots=snapshots) as house:
        ada = await house.player("ada")
        for number in range(100):
            await ada.ask(RoomJoin(room=f"r{number}"))
            await ada.ask(RoomLeave(room=f"r{number}"))
        await ada.settle()
        assert there(house, "room") == []
    assert not events.epochs
    assert not snapshots.rows


async def test_a_room_whose_only_member_goes_without_a_word_leaves_nothing(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await joined(house, "ada")
        assert there(house, "room") == ["lobby"]
        await ada.ask(SessionClose())
        await ada.settle()
        assert there(house, "room") == []
    assert not events.epochs


async def test_a_room_that_nobody_gets_into_leaves_nothing(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with ActorSystem() as system:
        system.use_stores(events)
        system.register(room_kind(Topics(), RoomSettings(), lambda: 0))
        system.ref("room", "lobby").tell("a stranger's word")
        await trio.testing.wait_all_tasks_blocked()
        assert list(system.actors("room")) == []
    assert not events.epochs


async def test_a_written_room_stays_for_a_while(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await joined(house, "ada")
        await ada.ask(RoomSend(room="lobby", body="hello"))
        await ada.ask(RoomLeave(room="lobby"))
        await ada.settle()
        assert there(house, "room") == ["lobby"]
    assert dict(events.epochs) == {("room", "lobby"): 1}


@pytest.mark.parametrize("how", ["join", "resume", "input"])
async def test_matches_that_never_existed_leave_nothing(
    autojump_clock: MockClock, how: str
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await house.player("ada")
        known = dict(events.epochs)
        for number in range(100):
            match = f"tictactoe-{number}"
            if how == "join":
                assert await ada.refused(MatchJoin(match=match)) == "unknown_match"
                await ada.ask(MatchLeave(match=match))
            elif how == "input":
                code = await ada.refused(MatchInput(match=match, seq=1, input=1))
                assert code in {"unknown_match", "not_joined"}
        if how == "resume":
            bob = house.connect()
            await bob.resume(
                token_of(ada), {f"match:tictactoe-{n}": Position(1, 0) for n in range(60)}
            )
            await bob.settle()
            assert [lost.code for lost in bob.got(TopicLost)] == ["unknown_match"] * 60
        await ada.settle()
        assert there(house, "match") == []
        assert dict(events.epochs) == known


class Choosy(Counting):
    name: ClassVar[str] = "choosy"

    def __init__(self, seed: int, params: dict[str, Any]) -> None:
        super().__init__(seed, params)
        raise Rejected("not like that")


async def test_a_match_that_its_game_will_not_have_leaves_nothing(
    autojump_clock: MockClock,
) -> None:
    async with table(Choosy) as one:
        with pytest.raises(Refused):
            await one.create("choosy")
        await settled()
        assert list(one.system.actors("match")) == []
        assert [kind for kind, _ in one.stores.events.epochs if kind == "match"] == []


async def test_a_name_that_was_only_looked_at_is_in_no_table(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with serve(postgres, redis) as served, served.guest("ada") as ada:
        for number in range(20):
            await ada.ask(RoomJoin(room=f"{unique}-{number}"))
        await ada.ask(RoomSend(room=f"{unique}-7", body="hello"))
        for number in range(20):
            await ada.ask(RoomLeave(room=f"{unique}-{number}"))
    with psycopg.connect(postgres.url) as connection:
        found = connection.execute(
            f"SELECT key, epoch FROM {postgres.schema}.incarnations WHERE key LIKE %s",
            (f"{unique}%",),
        ).fetchall()
    assert found == [(f"{unique}-7", 1)]


# --- positions ------------------------------------------------------------------------------------


async def test_a_room_that_crashes_before_its_first_message_is_as_it_was(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, state = await in_room(house, "ada")
        assert at(state) == Position(1, 0)
        house.break_room("lobby")
        await trio.sleep(1)
        await ada.settle()
        assert ada.got(RoomRestarted) == [RoomRestarted(room="lobby", epoch=1, offset=0)]
        await ada.ask(RoomSend(room="lobby", body="hello"))
        assert bodies(ada) == ["hello"]


async def test_a_room_joined_here_and_first_written_elsewhere_is_told_in_full(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as one, open_house(events=events) as two:
        ada, state = await in_room(one, "ada")
        assert at(state) == Position(1, 0)
        bob = await joined(two, "bob")
        await bob.ask(RoomSend(room="lobby", body="b1"))
        await bob.ask(RoomSend(room="lobby", body="b2"))
        assert await ada.refused(RoomSend(room="lobby", body="a1")) == "unavailable"
        await trio.sleep(1)
        await ada.settle()
        (restarted,) = ada.got(RoomRestarted)
        assert restarted.offset == 0
        pushed = ada.got(RoomMessage)
        assert [(push.offset, push.body) for push in pushed] == [(1, "b1"), (2, "b2")]
        assert (await ada.ask(RoomSend(room="lobby", body="a3"))).offset == 3


async def test_who_left_an_unwritten_room_in_a_crash_resumes_to_all_that_was_said_since(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, state = await in_room(house, "ada")
        token = token_of(ada)
    async with open_house(events=events) as house:  # the server died, and another took its place
        bob = await joined(house, "bob")
        await bob.ask(RoomSend(room="lobby", body="b1"))
        ada = house.connect()
        await ada.resume(token, {"room:lobby": at(state)})
        await ada.settle()
        (recovered,) = ada.got(RoomRecovered)
        assert recovered.recovered
        assert [message.body for message in recovered.messages] == ["b1"]


async def test_nothing_is_pushed_under_an_epoch_that_another_may_still_take(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as one:
        ada, state = await in_room(one, "ada")
        token = token_of(ada)
        events.away = True
        ada.tell(RoomSend(ref=7, room="lobby", body="a1"))
        await trio.sleep(1)
        await ada.settle()
        assert ada.got(RoomMessage) == []  # or it would be offset 1 of epoch 1, as is b1
    events.away = False
    async with open_house(events=events) as two:
        bob = await joined(two, "bob")
        await bob.ask(RoomSend(room="lobby", body="b1"))
        assert events.epochs["room", "lobby"] == 1
        ada = two.connect()
        await ada.resume(token, {"room:lobby": at(state)})
        await ada.settle()
        (recovered,) = ada.got(RoomRecovered)
        assert [message.body for message in recovered.messages] == ["b1"]


async def test_an_answer_to_the_first_activation_that_got_lost_costs_one_refusal(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await joined(house, "ada")
        events.lose_next = 1
        send = RoomSend(room="lobby", body="a1", key="k")
        assert await ada.refused(send) == "unavailable"
        await trio.sleep(1)
        assert (await ada.ask(send)).offset == 1
        assert bodies(ada) == ["a1"]


# --- the budget -----------------------------------------------------------------------------------


def budget(**limits: float) -> SessionSettings:
    return SessionSettings(messages_per_s=0, bytes_per_s=0, topics=1000, **limits)  # type: ignore[arg-type]  # counts are ints


async def test_a_session_may_bring_only_so_many_rooms_to_life_at_a_time(
    autojump_clock: MockClock,
) -> None:
    limits = budget(activations_per_s=2.0, activations_burst=3)
    async with open_house(sessions=limits) as house:
        ada, bob = await house.player("ada"), await house.player("bob")
        for number in range(3):
            await ada.ask(RoomJoin(room=f"r{number}"))
        assert await ada.refused(RoomJoin(room="one-more")) == "rate_limited"
        assert await ada.refused(MatchJoin(match="tictactoe-x")) == "rate_limited"
        assert await ada.refused(MatchInput(match="tictactoe-x", seq=1, input=1)) == "rate_limited"
        assert there(house, "match") == []
        await bob.ask(RoomJoin(room="another"))
        state: RoomState = await ada.ask(RoomJoin(room="another"))  # it is there, and costs nothing
        assert state.members_total == 2
        await trio.sleep(0.6)
        await ada.ask(RoomJoin(room="one-more"))
        assert house.gateway.activations.refused == 3


async def test_all_sessions_together_may_bring_only_so_many_rooms_to_life(
    autojump_clock: MockClock,
) -> None:
    limits = budget(activations_all_per_s=1.0, activations_all_burst=2)
    async with open_house(sessions=limits) as house:
        for name in ("ada", "bob"):
            await (await house.player(name)).ask(RoomJoin(room=f"{name}s"))
        cyd = await house.player("cyd")
        assert await cyd.refused(RoomJoin(room="cyds")) == "busy"
        await cyd.ask(RoomJoin(room="adas"))
        await trio.sleep(1)
        await cyd.ask(RoomJoin(room="cyds"))


async def test_sessions_of_one_address_may_bring_only_so_many_rooms_to_life(
    autojump_clock: MockClock,
) -> None:
    limits = budget(address_activations_per_s=1.0, address_activations_burst=2)
    async with open_house(sessions=limits) as house:
        for name in ("ada", "bob"):
            player = house.connect(address="203.0.113.7")
            await player.open(name)
            await player.ask(RoomJoin(room=f"{name}s"))
        cyd = house.connect(address="203.0.113.7")
        await cyd.open("cyd")
        assert await cyd.refused(RoomJoin(room="cyds")) == "rate_limited"
        assert await cyd.refused(MatchCreate(game="tictactoe")) == "rate_limited"
        other = house.connect(address="198.51.100.9")
        await other.open("dee")
        await other.ask(RoomJoin(room="dees"))
        await trio.sleep(1)
        await cyd.ask(RoomJoin(room="cyds"))


async def test_a_match_made_costs_as_much_as_one_brought_to_life(
    autojump_clock: MockClock,
) -> None:
    limits = budget(activations_per_s=1.0, activations_burst=2)
    async with open_house(sessions=limits) as house:
        ada = await house.player("ada")
        for _ in range(2):
            await ada.ask(MatchCreate(game="tictactoe"))
        assert await ada.refused(MatchCreate(game="tictactoe")) == "rate_limited"
        await trio.sleep(1)
        await ada.ask(MatchCreate(game="tictactoe"))


async def test_what_only_tells_a_client_that_has_gone_is_dropped_and_what_it_said_acts(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, _ = await in_room(house, "ada")
        ada.tell(RoomSend(room="lobby", body="a last word"))
        for number in range(50):
            ada.tell(RoomJoin(room=f"r{number}"))
            ada.tell(RoomLeave(room=f"r{number}"))
        ada.tell(MatchCreate(game="tictactoe", key="k"))
        ada.leave()
        await trio.sleep(1)
        assert there(house, "room") == ["lobby"]
        assert there(house, "match") == []
        assert house.gateway.activations.refused == 0
        assert [row[2] for row in events.rows("room", "lobby")] == [1]


async def test_a_session_that_its_client_has_closed_and_gone_is_over(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        ada.tell(SessionClose())
        ada.leave()
        await trio.sleep(1)
        assert there(house, "session") == []


async def test_a_resume_whose_client_has_gone_brings_nothing_to_life(
    autojump_clock: MockClock,
) -> None:
    async with open_house(sessions=budget(activations_per_s=0.001, activations_burst=1)) as house:
        ada = await house.player("ada")
        token = token_of(ada)
        ada.tell(RoomLeave(room="r0"))  # so that the resume has to wait its turn
        ada = house.connect()
        ada.tell(SessionResume(ref=1, token=token, positions={"room:r1": Position(1, 0)}))
        ada.leave()
        await trio.sleep(1)
        assert there(house, "room") == []
        ada = house.connect()
        await ada.resume(token, {})
        await ada.ask(RoomJoin(room="r2"))  # it has paid for nothing yet
        ada.leave()
        await trio.sleep(61)
        assert there(house, "session") == []


async def test_a_resume_beyond_the_budget_is_told_of_each_topic_that_it_may_try_again(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    limits = budget(activations_per_s=1.0, activations_burst=2)
    async with open_house(events=events, sessions=limits) as house:
        ada = await house.player("ada")
        token = token_of(ada)
    async with open_house(events=events, sessions=limits) as house:
        ada = house.connect()
        names = [secrets.token_hex(4) for _ in range(5)]
        await ada.resume(token, {f"room:{name}": Position(1, 0) for name in names})
        await ada.settle()
        assert len(ada.got(RoomRecovered)) == 2
        lost = ada.got(TopicLost)
        assert [topic.code for topic in lost] == ["rate_limited"] * 3
        for topic in lost:
            await trio.sleep(1)
            await ada.ask(RoomJoin(room=topic.topic.partition(":")[2]))
