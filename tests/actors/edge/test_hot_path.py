"""Tests of how many of our functions a request calls on its way through the edge.

A test cannot assert a time. But a hot path becomes slow by one call after another, and calls can be
counted. The bounds are a little above what was counted last. If a request needs more, raise its
bound, and say in the commit what the calls are good for.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import trio
import trio.testing

from protocol.codec import MSGPACK
from protocol.messages.room import RoomJoin, RoomSend
from protocol.messages.session import Ping
from protocol.server.flusher import Flusher
from protocol.server.gathering import Window
from protocol.server.outbox import Outbox
from tests.actors.players import open_house

ROOT = Path(__file__).parents[3]
OURS = tuple(f"{ROOT / folder}/" for folder in ("actors", "protocol"))
TURNS = 50


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the calls of our functions, by file and name, while it is entered."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS):
            calls[f"{Path(code.co_filename).name}:{code.co_name}"] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def each_turn(calls: Counter[str]) -> float:
    """Return the calls of one turn, and print them, which shows if the test fails."""
    for name, count in calls.most_common():
        print(f"{count / TURNS:6.2f} {name}")
    return calls.total() / TURNS


async def test_a_ping_calls_no_more_functions_than_it_did(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        with counted() as calls:
            for ref in range(1000, 1000 + TURNS):
                with house.system.dispatcher:
                    ada.handler.received(Ping(ref=ref))
        ada.take()
        assert len(ada.replies) == TURNS
        assert each_turn(calls) < 25


async def test_a_send_calls_no_more_functions_than_it_did(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        await ada.ask(RoomJoin(room="r"))
        await ada.ask(RoomSend(room="r", body="the first takes an epoch"))
        with counted() as calls:
            for ref in range(1000, 1000 + TURNS):
                with house.system.dispatcher:
                    ada.handler.received(RoomSend(room="r", body="x", ref=ref))
            await trio.sleep(1)  # on the mock clock: until all are committed and answered
        ada.take()
        assert len(ada.replies) == TURNS
        assert each_turn(calls) < 92


async def test_a_push_that_is_gathered_calls_nothing_for_each_member(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_house() as house, trio.open_nursery() as nursery:
        window = Window(0.005)
        window.present_s = 0.005
        flusher = Flusher(window)
        await nursery.start(flusher.run)
        members = [
            Outbox(MSGPACK, 1_000_000, flusher, house.connect().client.connection)
            for _ in range(100)
        ]
        flusher.broadcast(b"leaves at once", members)
        flusher.broadcast(b"begins to wait", members)
        with counted() as calls:
            for _ in range(TURNS):
                flusher.broadcast(b"x" * 100, members)
        nursery.cancel_scope.cancel()
        assert members[-1].queued_bytes == 14 + TURNS * 100
        assert each_turn(calls) < 4
