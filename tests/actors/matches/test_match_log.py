from __future__ import annotations

import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
import pytest
import structlog
import trio
import trio.testing

import actors
from actors.edge.identity import Identity
from actors.edge.topics import Topics
from actors.matches.host import MatchCounters
from actors.matches.match_log import MatchLog
from actors.matches.messages import Over, Settle
from actors.matches.playthrough import Playthrough
from actors.matches.referee import GameCrashed
from actors.matches.rules.record import AnyEvent, Created, Joined, MatchEvents
from actors.matches.settings import MatchSettings
from actors.matches.voice import MatchVoice
from actors.runtime.memory import MemoryEventStore
from protocol.messages.match import MatchEnded, MatchEvent, MatchStatePush
from tests.actors.games import Counting
from tests.actors.table import SMALL, Seen

SETTINGS = MatchSettings(call_limit_s=60.0, happenings=8)


class Desk(actors.PersistentActor):
    """An actor that only has the playthrough of a match, and its log."""

    events: ClassVar[tuple[type[msgspec.Struct], ...]] = MatchEvents

    def __init__(self, topics: Topics) -> None:
        super().__init__()
        self.counters = MatchCounters()
        self.play = Playthrough("m", Counting, SETTINGS, lambda _call, _seconds: None)
        voice = MatchVoice(topics, "m", tick_hz=0.0, private_views=False)
        self.match_log = MatchLog(weakref.proxy(self), self.play, voice, self.counters)
        self.is_over = False

    def apply(self, event: AnyEvent) -> None:
        self.play.note(event, self.event_epoch)

    def on_start(self) -> None:
        created = Created("counting", {}, 7, 0)
        self.play.begin(created)
        self.persist(created)
        self.play.playing().join("ada")
        self.match_log.write(Joined("ada", "Ada", 0))

    @actors.handles(dict)
    def input(self, move: dict[str, Any]) -> None:
        self.play.playing().input("ada", move)
        self.match_log.follow_up(self.match_log.hear_out(show_to=["ada"]))

    @actors.handles(Settle)
    def settle(self, _message: Settle) -> None:
        self.match_log.follow_up(self.match_log.hear_out())

    @actors.handles(Over)
    def over(self, _message: Over) -> None:
        self.is_over = True


@asynccontextmanager
async def open_desk(
    store: MemoryEventStore,
) -> AsyncIterator[tuple[Desk, actors.ActorRef, Seen]]:
    """Open a desk; yields it, and the list of what a member of the match gets."""
    topics, seen = Topics(), Seen()
    ada = Identity("s", "ada", "Ada")
    topics.attach(ada, seen)
    topics.subscribe("match:m", ada, seen.id)
    desk = Desk(topics)
    async with actors.ActorSystem(seed=1) as system:
        system.use_stores(store, None, SMALL)
        system.register(actors.Kind("desk", lambda _key: desk))
        ref = system.ref("desk", "m")
        ref.tell({"nothing": "yet"})
        with structlog.testing.capture_logs():
            await trio.sleep(1)
        seen.pushes.clear()
        yield desk, ref, seen


def kinds(seen: Seen) -> list[str]:
    return [
        push.data if isinstance(push, MatchEvent) else type(push).__name__ for push in seen.pushes
    ]


async def test_a_step_is_told_in_order_what_happened_then_the_state_then_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemoryEventStore()
    async with open_desk(store) as (desk, ref, seen):
        await ref.ask({"say": "hello"})
        assert kinds(seen) == ["hello", "MatchStatePush"]
        seen.pushes.clear()
        await ref.ask({"end": "won"})
        await trio.sleep(1)
        assert [type(push) for push in seen.pushes] == [MatchStatePush, MatchEnded]
        assert desk.is_over
        assert (desk.counters.ended, desk.counters.failed) == (1, 0)
    names = [row[4] for row in store.rows("desk", "m")]
    assert names == ["Created", "Joined", "Happened", "Ended"]


async def test_what_the_log_has_no_room_for_waits_in_order_and_is_said_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemoryEventStore()
    said = ["one", "two", "three", "four"]
    async with open_desk(store) as (desk, ref, seen):
        store.away = True
        with structlog.testing.capture_logs():
            for word in said:
                await ref.ask({"say": word})
            await ref.ask({"end": "won"})
            await trio.sleep(5)
            assert [word for word in kinds(seen) if word in said] == ["one", "two"]
            assert "MatchEnded" not in kinds(seen)
            assert [one.data for one in desk.play.unsaid] == ["three", "four"]
            assert not desk.play.goes_on
            store.away = False
            await trio.sleep(5)
        assert [word for word in kinds(seen) if word in said] == said
        assert kinds(seen)[-1] == "MatchEnded"
        assert desk.is_over
    names = [row[4] for row in store.rows("desk", "m")]
    assert names == ["Created", "Joined", *["Happened"] * 4, "Ended"]


async def test_a_game_that_says_too_much_while_nothing_can_be_logged_has_crashed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemoryEventStore()
    async with open_desk(store) as (_, ref, _seen):
        store.away = True
        with structlog.testing.capture_logs():
            for word in range(2 + SETTINGS.happenings):
                await ref.ask({"say": word})
            with pytest.raises(GameCrashed, match="too much while the store is away"):
                await ref.ask({"say": "one too many"})
        store.away = False
