"""A game that hangs in C code beside a chat that does not notice, on nodes of their own."""

from __future__ import annotations

from pathlib import Path
from urllib.request import urlopen

import trio

from actors.node.exits import Exit
from protocol.client import Match, RequestFailed, Session, connect
from tests.server_process import PATIENT
from tests.test_cluster import Cluster, node_of

LIMIT_S = 120.0
SETTINGS = (
    "games.hanging=tests.actors.node.parent.hanging:Hanging",
    'cluster.kept={match = "games"}',
    'server.labels=["", "games"]',
    "server.hung_after_s=3",
)


async def test_a_game_that_hangs_takes_one_node_and_the_chat_does_not_notice(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "hung"
    server = await trio.to_thread.run_sync(lambda: Cluster(tmp_path / "data", 3, *SETTINGS))
    with server:
        async with (
            connect(server.ws, name="ada", settings=PATIENT) as ada,
            connect(server.ws, name="bob", settings=PATIENT) as bob,
            trio.open_nursery() as nursery,
        ):
            assert {node_of(ada), node_of(bob)} == {"web-1"}, "nodes with labels have no clients"
            room = await ada.join("lobby")
            sent = 0

            async def chat() -> None:
                nonlocal sent
                while True:
                    await room.send(f"{sent}")
                    sent += 1
                    await trio.sleep(0.05)

            other = await bob.create_match("tictactoe")
            await ada.join_match(other.id)
            nursery.start_soon(chat)
            match = await bob.create_match("hanging", {"mark": str(mark)})
            rows = await trio.to_thread.run_sync(
                server.wait_for,
                lambda rows: any(row.restarts and row.state == "up" for row in rows),
            )
            caught = await trio.to_thread.run_sync(
                server.wait_for_event, "a node is caught in an actor"
            )
            assert (caught["kind"], caught["key"], caught["hangs"]) == ("match", match.id, 1)
            before = sent
            refused = await failed(ada, match.id)
            assert (refused.code, refused.retry) == ("failed", True)
            await taken(other)  # on whichever node it is, it goes on
            with trio.fail_after(LIMIT_S):
                while sent < before + 20:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
            rows = await trio.to_thread.run_sync(server.rows)
        (hung,) = (row for row in rows if row.restarts)
        assert hung.name == caught["node"]
        assert hung.labels == ("games",)
        assert hung.last == "killed by SIGKILL: its loop stood still for 3 s"
        assert mark.read_text().splitlines() == ["hangs"], "it was not tried on another node"
        assert any("hanging.py" in event["event"] for event in server.events()), "the stack"
        with urlopen(f"{server.http}/metrics") as answer:
            assert "greenroom_node_actors_caught_total 1" in answer.read().decode()
        assert await trio.to_thread.run_sync(server.stop) == Exit.OK


async def failed(session: Session, match: str) -> RequestFailed:
    """What a join of the match is refused with, once its node is gone."""
    with trio.fail_after(LIMIT_S):
        while True:
            try:
                await session.join_match(match)
            except RequestFailed as refused:
                if refused.code == "failed":
                    return refused
            await trio.sleep(0.1)


async def taken(match: Match) -> None:
    """Make a move, once the match is where it can be made."""
    with trio.fail_after(LIMIT_S):
        while True:
            try:
                await match.input({"cell": 0})
            except RequestFailed as refused:
                if not refused.retry:
                    raise
                await trio.sleep(0.1)
            else:
                return
