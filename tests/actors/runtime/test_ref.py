from __future__ import annotations

import math
import pickle
import threading
from typing import Any

import pykka
import pytest
import trio

import actors
from actors.runtime.testing import open_system, settle

from .sample import Add, Counter, Crash, Get, Nap


async def test_refs_with_the_same_name_are_equal_and_hash_alike(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter, kind="counter", key="a")
        same, other = system.ref("counter", "a"), system.ref("counter", "b")
        assert counter == same != other
        assert len({counter, same, other}) == 2
        assert (counter.kind, counter.key) == ("counter", "a")
        assert repr(counter) == "<ActorRef counter/a>"
        assert counter != "counter/a"


async def test_a_ref_is_its_name_in_a_pickle(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter, 4)
        loaded: actors.ActorRef = pickle.loads(pickle.dumps(counter))
        assert loaded == counter
        assert await loaded.ask(Get()) == 4


async def test_a_ref_outlives_a_restart(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        counter.tell(Add(1))
        counter.tell(Crash())
        assert await counter.ask(Add(5)) == 5
        assert counter.is_alive()


async def test_a_ref_to_nobody_says_so(autojump_clock: object) -> None:
    async with open_system() as system:
        nobody = system.ref("nobody", "x")
        assert not nobody.is_alive()
        with pytest.raises(actors.ActorDeadError):
            nobody.tell("hello")
        with pytest.raises(actors.ActorDeadError):
            await nobody.ask("hello")
        with pytest.raises(actors.ActorDeadError):
            await nobody.send("hello")
        with pytest.raises(actors.ActorDeadError):
            nobody.proxy()
        assert not await nobody.stop()
        assert [letter.message for letter in system.dead_letters.last] == ["hello", "hello"]
        assert system.dead_letters.last[0].ref == nobody


async def test_an_ask_has_a_deadline(autojump_clock: object) -> None:
    async with open_system(default_timeout_s=2.0) as system:
        counter = system.start(Counter)
        started = system.now()
        with pytest.raises(actors.AskTimeout):
            await counter.ask(Nap(100.0), timeout=1.0)
        assert system.now() - started == pytest.approx(1.0)
        with pytest.raises(pykka.Timeout):
            await counter.ask(Get())
        assert system.now() - started == pytest.approx(3.0)
        assert await counter.ask(Get(), timeout=math.inf) == 0


async def test_a_deadline_counts_without_anyone_awaiting(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        seen: list[BaseException | None] = []
        counter.ask(Nap(100.0), timeout=1.0).on_done(lambda done: seen.append(done.exception()))
        await trio.sleep(1.1)
        assert [type(error) for error in seen] == [actors.AskTimeout]
        counter.stop()
        await trio.sleep(10)


async def test_asks_that_were_answered_leave_no_deadlines_behind() -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        hanging = counter.ask(Nap(0.2))
        other = system.start(Counter)
        for _ in range(20_000):
            await other.ask(Get())
        assert len(system.timers) < 1000
        assert await hanging == "awake"


async def test_a_full_mailbox_refuses_and_counts(autojump_clock: object) -> None:
    class Small(Counter):
        mailbox = actors.MailboxSpec(capacity=2, on_full="refuse")

    async with open_system() as system:
        small = system.start(Small)
        await small.ask(Get())
        small.tell(Nap(1.0))
        await settle()
        small.tell(Add(1))
        small.tell(Add(1))
        with pytest.raises(actors.MailboxFull):
            small.tell(Add(1))
        with pytest.raises(actors.MailboxFull):
            await small.ask(Get())
        assert (system.statistics().refused, system.statistics().dropped) == (2, 0)
        stopped = small.stop()
        assert await stopped


@pytest.mark.parametrize(("on_full", "kept"), [("drop_oldest", [3, 4]), ("drop_newest", [1, 2])])
async def test_a_full_mailbox_drops_by_its_policy(
    autojump_clock: object, on_full: Any, kept: list[int]
) -> None:
    seen: list[int] = []

    class Small(Counter):
        mailbox = actors.MailboxSpec(capacity=2, on_full=on_full)

        @actors.handles(int)
        def note(self, message: int) -> None:
            seen.append(message)

    async with open_system() as system:
        small = system.start(Small)
        small.tell(Nap(1.0))
        await settle()
        for number in (1, 2, 3, 4):
            small.tell(number)
        await trio.sleep(2)
        assert seen == kept
        assert system.dead_letters.count == system.statistics().dropped == 2


@pytest.mark.parametrize("on_full", ["refuse", "drop_oldest", "drop_newest", "wait"])
async def test_what_is_notified_passes_a_full_mailbox_in_its_turn(
    autojump_clock: object, on_full: Any
) -> None:
    class Small(Counter):
        mailbox = actors.MailboxSpec(capacity=2, on_full=on_full)

    async with open_system() as system:
        small = system.start(Small)
        small.tell(Add(1))
        small.tell(Add(2))
        for number in (10, 20):
            small.notify(Add(number))
        await settle()
        assert await small.ask(Get()) == 33
        await small.stop()
        with pytest.raises(actors.ActorDeadError):
            small.notify(Add(1))


async def test_an_asked_message_that_is_dropped_tells_its_asker(autojump_clock: object) -> None:
    class Small(Counter):
        mailbox = actors.MailboxSpec(capacity=1, on_full="drop_oldest")

    async with open_system() as system:
        small = system.start(Small)
        small.tell(Nap(1.0))
        await settle()
        dropped = small.ask(Get())
        kept = small.ask(Get())
        with pytest.raises(actors.MailboxFull):
            await dropped
        assert await kept == 0


async def test_send_waits_for_room_in_the_order_of_the_senders(autojump_clock: object) -> None:
    seen: list[int] = []

    class Small(Counter):
        mailbox = actors.MailboxSpec(capacity=1, on_full="wait")

        @actors.handles(int)
        async def note(self, message: int) -> None:
            await trio.sleep(1.0)
            seen.append(message)

    async with open_system() as system:
        small = system.start(Small)
        sent_at: dict[int, float] = {}

        async def send(number: int) -> None:
            await small.send(number)
            sent_at[number] = system.now()

        began = system.now()
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(send, number)
                await settle()
            with pytest.raises(actors.MailboxFull):
                small.tell(99)
        await trio.sleep(10)
        assert seen == [0, 1, 2, 3]
        assert [round(sent_at[n] - began) for n in range(4)] == [0, 0, 1, 2]


async def test_a_cancelled_send_gives_up_its_place(autojump_clock: object) -> None:
    class Small(Counter):
        mailbox = actors.MailboxSpec(capacity=1, on_full="wait")

    async with open_system() as system:
        small = system.start(Small)
        small.tell(Nap(1.0))
        await settle()
        small.tell(Add(1))
        with trio.move_on_after(0.5):
            await small.send(Add(100))
        await small.send(Add(1))
        assert await small.ask(Get()) == 2


async def test_a_thread_tells_and_asks() -> None:
    async with open_system() as system:
        counter = system.start(Counter)

        def work() -> tuple[int, int]:
            for _ in range(100):
                counter.tell(Add(1))
            return counter.ask(Get(), block=True), counter.ask(Add(1)).get(timeout=5)

        assert await trio.to_thread.run_sync(work) == (100, 101)


async def test_a_thread_that_tells_the_dead_is_told_so() -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        await counter.stop()

        def work() -> None:
            with pytest.raises(actors.ActorDeadError):
                counter.tell(Add(1))
            with pytest.raises(actors.ActorDeadError):
                counter.ask(Get()).get(timeout=5)

        await trio.to_thread.run_sync(work)
        assert system.dead_letters.count == 1


async def test_a_thread_waits_for_room_or_is_refused() -> None:
    class Patient(Counter):
        mailbox = actors.MailboxSpec(capacity=1, on_full="wait")

    class Curt(Counter):
        mailbox = actors.MailboxSpec(capacity=1, on_full="refuse")

    async with open_system() as system:
        patient, curt = system.start(Patient), system.start(Curt)
        for ref in (patient, curt):
            ref.tell(Nap(0.1))
        await settle()
        for ref in (patient, curt):
            ref.tell(Add(1))

        def work() -> None:
            with pytest.raises(actors.MailboxFull):
                curt.tell(Add(10))
            patient.tell(Add(10))

        with trio.fail_after(60):
            await trio.to_thread.run_sync(work)
        assert await patient.ask(Get()) == 11


async def test_a_thread_stops_an_actor_and_waits_for_its_end() -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        stopped = await trio.to_thread.run_sync(lambda: counter.stop(block=True, timeout=5))
        assert stopped is True
        assert not counter.is_alive()
        again = await trio.to_thread.run_sync(lambda: counter.stop(block=True, timeout=5))
        assert again is False


async def test_after_the_loop_a_thread_hears_that_the_actor_is_dead() -> None:
    def outside() -> actors.ActorRef:
        async def main() -> actors.ActorRef:
            async with actors.ActorSystem() as system:
                return system.start(Counter)

        return trio.run(main)

    counter = await trio.to_thread.run_sync(outside)

    heard: list[str] = []

    def work() -> None:
        try:
            counter.ask(Get()).get(timeout=5)
        except actors.ActorDeadError:
            heard.append("ask")
        try:
            counter.tell(Get())
        except actors.ActorDeadError:
            heard.append("tell")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == ["ask", "tell"]


async def test_pykkas_proxy_calls_the_actor(autojump_clock: object) -> None:
    class Greeter(actors.Actor):
        greeting = "hello"

        def greet(self, name: str) -> str:
            return f"{self.greeting}, {name}"

        async def greet_later(self, name: str) -> str:
            await trio.sleep(1.0)
            return self.greet(name)

        def fail(self) -> None:
            raise actors.Refusal("no")

    async with open_system() as system:
        proxy = system.start(Greeter).proxy()
        assert await proxy.greet("ann") == "hello, ann"
        assert await proxy.greeting == "hello"
        proxy.greeting = "good day"
        assert await proxy.greet_later("bob") == "good day, bob"
        proxy.greet.defer("nobody")
        with pytest.raises(actors.Refusal):
            await proxy.fail()


async def test_an_ask_from_a_task_is_answered_without_a_switch_unless_others_wait() -> None:
    order: list[str] = []

    class Noter(actors.Actor):
        def on_receive(self, message: Any) -> None:
            order.append(message)

    async with open_system() as system:
        first, second = system.start(Noter), system.start(Noter)
        await settle()
        assert first.ask("at once").done
        first.tell("told")
        behind = second.ask("asked behind it")
        assert not behind.done
        await behind
        assert order == ["at once", "told", "asked behind it"]


async def test_what_would_block_the_loop_is_refused_before_anything_is_sent(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        with pytest.raises(RuntimeError, match="block=True"):
            counter.stop(block=True)
        with pytest.raises(RuntimeError, match="block=True"):
            counter.ask(Add(1), block=True)
        await trio.sleep(1.0)
        assert counter.is_alive()
        assert await counter.ask(Get()) == 0


async def open_and_leave() -> tuple[actors.ActorSystem, actors.ActorRef]:
    async with actors.ActorSystem() as system:
        return system, system.start(Counter)


def test_what_is_sent_after_the_loop_has_ended_is_an_actor_dead_error() -> None:
    system, counter = trio.run(open_and_leave)

    async def send() -> None:
        await counter.send(Add(1))

    def try_all() -> None:
        for call in (
            lambda: counter.tell(Add(1)),
            lambda: counter.notify(Add(1)),
            lambda: counter.ask(Get(), block=True),
            lambda: counter.ask(Get()).result(),
            lambda: system.after(1.0, lambda: None),
            lambda: system.start(Counter),
        ):
            with pytest.raises(actors.ActorDeadError):
                call()
        assert counter.stop(block=True) is False

    async def in_a_second_loop() -> None:
        try_all()
        with pytest.raises(actors.ActorDeadError):
            await send()
        with pytest.raises(actors.ActorDeadError):
            await counter.ask(Get())
        async with actors.ActorSystem() as other:  # which is not taken for the first
            try_all()
            assert await other.start(Counter, 3).ask(Get()) == 3

    try_all()
    trio.run(in_a_second_loop)


def test_a_future_that_is_set_after_its_loop_has_ended_wakes_nobody() -> None:
    future: actors.Future[int] = actors.Future()
    seen: list[object] = []

    async def wait() -> None:
        future.on_done(seen.append)
        with trio.move_on_after(0.01):
            await future

    trio.run(wait)
    future.set(1)
    assert future.result() == 1
    assert seen == []


async def test_an_ended_system_rings_no_alarm(autojump_clock: object) -> None:
    system, _ = await open_and_leave()
    with pytest.raises(actors.ActorDeadError, match="has ended"):
        system.after(1.0, lambda: None)
