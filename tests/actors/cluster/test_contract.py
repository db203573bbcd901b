"""A ref behaves the same wherever its actor is: each scenario runs on one node and across two."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import NamedTuple

import pykka
import pytest
import trio

import actors
from actors import ActorRef, ActorSystem, AskTimeout, MailboxFull, Terminated
from actors.runtime.mailbox import Control
from actors.runtime.testing import Probe
from persistence import RedisSettings

from .nodes import NodeUnderTest, open_nodes
from .sample import (
    Add,
    Big,
    Colour,
    Crash,
    Crashed,
    Everything,
    Get,
    Later,
    Leave,
    Log,
    Nap,
    No,
    Pair,
    Refuse,
    Remaining,
    SetLater,
)


class Pairing(NamedTuple):
    """A node, and the one that its actors are on: itself or another."""

    near: NodeUnderTest
    far: NodeUnderTest

    @property
    def system(self) -> ActorSystem:
        return self.near.system

    def ref(self, kind: str = "tally") -> ActorRef:
        return self.near.ref_to(self.far, kind)


@pytest.fixture(params=["here", "across"])
async def two(
    request: pytest.FixtureRequest, redis: RedisSettings, unique: str
) -> AsyncIterator[Pairing]:
    async with open_nodes(redis, unique) as (a, b):
        yield Pairing(a, a if request.param == "here" else b)


async def test_what_is_told_arrives_in_its_order(two: Pairing) -> None:
    ref = two.ref()
    for number in range(1000):
        ref.tell(Add(number))
    assert await ref.ask(Log()) == list(range(1000))
    assert two.far.system.lookup("tally", ref.key) is not None
    if two.near is not two.far:
        assert two.near.system.lookup("tally", ref.key) is None


async def test_told_sent_asked_and_notified_keep_one_order(two: Pairing) -> None:
    ref = two.ref()
    ref.tell(Add(1))
    await ref.send(Add(2))
    third = ref.ask(Add(3))
    ref.notify(Add(4))
    await trio.to_thread.run_sync(ref.tell, Add(5))
    assert await third == 6
    assert await ref.ask(Log()) == [1, 2, 3, 4, 5]


async def test_every_kind_of_value_crosses_as_itself(two: Pairing) -> None:
    ref = two.ref()
    message = Everything(
        Colour.BLUE, frozenset({"a", "b"}), math.inf, b"\x00", ref, {"x": [1, None]}, Pair(1, None)
    )
    answer = await ref.ask(message)
    assert answer == message
    assert await answer.ref.ask(Get()) == 0


async def test_a_deadline_is_kept_on_the_clock_of_whoever_handles_it(two: Pairing) -> None:
    left = await two.ref().ask(Remaining(two.system.now() + 50.0))
    assert 40.0 < left <= 50.0
    assert await two.ref().ask(Remaining(math.inf)) == math.inf


async def test_an_answer_that_comes_later_comes(two: Pairing) -> None:
    ref = two.ref()
    answer = ref.ask(Later())
    assert await ref.ask(Nap(0.0)) == "awake"
    assert not answer.done
    ref.tell(SetLater())
    assert await answer == 7


async def test_an_ask_from_a_thread_is_answered(two: Pairing) -> None:
    ref = two.ref()
    assert await trio.to_thread.run_sync(lambda: ref.ask(Add(5), block=True)) == 5


async def test_an_ask_ends_at_its_deadline(two: Pairing) -> None:
    with pytest.raises(AskTimeout, match="did not answer Later within"):
        await two.ref().ask(Later(), timeout=0.05)


async def test_a_refusal_is_an_answer_and_the_actor_goes_on(two: Pairing) -> None:
    ref = two.ref()
    await ref.ask(Add(1))
    with pytest.raises(actors.Refusal, match="not today") as refused:
        await ref.ask(Refuse())
    assert two.near is not two.far or isinstance(refused.value, No)
    assert await ref.ask(Get()) == 1


async def test_a_crash_reaches_its_asker(two: Pairing) -> None:
    ref = two.ref()
    with pytest.raises(Exception, match="bang") as crashed:
        await ref.ask(Crash("bang"))
    assert two.near is not two.far or isinstance(crashed.value, Crashed)
    assert await ref.ask(Get()) == 0  # a new instance


async def test_an_actor_that_fails_too_often_says_so(two: Pairing) -> None:
    ref = two.ref()
    for number in range(4):
        with pytest.raises(Exception, match="bang"):
            await ref.ask(Crash(f"bang{number}"))
    with pytest.raises(actors.ActorFailed) as failed:
        await ref.ask(Get())
    assert 0 < failed.value.retry_after_s <= 30
    assert "bang3" in str(failed.value)


async def test_a_message_without_handler_is_refused_and_told_one_is_a_dead_letter(
    two: Pairing,
) -> None:
    ref = two.ref()
    with pytest.raises(actors.UnhandledMessage, match="no handler for Control"):
        await ref.ask(Control(1))
    ref.tell(Control(2))
    await ref.ask(Get())
    assert two.system.dead_letters.last[-1].reason == "unhandled"


async def test_an_asker_hears_of_a_full_mailbox(two: Pairing) -> None:
    ref = two.ref("tight")
    napping = ref.ask(Nap(0.2))
    await trio.sleep(0.05)
    more = [ref.ask(Add(1)) for _ in range(3)]
    with pytest.raises(MailboxFull, match="the mailbox holds its 2 messages"):
        await more[2]
    assert await napping == "awake"
    assert await more[1] == 2


async def test_send_waits_for_room(two: Pairing) -> None:
    ref = two.ref("narrow")
    napping = ref.ask(Nap(0.3))
    await trio.sleep(0.05)
    await ref.send(Add(1))
    await ref.send(Add(2))
    with trio.move_on_after(0.05) as waiting:
        await ref.send(Add(3))
    assert waiting.cancelled_caught
    assert await napping == "awake"
    await ref.send(Add(4))
    log = await ref.ask(Log())
    assert log[:2] == [1, 2]
    assert log[-1] == 4


async def test_a_notice_passes_a_full_mailbox(two: Pairing) -> None:
    ref = two.ref("tight")
    napping = ref.ask(Nap(0.2))
    await trio.sleep(0.05)
    asked = [ref.ask(Add(1)) for _ in range(2)]
    ref.notify(Add(5))
    await napping
    await asked[1]
    assert await ref.ask(Log()) == [1, 1, 5]


async def test_stop_ends_the_actor_and_says_whether_there_was_one(two: Pairing) -> None:
    ref = two.ref()
    await ref.ask(Add(3))
    assert await ref.stop() is True
    assert await ref.stop() is False
    assert await ref.ask(Get()) == 0


async def test_started_waits_for_the_start(two: Pairing) -> None:
    assert await two.ref().started()


async def test_a_watcher_hears_once_how_an_actor_ended(two: Pairing) -> None:
    ref = two.ref()
    probe, other = Probe(two.system), Probe(two.system)
    await ref.ask(Add(1))
    probe.watch(ref)
    other.watch(ref)
    await trio.sleep(0.05)
    ref.tell(Leave())
    await probe.expect(Terminated(ref, "stopped"))
    await other.expect(Terminated(ref, "stopped"))
    await ref.ask(Add(1))
    await ref.stop()
    await probe.expect_nothing(for_s=0.05)


async def test_who_watches_an_actor_that_is_not_there_hears_so(two: Pairing) -> None:
    ref = two.ref()
    probe = Probe(two.system)
    probe.watch(ref)
    await probe.expect(Terminated(ref, "absent"))


async def test_who_has_ended_is_taken_off_the_list(two: Pairing) -> None:
    ref = two.ref()
    await ref.ask(Add(1))
    probe, other = Probe(two.system), Probe(two.system)
    probe.watch(ref)
    other.watch(ref)
    await trio.sleep(0.05)
    await probe.ref.stop()
    await other.ref.stop()
    await ref.ask(Get())
    cell = two.far.system.lookup("tally", ref.key)
    assert cell is not None
    assert not cell.watchers


async def test_an_answer_and_later_messages_of_an_actor_keep_their_order(two: Pairing) -> None:
    near, far = two.near, two.far
    receiver = near.system.ref("desk", f"{near.id}/r")
    await receiver.started()
    for number in range(50):
        reply = far.system.ref("tally", far.key()).ask(Add(number))
        reply.on_done(lambda done: receiver.tell(Add(done.result())))
    await far.system.ref("tally", far.key()).ask(Get())
    log = await receiver.ask(Log())
    assert log == sorted(log)
    assert len(log) == 50


async def test_a_large_answer_crosses(two: Pairing) -> None:
    assert await two.ref().ask(Big(500_000)) == bytes(500_000)


async def test_an_actor_of_a_node_that_is_none_is_dead(two: Pairing) -> None:
    ref = two.system.ref("desk", "nobody.x/1")
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(Add(1))
    with pytest.raises(pykka.ActorDeadError):
        await ref.ask(Get())
