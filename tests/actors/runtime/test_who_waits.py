"""Everyone who waits is told when the system ends, the loop ends, or queues are full."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

import actors
from actors import ChildSpec
from actors.runtime.home import Home
from actors.runtime.testing import Probe, open_system, settle

from .sample import Add, Counter, Crash, Get

LIMIT_S = 10.0


class Silent(Counter):
    """Promises an answer that never comes."""

    @actors.handles(str)
    def promise(self, message: str) -> actors.Future[None]:
        return actors.Future()


def in_a_thread(work: Callable[[], Any]) -> list[Any]:
    """Run `work` in a thread. Return what it returns or raises; nothing if it takes ten seconds."""
    came: list[Any] = []

    def run() -> None:
        try:
            came.append(work())
        except Exception as error:
            came.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return came


def ref_of_an_ended_loop() -> actors.ActorRef:
    async def main() -> actors.ActorRef:
        async with actors.ActorSystem() as system:
            system.register(actors.Kind("counter", lambda key: Counter()))
            return system.ref("counter", "a")

    return trio.run(main)


# --- the end of the system -----------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [5.0, float("inf")])
async def test_an_ask_that_was_never_answered_ends_with_its_system(
    autojump_clock: object, timeout: float
) -> None:
    async with open_system() as system:
        asked = system.start(Silent, key="mute").ask("?", timeout=timeout)
        await settle()
    with (
        trio.fail_after(LIMIT_S),
        pytest.raises(actors.ActorDeadError, match=r"Silent/mute.* str$"),
    ):
        await asked


async def test_a_thread_that_waits_for_an_answer_is_told_of_the_end() -> None:
    async with open_system() as system:
        asked = system.start(Silent).ask("?", timeout=60.0)
    came = await trio.to_thread.run_sync(lambda: in_a_thread(asked.get))
    assert isinstance(came[0], actors.ActorDeadError)


async def test_a_thread_that_tells_a_kind_of_an_ended_system_is_told_so() -> None:
    async with open_system() as system:
        system.register(actors.Kind("counter", lambda key: Counter()))
        ref = system.ref("counter", "a")
    came = await trio.to_thread.run_sync(lambda: in_a_thread(lambda: ref.tell(Add(1))))
    assert isinstance(came[0], actors.ActorDeadError)


# --- the end of the loop -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (lambda ref: ref.ask(Get(), block=True), actors.ActorDeadError),
        (lambda ref: ref.tell(Get()), actors.ActorDeadError),
        (lambda ref: ref.stop(block=True), bool),
    ],
    ids=["ask", "tell", "stop"],
)
def test_after_the_end_of_the_loop_every_call_says_so_and_not_only_the_first(
    what: Any, expected: type
) -> None:
    ref = ref_of_an_ended_loop()
    for _ in range(3):
        (came,) = in_a_thread(lambda: what(ref))
        assert isinstance(came, expected)
        assert came is not True


def test_whoever_asks_while_the_loop_ends_is_told() -> None:
    asked: list[actors.Future[Any]] = []
    ending = threading.Event()

    def flood(counter: actors.ActorRef) -> None:
        asked.extend(counter.ask(Get()) for _ in range(3000))
        ending.wait(LIMIT_S)
        asked.extend(counter.ask(Get()) for _ in range(100))

    async def main() -> list[threading.Thread]:
        async with actors.ActorSystem() as system:
            counter = system.start(Counter)
            threads = [threading.Thread(target=flood, args=(counter,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            await trio.sleep(0.001)
        return threads  # in the middle of it

    threads = trio.run(main)
    ending.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert not [one for one in asked if not one.done]


# --- a flood from threads ------------------------------------------------------------------------


class Answers(actors.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Crash):
            raise ValueError(message.why)
        return message


async def test_an_answer_from_a_thread_passes_a_full_way_to_the_loop() -> None:
    async with open_system() as system:
        answers = system.start(Answers)
        await answers.ask("there?")
        Home.current().capacity = 0  # as if a flood from other threads were waiting
        try:
            with trio.fail_after(LIMIT_S):
                assert await answers.ask("answer") == "answer"
        finally:
            Home.current().capacity = 100_000


async def test_a_thread_whose_end_meets_a_full_way_to_the_loop_is_restarted() -> None:
    async with open_system() as system:
        answers = system.start(Answers, policy=actors.RestartPolicy(max_restarts=1))
        Home.current().capacity = 0
        try:
            answers.tell(Crash())
            with trio.fail_after(LIMIT_S):
                while system.restarts < 1:
                    await trio.sleep(0.001)
        finally:
            Home.current().capacity = 100_000
        with trio.fail_after(LIMIT_S):
            assert await answers.ask("again") == "again"


async def test_a_thread_asks_and_tells_only_as_much_as_the_way_to_the_loop_holds() -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        Home.current().capacity = 0
        try:
            for work in (
                lambda: counter.ask(Get(), block=True),
                lambda: counter.tell(Get()),
            ):
                (came,) = await trio.to_thread.run_sync(in_a_thread, work)
                assert isinstance(came, actors.MailboxFull)
            (stopped,) = await trio.to_thread.run_sync(
                in_a_thread, lambda: counter.stop(block=True)
            )
            assert stopped is True
        finally:
            Home.current().capacity = 100_000


async def test_a_full_inbox_of_a_thread_keeps_nobody_from_ending() -> None:
    busy, gate = trio.Event(), threading.Event()

    class Narrow(actors.ThreadingActor):
        mailbox = actors.MailboxSpec(capacity=1)

        def on_receive(self, message: Any) -> Any:
            system.call_soon(busy.set)
            gate.wait(LIMIT_S)

    async with open_system() as system:
        probe = Probe(system)
        narrow, counter = system.start(Narrow), system.start(Counter)
        probe.watch(counter)
        watcher = system.lookup(narrow.kind, narrow.key)
        assert watcher is not None
        watcher.watch(counter)
        narrow.tell("work")
        with trio.fail_after(LIMIT_S):
            await busy.wait()
        narrow.tell("fill")
        with pytest.raises(actors.MailboxFull):
            narrow.tell("overflow")
        with trio.fail_after(LIMIT_S):
            assert await counter.stop()
            await probe.expect(actors.Terminated(counter, "stopped"))
        gate.set()


async def test_an_actor_for_which_there_is_no_thread_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts: list[bool] = []

    class Threadless(Answers):
        pass

    def start(thread: threading.Thread, *, really: Any = threading.Thread.start) -> None:
        if thread.name.startswith("Threadless") and not starts.pop(0):
            raise RuntimeError("can't start new thread")
        really(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    async with open_system() as system:
        starts = [False]
        with pytest.raises(RuntimeError, match="new thread"):
            system.start(Threadless, key="a")
        assert system.lookup("Threadless", "a") is None
        starts = [True, False, True]
        backoff = actors.Backoff(first_s=0.0)
        await system.supervise([ChildSpec("a", Threadless, backoff=backoff)], key="t").started()
        clerk = system.ref("t", "a")
        clerk.tell(Crash())
        with trio.fail_after(LIMIT_S):
            assert await clerk.ask("there?") == "there?"
        assert not starts


async def test_a_thread_that_is_killed_while_it_waits_for_messages_ends() -> None:
    async with open_system() as system:
        answers = system.start(Answers)
        await answers.ask("there?")
        cell = system.lookup(answers.kind, answers.key)
        assert cell is not None
        cell.kill()


# --- what a deadline says ------------------------------------------------------------------------


async def test_a_deadline_names_the_actor_the_message_and_the_time_it_gave(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        asked = system.start(Silent, key="mute").ask("?", timeout=2.5)
        with pytest.raises(actors.AskTimeout) as caught:
            await asked
    assert str(caught.value) == "Silent/mute did not answer str within 2.5 s"
    error = caught.value
    assert (error.name, error.message, error.timeout_s) == ("Silent/mute", "str", 2.5)
