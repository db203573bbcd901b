from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

import actors
from actors.edge.identity import Identity
from actors.edge.topic_messages import RemovedFromTopic
from actors.edge.topics import Topics
from actors.matches.attendance import Attendance
from actors.matches.messages import Abandoned, AwayTooLong
from actors.matches.settings import MatchSettings
from actors.runtime.testing import open_system, run, settle
from tests.actors.table import Seen, SessionActor

TOPIC = "match:m"
SETTINGS = MatchSettings(rejoin_within_s=10.0, abandon_after_s=30.0, unjoined_after_s=5.0)
SESSIONS = {name: Identity(name, name[0], name) for name in ("a1", "a2", "b1", "c1")}
"""Four sessions: two of one user, and one each of two others."""


class Do(msgspec.Struct, frozen=True):
    """Tells the actor to run a function with its attendance, in a turn of its own."""

    what: Callable[..., Any]
    given: tuple[Any, ...]


class Hall(actors.Actor):
    """An actor that only has an attendance."""

    epoch = 1

    def __init__(self, topics: Topics) -> None:
        super().__init__()
        self.here = Attendance(weakref.proxy(self), TOPIC, topics, SETTINGS)
        self.heard: list[Any] = []

    @actors.handles(Abandoned, AwayTooLong, actors.Terminated)
    def hear(self, message: Any) -> None:
        self.heard.append(message)

    @actors.handles(Do)
    def do(self, message: Do) -> Any:
        return message.what(self.here, *message.given)


STEP = st.tuples(
    st.sampled_from(["attend", "hear", "forget", "dismiss", "expect", "end", "wait"]),
    st.sampled_from(sorted(SESSIONS)),
)


@example([("attend", "a1"), ("forget", "a1"), ("end", "a1")])
@given(st.lists(STEP, max_size=20))
def test_whoever_is_here_is_watched_and_whoever_is_away_is_waited_for(
    steps: list[tuple[str, str]],
) -> None:
    run(play, steps)


async def play(steps: list[tuple[str, str]]) -> None:
    topics, links = Topics(), {name: Seen() for name in SESSIONS}
    here: set[str] = set()
    away: set[str] = set()
    async with open_system() as system:
        sessions = {name: system.start(SessionActor, kind="session", key=name) for name in SESSIONS}
        for name, who in SESSIONS.items():
            topics.attach(who, links[name])
        hall = Hall(topics)
        ref = system.start(lambda: hall)

        async def do(what: Callable[..., Any], *given: Any) -> Any:
            return await ref.ask(Do(what, given))

        for what, name in steps:
            who, session = SESSIONS[name], sessions[name]
            if what == "wait":
                hall.heard.clear()
                await trio.sleep(SETTINGS.rejoin_within_s + 1)
                assert {message.player for message in hall.heard} == away
                away.clear()
            elif what == "expect":
                await do(Attendance.expect, who.user)
                if who.user not in {SESSIONS[one].user for one in here}:
                    away.add(who.user)
            elif not session.is_alive():
                continue
            elif what == "attend":
                await do(Attendance.attend, who)
            elif what == "hear":
                assert not await do(Attendance.hear, who, -1), "not the session's connection"
                assert await do(Attendance.hear, who, links[name].id)
                assert topics.is_member(TOPIC, name)
            else:
                told = [*await session.ask("gone?")]
                hall.heard.clear()
                if what == "end":
                    await session.stop()
                    await settle()
                    assert hall.heard == [actors.Terminated(session, "stopped")] * (name in here)
                    await do(Attendance.forget, name)
                else:
                    dismiss = what == "dismiss"
                    await do(Attendance.dismiss if dismiss else Attendance.forget, name)
                    assert await session.ask("gone?") == [
                        *told,
                        *[RemovedFromTopic(TOPIC)] * dismiss,
                    ]
                here.discard(name)
                assert not topics.is_member(TOPIC, name)
            if what in ("attend", "hear"):
                here.add(name)
                away.discard(who.user)
            assert {one for one in SESSIONS if one in hall.here} == here


async def test_an_empty_match_is_abandoned_in_time_and_sooner_if_nobody_ever_came(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_system() as system:
        system.start(SessionActor, kind="session", key="a1")
        hall = Hall(Topics())
        ref = system.start(lambda: hall)

        async def abandoned_within(seconds: float, *, unjoined: bool) -> bool:
            hall.heard.clear()
            for _ in range(2):  # being told twice does not begin it anew
                await ref.ask(Do(partial(Attendance.expect_anyone, unjoined=unjoined), ()))
                await trio.sleep(seconds / 2)
            return hall.heard == [Abandoned(1)]

        assert await abandoned_within(5.1, unjoined=True)
        await ref.ask(Do(Attendance.attend, (SESSIONS["a1"],)))
        assert not await abandoned_within(100.0, unjoined=False)
        await ref.ask(Do(Attendance.forget, ("a1",)))
        assert not await abandoned_within(29.9, unjoined=False)
        await ref.ask(Do(Attendance.expect_nobody, ()))
        assert not await abandoned_within(29.9, unjoined=False)
        assert await abandoned_within(0.2, unjoined=False)
