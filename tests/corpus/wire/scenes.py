"""The scenes of the corpus: between them every op, every push, and most errors."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from protocol.remote.errors import Disconnected, RequestFailed
from tests.corpus.wire.recorder import Plain, Recorder

EXPIRED_S: Final = 70.0
"""A session without a connection has ended by then."""


async def chat(rec: Recorder) -> None:
    """The Python client in a room that crashes."""
    async with rec.client("ada") as ada, rec.client("bob") as bob:
        here = await ada.join("lobby")
        there = await bob.join("lobby")
        await here.send("hello", key="k-1")
        await there.send("héllo ada €")
        await there.send("no key", key=None)
        await here.send("hello", key="k-1")
        await here.history()
        await here.history(before=3, limit=1)
        await here.refresh_members()
        await ada.ping()
        await rec.wait()
        rec.crash("lobby")
        await rec.wait(2.0)
        await there.send("after a crash")
        async with rec.client("cyd") as cyd, rec.client("dee") as dee:
            late = await cyd.join("lobby")
            await _refused(dee.join("lobby"))  # it is full
            await late.leave()
        await there.leave()
        await rec.wait()


async def breaks(rec: Recorder) -> None:
    """The Python client comes back: in time, too late for what was said, too late altogether."""
    async with rec.client("ada") as ada, rec.client("bob") as bob:
        await ada.join("lobby")
        there = await bob.join("lobby")
        await there.send("one")
        await rec.cut("ada", ada)
        await there.send("two")
        await there.send("three")
        await rec.mend("ada", ada)
        await rec.cut("ada", ada)
        for number in range(6):
            await there.send(f"more {number}")
        await rec.mend("ada", ada)
        await rec.cut("ada", ada)
        await rec.wait(EXPIRED_S)
        await there.send("while ada was gone")
        await rec.mend("ada", ada)
        async with rec.client("ada-elsewhere", ada.opened.token) as again:
            await again.ping()
            with contextlib.suppress(Disconnected):
                await ada.ping()
            await rec.wait()


async def tictactoe(rec: Recorder) -> None:
    """A game in turns: a break, a crash, a line, a forfeit."""
    async with rec.client("ada") as ada, rec.client("bob") as bob, rec.client("cyd") as cyd:
        mine = await ada.create_match("tictactoe", key="m-1")
        await ada.create_match("tictactoe", key="m-1")
        his = await bob.join_match(mine.id)
        await _refused(cyd.join_match(mine.id))  # it is full
        await cyd.matches()
        await cyd.matches("tictactoe", limit=1)
        await mine.input({"cell": 4})
        await _refused(mine.input({"cell": 5}))  # not her turn
        await _refused(his.input({"cell": 99}))  # no such cell
        await rec.cut("ada", ada)
        await his.input({"cell": 0})
        await rec.mend("ada", ada)
        rec.meddle("trip", "tictactoe", 1)
        await _refused(mine.input({"cell": 2}))
        await rec.wait(2.0)
        await mine.input({"cell": 2})
        await his.input({"cell": 8})
        await mine.input({"cell": 6})
        await rec.wait()
        await _refused(his.input({"cell": 7}))  # it is over
        other = await ada.create_match("tictactoe", key=None)
        same = await bob.join_match(other.id)
        await same.leave()
        await rec.wait()


async def arena(rec: Recorder) -> None:
    """A game with ticks: states, a break, a crash, a winner; and one that keeps failing."""
    async with rec.client("ada") as ada, rec.client("bob") as bob:
        mine = await ada.create_match("arena", {"goal": 2, "orbs": 1})
        his = await bob.join_match(mine.id)
        await mine.input({"x": 0.05, "y": -0.1})
        await rec.cut("bob", bob)
        await rec.wait()
        await rec.mend("bob", bob)
        await rec.wait(1.2)  # for a snapshot
        rec.meddle("trip", "arena", 1)
        await rec.wait(1.0)
        await his.leave()
        rec.meddle("gift", "arena", 2)
        await rec.wait()
        await ada.create_match("arena")
        rec.meddle("trip", "arena", 100)
        await rec.wait(5.0)


async def sessions(rec: Recorder) -> None:
    """A client without a library: how it may begin, and how it may end."""
    eve = rec.plain("eve")
    await eve.ask("ping")  # there is no session
    await eve.raw(b"{", None)
    await eve.ask("session.open")  # without a name
    await eve.ask("session.open", name="")
    await eve.ask("session.resume", token="none of yours")
    await eve.ask("room.shout", body="there is no such op")
    opened = (await eve.ask("session.open", name="eve", agent="a field of its own"))["data"]
    await eve.ask("session.open", name="eve")
    await eve.tell("ping")
    await eve.tell("ping", ref=None)
    await eve.ask("ping")
    await eve.raw(eve.encoded({"op": "ping", "ref": 2**53 - 1}), 2**53 - 1)
    await eve.raw(eve.encoded({"op": "ping", "ref": -1}), None)
    await eve.raw(eve.encoded(["no", "map"]), None)
    eve.tap.refuse(71, 72, 73)
    await eve.hear("error")
    elsewhere = rec.plain("eve-elsewhere")
    await elsewhere.ask("session.resume", token=opened["token"])
    await eve.closed()  # taken over
    await elsewhere.ask("session.close")
    await elsewhere.closed()
    late = rec.plain("eve-late")
    await late.ask("session.resume", token=opened["token"], positions={})  # ended: a new one
    await late.ask("session.close")
    await late.closed()


async def rooms(rec: Recorder) -> None:
    """A client without a library in rooms."""
    eve, fay = await _opened(rec, "eve"), await _opened(rec, "fay")
    await eve.ask("room.send", room="lobby", body="too early")
    await eve.ask("room.history", room="lobby")
    await eve.ask("room.members", room="lobby")
    await eve.ask("room.join", room="not a name")
    await eve.ask("room.join", room="lobby", colour="unknown")
    state = (await fay.ask("room.join", room="lobby"))["data"]
    await eve.ask("room.send", room="lobby", body="hi")
    await eve.ask("room.send", room="lobby", body="hi", key=None)
    await eve.ask("room.send", room="lobby", body="once", key="k")
    await eve.ask("room.send", room="lobby", body="once", key="k")
    await eve.tell("room.send", room="lobby", body="nobody needs to answer")
    await eve.ask("room.send", room="lobby", body="")
    await eve.ask("room.send", room="lobby", body="x" * 4097)
    await eve.ask("room.history", room="lobby", before=3)
    await eve.ask("room.history", room="lobby", limit=2)
    await eve.ask("room.history", room="lobby", limit=0)
    await eve.ask("room.history", room="lobby", limit=10_000)
    await eve.ask("room.members", room="lobby")
    for number in range(4):
        await fay.ask("room.join", room=f"side-{number}")  # the last is too many
    await eve.ask("room.leave", room="lobby")
    await eve.ask("room.leave", room="lobby")
    await rec.wait()
    await fay.ask("ping")
    fay.tap.breaks()
    again = rec.plain("fay-again")
    here = {"epoch": state["epoch"], "offset": state["offset"]}
    positions = {
        "room:lobby": here,
        "room:side-0": {"epoch": 99, "offset": 99},
        "match:tictactoe-nosuch": {"epoch": 1, "offset": 0},
        "room:side-2": {"epoch": 1, "offset": 0},
        "room:new-1": {"epoch": 1, "offset": 0},
        "room:new-2": {"epoch": 1, "offset": 0},
    }
    await again.ask("session.resume", token=fay.token, positions=positions)
    for _ in positions:
        await again.hear()
    await again.ask("room.members", room="lobby")


async def matches(rec: Recorder) -> None:
    """A client without a library in matches."""
    eve, fay = await _opened(rec, "eve"), await _opened(rec, "fay")
    await eve.ask("match.create", game="chess")
    await eve.ask("match.create", game="arena", params={"orbs": "many"})
    await eve.ask("match.create", game="arena", params=[1])
    deep: Any = 1
    for _ in range(40):
        deep = {"in": deep}
    await eve.ask("match.create", game="arena", params={"deep": deep})
    await eve.ask("match.join", match="tictactoe-nosuch")
    await eve.ask("match.join", match="nosuch")
    await eve.ask("match.list", limit=10_000)
    await eve.ask("match.list", game="chess")
    one = (await eve.ask("match.create", game="tictactoe", key="m"))["data"]["match"]
    await eve.ask("match.create", game="tictactoe", key="m")
    await eve.ask("match.create", game="tictactoe", params={}, key=None)
    await eve.ask("match.create", game="tictactoe")
    await eve.ask("match.create", game="tictactoe")  # one too many
    await eve.ask("match.list")
    await eve.ask("match.list", game=None, limit=1)
    await eve.ask("match.input", match=one, seq=1, input={"cell": 0})  # not in it
    await eve.ask("match.join", match=one)
    await eve.ask("match.join", match=one)
    state = (await fay.ask("match.join", match=one))["data"]
    await eve.ask("match.input", match=one, seq=0, input={"cell": 0})
    await eve.ask("match.input", match=one, seq=1, input={"cell": 0})
    await eve.ask("match.input", match=one, seq=1, input={"cell": 0})
    await eve.ask("match.input", match=one, seq=2, input={"cell": 1})  # not her turn
    await fay.ask("match.input", match=one, seq=1, input="no move")
    await fay.tell("match.input", match=one, seq=2, input={"cell": 3})
    await fay.ask("ping")
    await rec.wait()
    await fay.ask("ping")
    fay.tap.breaks()
    again = rec.plain("fay-again")
    here = {"epoch": state["epoch"], "offset": state["offset"]}
    await again.ask("session.resume", token=fay.token, positions={f"match:{one}": here})
    await again.hear("match.recovered")
    await again.ask("match.leave", match=one)
    await again.ask("match.leave", match=one)
    await rec.wait()
    await eve.ask("ping")
    await eve.ask("match.join", match=one)  # it is over
    await again.ask("session.close")
    await again.closed()


SCENES: Final[dict[str, Callable[[Recorder], Awaitable[None]]]] = {
    scene.__name__: scene for scene in (chat, breaks, tictactoe, arena, sessions, rooms, matches)
}


async def _opened(rec: Recorder, name: str) -> Plain:
    plain = rec.plain(name)
    plain.token = (await plain.ask("session.open", name=name))["data"]["token"]
    return plain


async def _refused(asked: Awaitable[Any]) -> None:
    try:
        await asked
    except RequestFailed:
        return
    raise AssertionError("not refused")
