"""Matches in the client, against scripted servers."""

from __future__ import annotations

import pytest
import trio

from protocol.client import Gap, Match, MatchUpdate, RequestFailed, TopicGone, connect
from protocol.codec import EncodeError
from protocol.messages.envelope import Position
from protocol.messages.match import (
    InputTaken,
    MatchCreate,
    MatchCreated,
    MatchEnded,
    Matches,
    MatchEvent,
    MatchInput,
    MatchJoin,
    MatchLeave,
    MatchList,
    MatchRecovered,
    MatchRestarted,
    MatchState,
    MatchStatePush,
    MatchSummary,
)
from protocol.messages.session import SessionOpen, SessionResume, TopicLost
from tests.protocol.scripted import QUICK, Peer, opened, part, scripted


def state(offset: int = 0) -> MatchState:
    return MatchState(
        match="m1",
        game="arena",
        epoch=1,
        offset=offset,
        tick=0,
        tick_hz=20.0,
        players=["u1"],
        state={"x": 0},
        names={"u1": "ada"},
        acks={"u1": 41},
    )


def at_tick(tick: int, offset: int = 0, **acks: int) -> MatchStatePush:
    return MatchStatePush(match="m1", offset=offset, tick=tick, state={"x": tick}, acks=acks)


def event(offset: int, kind: str = "boom", player: str | None = None) -> MatchEvent:
    return MatchEvent(match="m1", offset=offset, kind=kind, player=player)


async def take(match: Match, count: int) -> list[MatchUpdate]:
    with trio.fail_after(60):
        return [await anext(match) for _ in range(count)]


async def test_a_match_is_created_joined_played_and_ends() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        create = await peer.answer(MatchCreate, MatchCreated("m1"))
        assert (create.game, create.params) == ("arena", {"size": 3})
        assert create.key is not None
        await peer.answer(MatchJoin, state())
        first = await peer.answer(MatchInput, InputTaken(1, durable=False))
        second = await peer.answer(MatchInput, InputTaken(2, durable=False))
        assert (first.input, second.input) == ({"go": "up"}, [1, 2])
        assert (first.seq, second.seq) == (42, 43)
        await peer.send(
            MatchEvent(match="m1", offset=1, kind="joined", player="u2", data={"name": "bob"}),
            event(2, "left", "u1"),
            at_tick(3, 2, u1=second.seq),
            MatchEnded(match="m1", offset=2, result={"winner": "u2"}),
        )
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        match = await session.create_match("arena", {"size": 3})
        assert (match.id, match.game, match.tick_hz, match.state) == ("m1", "arena", 20.0, {"x": 0})
        assert await match.input({"go": "up"}) == InputTaken(1, durable=False)
        assert await match.input([1, 2]) == InputTaken(2, durable=False)
        updates = [update async for update in match]
        assert [type(update) for update in updates] == [
            MatchEvent, MatchEvent, MatchStatePush, MatchEnded,
        ]  # fmt: skip
        assert match.players == ["u2"]
        assert match.names["u2"] == "bob"
        assert match.acks == {"u1": match.last_seq}
        assert match.ended is not None
        assert match.ended.result == {"winner": "u2"}


async def test_stamps_go_on_above_what_another_device_of_the_user_has_used() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(MatchJoin, state())
        await peer.send(at_tick(1, u1=50, u2=99))
        assert (await peer.answer(MatchInput, InputTaken(2, durable=False))).seq == 51
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        match = await session.join_match("m1")
        await take(match, 1)
        await match.input(1)


async def test_when_no_stamp_is_left_an_input_fails_and_nothing_is_sent() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(MatchJoin, state())
        await peer.send(at_tick(1, u1=2**53 - 2))
        assert (await peer.answer(MatchInput, InputTaken(2, durable=False))).seq == 2**53 - 1
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        match = await session.join_match("m1")
        await take(match, 1)
        await match.input(1)
        with pytest.raises(RequestFailed, match="seq_too_old"):
            await match.input(1)


async def test_a_slow_reader_gets_the_newest_state_and_every_event() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(MatchJoin, state())
        for tick in range(1, 50):
            await peer.send(at_tick(tick))
            if tick % 10 == 0:
                await peer.send(event(tick // 10))
        await peer.answer(MatchList, Matches([MatchSummary("m1", "arena", 1, 4, 0)]))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        match = await session.join_match("m1")
        assert await session.join_match("m1") is match
        (summary,) = await session.matches("arena")
        assert summary.match == "m1"
        assert await take(match, 5) == [*(event(n) for n in range(1, 5)), at_tick(49)]
        assert match.feed.conflated == 48


async def test_after_a_break_every_event_comes_once_and_a_true_state_last() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(MatchJoin, state())
        await peer.send(event(1), at_tick(5, 1))
        await peer.expect(MatchInput)
        await peer.cut()

    async def second(peer: Peer) -> None:
        resume = await peer.answer(SessionResume, opened(resumed=True))
        assert resume.positions == {"match:m1": Position(1, 1)}
        await peer.send(
            MatchRecovered(
                match="m1",
                recovered=True,
                epoch=2,
                offset=3,
                tick=9,
                players=["u1", "u2"],
                state={"x": 9},
                events=[event(2), event(3)],
            )
        )
        await peer.answer(MatchInput, InputTaken(10, durable=True))
        await peer.send(event(4))
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        match = await session.join_match("m1")
        assert await take(match, 2) == [event(1), at_tick(5, 1)]
        assert await match.input("again") == InputTaken(10, durable=True)
        assert await take(match, 4) == [event(2), event(3), at_tick(9, 3), event(4)]
        assert match.players == ["u1", "u2"]


async def test_what_a_match_could_not_recover_or_took_back_is_a_gap() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(MatchJoin, state())
        await peer.send(event(1), event(2))
        await peer.send(MatchRestarted(match="m1", epoch=2, offset=1, tick=3, state={"x": 3}))
        await peer.cut()

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await peer.send(
            MatchRecovered(
                match="m1",
                recovered=False,
                epoch=2,
                offset=9,
                tick=7,
                players=["u1"],
                state={"x": 7},
                events=[],
            )
        )
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        match = await session.join_match("m1")
        got: list[MatchUpdate] = []
        while not got or got[-1] != at_tick(7, 9):
            got += await take(match, 1)
        # The state of the restart may have given way to the newer one.
        rest = [update for update in got if update != at_tick(3, 1)]
        assert rest == [event(1), event(2), Gap("void", 2, 2), Gap("away", 2, 9), at_tick(7, 9)]
        assert match.tick == 7


async def test_a_match_that_is_gone_or_left_ends_its_iteration() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(MatchJoin, state())
        await peer.answer(MatchLeave)
        await peer.answer(MatchJoin, state())
        await peer.send(TopicLost(topic="match:m1", code="match_ended"))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        match = await session.join_match("m1")
        await match.leave()
        assert [update async for update in match] == []
        again = await session.join_match("m1")
        assert again is not match
        with pytest.raises(TopicGone, match="match_ended"):
            await anext(again)


async def test_an_input_that_has_no_encoding_is_told_before_it_leaves() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(MatchJoin, state())
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        match = await session.join_match("m1")
        with pytest.raises(EncodeError):
            await match.input(object())
