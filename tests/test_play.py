"""The games of examples/, played by real clients over sockets against a server of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol.client import Gap, Match, RequestFailed, Session, connect
from protocol.messages.match import MatchEnded, MatchEvent, MatchStatePush
from tests.server_process import PATIENT, Server

CRASHING = "games.faulty=tests.actors.games:FaultyTurns"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("play"), CRASHING) as server:
        yield server
        assert server.stop() == 0


def user(session: Session) -> str:
    return session.opened.user


async def moves(match: Match, me: str, cells: list[int]) -> tuple[list[Any], MatchEnded | None]:
    """Play `cells` in one's turns; returns all updates, the end included."""
    updates: list[Any] = []
    todo = list(cells)
    if match.state["turn"] == me:
        await match.input({"cell": todo.pop(0)})
    async for update in match:
        updates.append(update)
        if isinstance(update, MatchStatePush) and update.state["turn"] == me and todo:
            await match.input({"cell": todo.pop(0)})
    return updates, match.ended


async def test_two_clients_play_tic_tac_toe_to_the_end(server: Server) -> None:
    with trio.fail_after(120):
        async with (
            connect(server.ws, name="ada", settings=PATIENT) as ada,
            connect(server.ws, name="bob", encoding="json", settings=PATIENT) as bob,
        ):
            hers = await ada.create_match("tictactoe")
            assert hers.id in [match.match for match in await bob.matches("tictactoe")]
            his = await bob.join_match(hers.id)
            assert his.players == [user(ada), user(bob)]
            assert his.names == {user(ada): "ada", user(bob): "bob"}
            with pytest.raises(RequestFailed, match="rejected"):
                await his.input({"cell": 0})
            with pytest.raises(RequestFailed, match="bad_input"):
                await his.input({"cell": 99})
            ends: dict[str, MatchEnded | None] = {}
            seen: dict[str, list[Any]] = {}

            async def play(session: Session, match: Match, cells: list[int]) -> None:
                seen[user(session)], ends[user(session)] = await moves(match, user(session), cells)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(play, ada, hers, [0, 1, 2])
                nursery.start_soon(play, bob, his, [3, 4])
            result = {"winner": user(ada), "line": [0, 1, 2], "by": "line"}
            for end in ends.values():
                assert end is not None
                assert (end.result, end.failed, end.offset) == (result, False, 3)
            assert hers.state == his.state
            assert his.state["board"] == "XXXOO...."
            events = [update for update in seen[user(ada)] if isinstance(update, MatchEvent)]
            assert [(event.kind, event.player) for event in events] == [("joined", user(bob))]
            assert not any(isinstance(update, Gap) for both in seen.values() for update in both)
            with pytest.raises(RequestFailed, match="match_ended"):
                await bob.join_match(hers.id)
            assert hers.id not in [match.match for match in await bob.matches()]


async def test_four_clients_race_in_the_arena_at_20_hz(server: Server) -> None:
    names = ["ada", "bob", "cyd", "dan"]
    sessions: list[Session] = []
    ends: list[MatchEnded] = []

    async def race(match: Match, me: str, orb: int) -> None:
        tick = inputs = 0
        async for update in match:
            if isinstance(update, MatchEnded):
                ends.append(update)
            if not isinstance(update, MatchStatePush):
                continue
            assert update.tick >= tick
            tick = update.tick
            assert update.acks.get(me, 0) <= match.last_seq
            x, y, _ = update.state["bodies"][me]
            orb_x, orb_y = update.state["orbs"][orb]
            far = max(abs(orb_x - x), abs(orb_y - y), 1.0)
            if tick % 4 == 0:
                aim = {"x": (orb_x - x) / far, "y": (orb_y - y) / far}
                try:
                    taken = await match.input(aim)
                except RequestFailed as failed:
                    if failed.code == "match_ended":
                        continue
                    raise
                assert not taken.durable
                assert taken.tick > tick
                inputs += 1
        assert inputs > 0

    with trio.fail_after(60):
        async with (
            connect(server.ws, name=names[0], settings=PATIENT) as ada,
            connect(server.ws, name=names[1], settings=PATIENT) as bob,
            connect(server.ws, name=names[2], encoding="json", settings=PATIENT) as cyd,
            connect(server.ws, name=names[3], settings=PATIENT) as dan,
        ):
            sessions = [ada, bob, cyd, dan]
            created = await ada.create_match("arena", {"goal": 4})
            async with trio.open_nursery() as nursery:
                for orb, session in enumerate(sessions):
                    match = created if session is ada else await session.join_match(created.id)
                    nursery.start_soon(race, match, user(session), orb)
    assert len(ends) == 4
    assert all(end == ends[0] for end in ends)
    assert ends[0].result["points"][ends[0].result["winner"]] >= 4  # two orbs may lie together


async def test_a_crash_in_one_match_is_felt_there_only(server: Server) -> None:
    with trio.fail_after(120):
        async with (
            connect(server.ws, name="ada", settings=PATIENT) as ada,
            connect(server.ws, name="bob", settings=PATIENT) as bob,
        ):
            hers = await ada.create_match("faulty")
            his = await bob.join_match(hers.id)
            calm = await ada.create_match("tictactoe")
            await bob.join_match(calm.id)
            room = await bob.join("beside")
            await hers.input(5)
            with pytest.raises(RequestFailed, match="internal"):
                await his.input("crash")
            assert (await hers.input(1)).tick == 2
            sums: dict[str, int] = {}
            async for update in his:
                if isinstance(update, MatchStatePush):
                    sums = update.state["sums"]
                    if sums[user(ada)] == 6:
                        break
            assert sums == {user(ada): 6, user(bob): 0}
            assert (await calm.input({"cell": 0})).tick == 1
            assert (await room.send("still here")).offset == 1
    assert server.metric("greenroom_match_crashes_total") == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
async def test_running_matches_go_on_after_the_server_was_ended_and_started(
    tmp_path: Path, signum: signal.Signals
) -> None:
    server = await trio.to_thread.run_sync(Server, tmp_path)
    with trio.fail_after(90), server:
        async with (
            connect(server.ws, name="ada", settings=PATIENT) as ada,
            connect(server.ws, name="bob", settings=PATIENT) as bob,
        ):
            hers = await ada.create_match("tictactoe")
            his = await bob.join_match(hers.id)
            race = await ada.create_match("arena", {"goal": 1000})
            await hers.input({"cell": 4})
            await race.input({"x": 1, "y": 0})
            async for update in race:
                if isinstance(update, MatchStatePush) and update.tick >= 60:
                    break
            tick_before = race.tick
            if signum is signal.SIGTERM:
                assert await trio.to_thread.run_sync(server.stop) == 0
            else:
                await trio.to_thread.run_sync(server.kill)
            ticks_pushed = race.tick
            again = await trio.to_thread.run_sync(Server, tmp_path, f"listen.port={server.port}")
            with again:
                assert (await his.input({"cell": 0})).tick == 2
                async for update in race:
                    assert not isinstance(update, Gap)
                    if isinstance(update, MatchStatePush) and update.tick > ticks_pushed:
                        break
                    if isinstance(update, MatchStatePush) and signum is signal.SIGTERM:
                        assert update.tick >= tick_before  # a stop in order loses none
                assert race.players == [user(ada)]
                for match, cell in ((hers, 2), (his, 1), (hers, 6)):
                    await match.input({"cell": cell})
                updates, ended = await moves(his, user(bob), [])
                assert not any(isinstance(update, Gap) for update in updates)
                assert ended is not None
                assert ended.result["winner"] == user(ada)
                assert his.state["board"] == "OOX.X.X.."
                assert await trio.to_thread.run_sync(again.stop) == 0
