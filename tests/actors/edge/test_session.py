"""Sessions: opening, requests, limits. No sockets; the clock is trio's."""

from __future__ import annotations

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.chat.settings import RoomSettings
from actors.edge.session import Session
from actors.edge.settings import SessionSettings
from actors.runtime.loop_cell import LoopCell
from actors.runtime.memory import MemoryEventStore
from protocol.codec import JSON, MSGPACK, Encoding
from protocol.errors import (
    FLOODING,
    OVERLOADED,
    SESSION_FAILED,
)
from protocol.messages import EVERY_OP
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.match import MatchCreate, MatchEnded, MatchInput, MatchJoin
from protocol.messages.room import (
    RoomHistory,
    RoomJoin,
    RoomLeave,
    RoomMembers,
    RoomMessage,
    RoomSend,
)
from protocol.messages.session import Ping, Pong, SessionClose, SessionOpen, SessionResume
from protocol.messages.storage import ObjectToRead, StorageRead
from tests.actors.players import (
    House,
    bodies,
    in_room,
    joined,
    open_house,
    sessions,
    token_of,
    unlimited,
)

pytestmark = pytest.mark.usefixtures("clients_together")


@pytest.mark.parametrize("hook", ["on_stop", "on_start"])
async def test_a_session_whose_hook_fails_leaves_nothing_behind(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    def broken(_: Session) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Session, hook, broken)
    async with open_house() as house:
        ada = house.connect()
        ada.tell(SessionOpen(ref=999, name="ada"))
        await trio.sleep(1)
        if hook == "on_stop":
            await ada.ask(SessionClose())
            await trio.sleep(1)
        assert not house.topics.sessions


@pytest.mark.parametrize("asks", [True, False], ids=["one that asks", "one that listens"])
async def test_the_client_of_a_session_that_was_cut_off_with_its_node_is_told_to_come_back(
    autojump_clock: MockClock, asks: bool
) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        (session,) = sessions(house)
        cell = house.system.lookup("session", session)
        assert isinstance(cell, LoopCell)
        cell.kill("fenced")
        if asks:
            ada.tell(Ping())
        await ada.settle()
        assert ada.closed is SESSION_FAILED
        again = house.connect()
        opened = await again.resume(token_of(ada))
        assert opened.user == (ada.opened and ada.opened.user)


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [MSGPACK, JSON])
async def test_a_guest_opens_a_session(autojump_clock: MockClock, encoding: Encoding) -> None:
    async with open_house() as house:
        player = house.connect(encoding)
        opened = await player.open("ada")
        assert opened.name == "ada"
        assert not opened.resumed
        assert (opened.resume_within_s, opened.keepalive_s) == (60.0, 20.0)
        pong: Pong = await player.ask(Ping())
        assert pong.time > 1_600_000_000_000


async def test_without_a_session_nothing_else_is_answered(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        player = house.connect()
        for request in (Ping(), RoomJoin(room="lobby"), SessionClose()):
            assert await player.refused(request) == "no_session"
        await player.open("ada")
        assert await player.ask(Ping())


async def test_a_connection_has_one_session(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        player = await house.player("ada")
        assert await player.refused(SessionOpen(name="bob")) == "session_open"
        assert await player.refused(SessionResume(token=token_of(player))) == "session_open"
        assert len(sessions(house)) == 1


async def test_a_token_of_nobodys_is_refused_and_a_session_may_still_be_opened(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        player = house.connect()
        assert await player.refused(SessionResume(token="x" * 100)) == "bad_token"
        await player.open("ada")


async def test_there_are_only_so_many_sessions(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(max_sessions=1)) as house:
        await house.player("ada")
        player = house.connect()
        player.tell(SessionOpen(ref=1, name="bob"))
        await player.settle()
        assert player.closed == OVERLOADED


# --- requests ------------------------------------------------------------------------------------


async def test_a_ref_in_flight_cannot_be_used_twice(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, _ = await in_room(house, "ada")
        events.delay_s = 1.0
        ada.tell(RoomSend(ref=7, room="lobby", body="first"))
        ada.tell(RoomSend(ref=7, room="lobby", body="second"))
        ada.tell(Ping(ref=7))
        await ada.settle()
        assert [reply.code for reply in ada.replies if isinstance(reply, ErrorReply)] == [
            "ref_in_use",
            "ref_in_use",
        ]
        ada.replies.clear()
        assert isinstance(await ada.replied(7), Ok)
        ada.tell(Ping(ref=7))  # free again
        assert isinstance(await ada.replied(7), Ok)
        assert [row[2] for row in events.rows("room", "lobby")] == [1]


async def test_only_so_many_requests_are_answered_at_once(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, sessions=unlimited(in_flight=3)) as house:
        ada, _ = await in_room(house, "ada")
        events.delay_s = 1.0
        for ref in range(10, 14):
            ada.tell(RoomSend(ref=ref, room="lobby", body="x"))
        refused = await ada.replied(13)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry) == ("too_many_requests", True)
        for ref in range(10, 13):
            assert isinstance(await ada.replied(ref), Ok)


async def test_a_node_answers_only_so_many_at_once_and_who_comes_and_goes_is_let_through(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    settings = msgspec.structs.replace(unlimited(), in_flight_all=2)
    async with open_house(events=events, sessions=settings) as house:
        ada, _ = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        events.delay_s = 1.0
        for ref in (10, 11):
            ada.tell(RoomSend(ref=ref, room="lobby", body="x"))
        await trio.testing.wait_all_tasks_blocked()
        bob.tell(RoomSend(ref=12, room="lobby", body="x"))
        refused = await bob.replied(12)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry) == ("busy", True)
        bob.tell(RoomJoin(ref=13, room="lobby"))
        assert isinstance(await bob.replied(13), Ok)
        for ref in (10, 11):
            assert isinstance(await ada.replied(ref), Ok)
        bob.tell(RoomSend(ref=14, room="lobby", body="x"))
        assert isinstance(await bob.replied(14), Ok)


async def test_without_a_ref_a_request_acts_and_is_not_answered(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, _ = await in_room(house, "ada")
        for request in (
            Ping(),
            RoomSend(room="lobby", body="x"),
            RoomSend(room="elsewhere", body="x"),
            RoomJoin(room="library"),
            RoomHistory(room="lobby", limit=10_000),
        ):
            ada.tell(request)
        await trio.sleep(10)
        await ada.settle()
        assert ada.replies == []
        assert [push.body for push in ada.got(RoomMessage)] == ["x"]
        assert (await ada.ask(RoomMembers(room="library"))).members_total == 1


async def test_requests_of_one_read_are_handled_in_order(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = house.connect()
        ada.tell(SessionOpen(ref=1, name="ada"))
        ada.tell(RoomJoin(ref=2, room="lobby"))
        ada.tell(RoomSend(ref=3, room="lobby", body="hello"))
        ada.tell(RoomHistory(ref=4, room="lobby"))
        assert [type(await ada.replied(ref)) for ref in (1, 2, 3, 4)] == [Ok] * 4


async def test_a_session_is_in_only_so_many_topics(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(topics=2)) as house:
        ada, _ = await in_room(house, "ada", "one")
        await ada.ask(RoomJoin(room="two"))
        assert await ada.refused(RoomJoin(room="three")) == "too_many_topics"
        await ada.ask(RoomJoin(room="two"))
        assert [ref.key for ref in house.system.actors("room")] == ["one", "two"]


async def test_a_join_that_was_refused_takes_no_place(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(topics=1), rooms=RoomSettings(members=1)) as house:
        await in_room(house, "ada", "full")
        bob = await house.player("bob")
        assert await bob.refused(RoomJoin(room="full")) == "room_full"
        assert (await bob.ask(RoomJoin(room="other"))).members_total == 1


async def test_input_for_a_match_one_is_not_in_is_refused(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        assert await ada.refused(MatchInput(match="m1", seq=1, input={})) == "not_joined"
        created = await ada.ask(MatchCreate(game="tictactoe"))
        request = MatchInput(match=created.match, seq=1, input={"cell": 0})
        assert await ada.refused(request) == "not_joined"


async def test_the_input_that_ended_a_match_is_answered_again_to_a_new_session(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, bob = await house.player("ada"), await house.player("bob")
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        for player in (ada, bob):
            await player.ask(MatchJoin(match=match))
        for seq, (player, cell) in enumerate([(ada, 0), (bob, 3), (ada, 1), (bob, 4)], start=1):
            await player.ask(MatchInput(match=match, seq=seq, input={"cell": cell}))
        winning = MatchInput(match=match, seq=5, input={"cell": 2})
        first = await ada.ask(winning)
        assert ada.got(MatchEnded)
        assert await ada.ask(winning) == first
        after = MatchInput(match=match, seq=6, input={"cell": 8})
        assert await ada.refused(after) == "match_ended"
    async with open_house(events=events) as house:  # its session has not lived on
        again = house.connect()
        await again.resume(token_of(ada))
        assert await again.ask(winning) == first
        assert await again.refused(after) == "match_ended"
        stranger = await house.player("cyd")
        assert await stranger.refused(winning) == "not_joined"


async def test_a_client_whose_session_is_full_is_not_read_from(
    autojump_clock: MockClock,
) -> None:
    async with open_house(sessions=unlimited(mailbox=4)) as house:
        ada = await house.player("ada")
        held_back = None
        sent = 0
        while held_back is None:
            sent += 1
            held_back = ada.handler.received(Ping(ref=1000 + sent))
        assert sent == 5
        await held_back
        await ada.settle()
        assert [reply.ref for reply in ada.replies] == [1000 + n for n in range(1, sent + 1)]


# --- what bears no ref ---------------------------------------------------------------------------


async def test_a_node_that_refuses_sends_refuses_those_without_a_ref_too(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    settings = msgspec.structs.replace(unlimited(), in_flight_all=2)
    async with open_house(events=events, sessions=settings) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        await ada.ask(RoomSend(room="lobby", body="a room's first waits for an epoch"))
        ada.got(RoomMessage)
        events.delay_s = 1.0
        for ref in (1, None):  # what bears no ref is under way, too
            ada.tell(RoomSend(ref=ref, room="lobby", body="taken up"))
        await ada.settle()
        assert house.gateway.admission.under_way == 2
        for _ in range(50):
            bob.tell(RoomSend(room="lobby", body="shed"))
        await bob.settle()
        assert bodies(ada) == ["taken up"] * 2
        assert house.gateway.admission.shed == 50
        assert isinstance(await ada.replied(1), Ok)
        await ada.settle()
        assert house.gateway.admission.under_way == 0


async def test_what_bears_no_ref_counts_among_what_a_session_has_under_way(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, sessions=unlimited(in_flight=3)) as house:
        ada = await joined(house, "ada")
        await ada.ask(RoomSend(room="lobby", body="a room's first waits for an epoch"))
        ada.got(RoomMessage)
        events.delay_s = 1.0
        for _ in range(5):
            ada.tell(RoomSend(room="lobby", body="x"))
        await ada.settle()
        assert bodies(ada) == ["x"] * 3
        assert await ada.refused(RoomMembers(room="lobby")) == "too_many_requests"


# --- what it costs -------------------------------------------------------------------------------


async def test_a_request_counts_as_often_as_it_costs(autojump_clock: MockClock) -> None:
    settings = SessionSettings(messages_per_s=1, messages_burst=13)
    async with open_house(sessions=settings) as house:
        ada = await house.player("ada")  # 1
        for _ in range(2):  # 5 each
            await ada.ask(MatchCreate(game="tictactoe"))
        assert await ada.refused(MatchCreate(game="tictactoe")) == "rate_limited"
        assert await ada.ask(Ping())


async def test_a_request_that_names_many_things_counts_them(autojump_clock: MockClock) -> None:
    objects = [ObjectToRead(collection="saves", key=str(n)) for n in range(12)]
    requests = [StorageRead(objects=objects[:count]) for count in (0, 1, 12)]
    assert [EVERY_OP.cost_of(request) for request in requests] == [2, 3, 14]
    async with open_house(sessions=SessionSettings(messages_per_s=1, messages_burst=14)) as house:
        ada = await house.player("ada")  # 1
        assert await ada.refused(StorageRead(objects=objects)) == "rate_limited"
        for _ in range(13):
            await ada.ask(Ping())


async def test_whoever_is_too_fast_is_told_when_to_try_again(autojump_clock: MockClock) -> None:
    settings = SessionSettings(messages_per_s=0.5, messages_burst=2)
    async with open_house(sessions=settings) as house:
        ada = await house.player("ada")
        await ada.ask(Ping())
        ada.tell(Ping(ref=77))
        refused = await ada.replied(77)
        assert isinstance(refused, ErrorReply)
        assert refused.retry_in_s == pytest.approx(2.0, abs=0.02)
        assert refused.message == "This session sends too fast. Retry in 2 s."
        await trio.sleep(2.0)
        assert await ada.ask(Ping())


async def crowded(house: House, members: int) -> None:
    """Fill the lobby with other players."""
    for number in range(members):
        await joined(house, f"n{number}")


async def test_a_send_is_charged_by_how_many_it_goes_to(autojump_clock: MockClock) -> None:
    settings = msgspec.structs.replace(
        unlimited(), deliveries_per_s=101.0, deliveries_burst=3 * 101
    )
    async with open_house(sessions=settings) as house:
        ada = await joined(house, "ada")
        await crowded(house, 100)
        for body in ("one", "two", "three"):
            await ada.ask(RoomSend(room="lobby", body=body, key=body))
        ada.tell(RoomSend(ref=900, room="lobby", body="four"))
        refused = await ada.replied(900)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry) == ("rate_limited", True)
        assert "It would go to 101 at once." in refused.message
        assert 0.9 < (refused.retry_in_s or 0) <= 1.0
        await ada.ask(RoomSend(room="lobby", body="one", key="one"))  # a retry goes to nobody
        ada.tell(RoomSend(room="lobby", body="without a ref"))
        await trio.sleep(1.0)
        await ada.ask(RoomSend(room="lobby", body="four"))
        assert bodies(ada) == ["one", "two", "three", "four"]
        assert house.topics.fanout is not None
        assert house.topics.fanout.refused == 2


async def test_coming_into_a_crowd_and_leaving_it_is_charged(autojump_clock: MockClock) -> None:
    settings = msgspec.structs.replace(unlimited(), deliveries_per_s=1.0, deliveries_burst=450)
    async with open_house(sessions=settings, rooms=RoomSettings(presence_each=200)) as house:
        await crowded(house, 101)
        ada = await house.player("ada")
        for _ in range(2):
            await ada.ask(RoomJoin(room="lobby"))
            await ada.ask(RoomJoin(room="lobby"))  # one who is here tells nobody
            await ada.ask(RoomLeave(room="lobby"))
        assert await ada.refused(RoomJoin(room="lobby")) == "rate_limited"
        await ada.ask(RoomJoin(room="elsewhere"))


async def test_all_sessions_together_have_a_budget_of_deliveries(
    autojump_clock: MockClock,
) -> None:
    settings = msgspec.structs.replace(
        unlimited(), deliveries_all_per_s=101.0, deliveries_all_burst=101
    )
    async with open_house(sessions=settings) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        await crowded(house, 99)
        await ada.ask(RoomSend(room="lobby", body="one"))
        assert await bob.refused(RoomSend(room="lobby", body="two")) == "busy"
        await ada.ask(RoomJoin(room="small"))
        await ada.ask(RoomSend(room="small", body="a small room notices nothing"))
        await trio.sleep(1.0)
        await bob.ask(RoomSend(room="lobby", body="two"))


async def test_many_sessions_of_one_address_do_not_multiply_its_pushes(
    autojump_clock: MockClock,
) -> None:
    settings = msgspec.structs.replace(
        unlimited(), address_deliveries_per_s=103.0, address_deliveries_burst=520
    )
    async with open_house(sessions=settings, rooms=RoomSettings(presence_each=200)) as house:
        await crowded(house, 101)
        mallory = [house.connect(address="192.0.2.1") for _ in range(2)]
        for one in mallory:
            await one.open("mallory")
            await one.ask(RoomJoin(room="lobby"))  # 202 and 204, with its leaving
        await mallory[0].ask(RoomSend(room="lobby", body="x"))
        assert await mallory[1].refused(RoomSend(room="lobby", body="x")) == "rate_limited"
        ada = house.connect(address="192.0.2.2")
        await ada.open("ada")
        await ada.ask(RoomJoin(room="lobby"))
        await ada.ask(RoomSend(room="lobby", body="others may"))
        await trio.sleep(1.1)
        await mallory[1].ask(RoomSend(room="lobby", body="x"))


# --- limits of an address ------------------------------------------------------------------------


async def test_a_flood_of_new_sessions_keeps_nobody_out_who_comes_back(
    autojump_clock: MockClock,
) -> None:
    settings = msgspec.structs.replace(
        unlimited(), address_opens_per_s=1.0, address_opens_burst=5, address_sessions=0
    )
    async with open_house(sessions=settings) as house:
        ada = house.connect(address="192.0.2.1")
        await ada.open("ada")
        ada.leave()
        flood = [house.connect(address="192.0.2.1") for _ in range(20)]
        for mallory in flood:
            mallory.tell(SessionOpen(ref=1, name="mallory"))
        answers = [await mallory.replied(1) for mallory in flood]
        for mallory in flood:
            mallory.leave()
        assert sum(isinstance(answer, Ok) for answer in answers) == 4
        refused = answers[-1]
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry) == ("too_many_sessions", True)
        assert refused.retry_in_s == pytest.approx(1.0, abs=0.02)
        again = house.connect(address="192.0.2.1")
        assert (await again.resume(token_of(ada))).resumed
        elsewhere = house.connect(address="192.0.2.2")
        await elsewhere.open("bob")
        nobodys = house.connect()
        await nobodys.open("cyd")


async def test_the_last_sessions_of_a_node_are_for_those_who_come_back(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await house.player("ada")
    await trio.sleep(1.0)  # the next node begins its ids with the time
    async with open_house(events=events, sessions=unlimited(max_sessions=10)) as house:
        for number in range(9):
            await house.player(f"n{number}")
        late = house.connect()
        late.tell(SessionOpen(ref=1, name="late"))
        await late.settle()
        assert late.closed == OVERLOADED
        again = house.connect()
        assert not (await again.resume(token_of(ada))).resumed
        once_more = house.connect()
        assert (await once_more.resume(token_of(again))).resumed  # its session is there already
        too_late = house.connect()
        too_late.tell(SessionResume(ref=1, token=token_of(ada)))  # the one of the first node is not
        await too_late.settle()
        assert too_late.closed == OVERLOADED


async def test_sessions_of_an_address_count_until_they_are_over(
    autojump_clock: MockClock,
) -> None:
    settings = msgspec.structs.replace(unlimited(), address_sessions=2, resume_within_s=60.0)
    async with open_house(sessions=settings) as house:
        for name in ("ada", "bob"):
            player = house.connect(address="192.0.2.1")
            await player.open(name)
            player.leave()
        cyd = house.connect(address="192.0.2.1")
        assert await cyd.refused(SessionOpen(name="cyd")) == "too_many_sessions"
        await trio.sleep(61.0)  # the first two have expired
        await cyd.open("cyd")
        await cyd.ask(SessionClose())
        await cyd.settle()
        for name in ("dan", "eve"):
            await house.connect(address="192.0.2.1").open(name)


# --- rate limits ---------------------------------------------------------------------------------


async def test_too_fast_is_an_error_and_a_pause_heals_it(autojump_clock: MockClock) -> None:
    settings = SessionSettings(messages_per_s=10, messages_burst=5)
    async with open_house(sessions=settings) as house:
        ada = await house.player("ada")
        for ref in range(100, 110):
            ada.tell(Ping(ref=ref))
        await ada.settle()
        codes = [reply.code for reply in ada.replies if isinstance(reply, ErrorReply)]
        assert set(codes) == {"rate_limited"}
        assert len(codes) == 6
        await trio.sleep(1)
        assert await ada.ask(Ping())
        assert ada.closed is None
        assert house.gateway.rate_limited == 6


async def test_too_many_bytes_are_too_fast_as_well(autojump_clock: MockClock) -> None:
    settings = SessionSettings(bytes_per_s=1000, bytes_burst=2000)
    async with open_house(sessions=settings) as house:
        ada = await house.player("ada")
        ada.tell(Ping(ref=1), size=1500)
        ada.tell(Ping(ref=2), size=1500)
        assert isinstance(await ada.replied(1), Ok)
        refused = await ada.replied(2)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry) == ("rate_limited", True)


@pytest.mark.parametrize("garbage", [False, True])
async def test_whoever_floods_is_closed_and_others_notice_nothing(
    autojump_clock: MockClock, garbage: bool
) -> None:
    settings = SessionSettings(messages_per_s=100, messages_burst=200, flooding_s=5)
    async with open_house(sessions=settings) as house:
        ada, bob = await house.player("ada"), await house.player("bob")
        for number in range(10_000):
            if garbage:
                ada.garble(number)
            else:
                ada.tell(Ping(ref=number))
            if number % 100 == 0:
                await trio.sleep(0.1)
                await ada.settle()
                if ada.closed is not None:
                    break
        assert ada.closed == FLOODING
        assert 500 < number < 2000
        assert house.gateway.flooded == 1
        assert await bob.ask(Ping())


async def test_a_new_connection_does_not_reset_the_limits(autojump_clock: MockClock) -> None:
    settings = SessionSettings(messages_per_s=1, messages_burst=3)
    async with open_house(sessions=settings) as house:
        ada = await house.player("ada")
        ada.tell(Ping())
        ada.tell(Ping())
        ada.leave()
        again = house.connect()
        await again.resume(token_of(ada))
        assert await again.refused(Ping()) == "rate_limited"


async def test_what_cannot_be_decoded_is_answered_with_its_ref(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        ada.garble(9, "no `room`")
        ada.garble(None)
        await ada.settle()
        assert [(reply.ref, reply.code) for reply in ada.replies] == [  # type: ignore[union-attr]  # both are errors
            (9, "bad_message"),
            (None, "bad_message"),
        ]
