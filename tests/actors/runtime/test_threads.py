"""ThreadingActors in the tree, on the real clock, since a mock clock does not wait for threads."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
import time
from functools import partial
from typing import Any

import msgspec
import pykka
import pytest
import trio

import actors
from actors import ChildSpec
from actors.runtime.testing import Probe, open_system
from actors.runtime.thread_cell import ThreadCell
from actors.runtime.thread_inbox import ThreadInbox

from .sample import Counter, Crash, Crashed, Get

NOW = actors.Backoff(first_s=0.0)


class Clerk(pykka.ThreadingActor):
    """An ordinary Pykka actor, which knows nothing of this runtime."""

    def __init__(self, diary: list[str] | None = None) -> None:
        super().__init__()
        self.diary = diary if diary is not None else []
        self.handled = 0

    def on_start(self) -> None:
        self.diary.append("starts")

    def on_stop(self) -> None:
        self.diary.append("stops")

    def on_failure(self, *exc_info: object) -> None:
        self.diary.append("fails")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Crash):
            raise Crashed(message.why)
        if isinstance(message, SystemExit):
            raise message
        if isinstance(message, float):
            time.sleep(message)
        if isinstance(message, threading.Event):
            message.wait(60)
        self.handled += 1
        return threading.get_ident()

    def double(self, number: int) -> int:
        return 2 * number


async def until(condition: Any) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.001)


async def test_any_threading_actor_is_asked_with_await_and_runs_in_its_thread() -> None:
    diary: list[str] = []
    async with open_system() as system:
        clerk = system.start(Clerk, diary)
        thread = await clerk.ask("hello")
        assert thread != threading.get_ident()
        assert await clerk.ask("again") == thread
        assert [ref.kind for ref in system.actors()] == ["Clerk"]
    assert diary == ["starts", "stops"]


async def test_many_asks_in_flight_are_all_answered() -> None:
    async with open_system() as system:
        clerk = system.start(Clerk)
        replies = [clerk.ask(number) for number in range(1000)]
        assert len({await reply for reply in replies}) == 1


async def test_an_exception_under_ask_goes_to_the_asker_and_the_actor_goes_on() -> None:
    diary: list[str] = []
    async with open_system() as system:
        clerk = system.start(Clerk, diary)
        with pytest.raises(Crashed):
            await clerk.ask(Crash())
        await clerk.ask("fine")
        assert system.restarts == 0


async def test_what_is_no_exception_goes_to_the_asker_and_the_thread_goes_on() -> None:
    async with open_system() as system:
        clerk = system.start(Clerk)
        error = SystemExit(3)
        with pytest.raises(actors.HandlerPanic) as raised:
            await clerk.ask(error)
        assert raised.value.__cause__ is error
        await clerk.ask("fine")
        assert system.restarts == 0


async def test_an_actor_of_pykkas_is_left_as_pykka_made_it() -> None:
    async with open_system() as system:
        clerk = system.start(Clerk)
        await clerk.ask("hello")
        cell = system.lookup(clerk.kind, clerk.key)
        assert cell is not None
        assert vars(cell.actor_or_none()).keys() == vars(Clerk()).keys()


@pytest.mark.parametrize("fault", [Crash("bang"), SystemExit(3)])
async def test_a_thread_that_fails_is_restarted_with_its_inbox(fault: Any) -> None:
    diary: list[str] = []
    async with open_system() as system:
        clerk = system.start(Clerk, diary)
        first = await clerk.ask("who")
        clerk.tell(0.05)
        clerk.tell(fault)
        asked = [clerk.ask(number) for number in range(10)]
        second = {await reply for reply in asked}
        assert len(second) == 1
        assert system.restarts == 1
        assert diary.count("starts") == 2
        assert first is not None


async def test_a_thread_that_fails_beyond_its_intensity_ends_as_failed() -> None:
    async with open_system() as system:
        probe = Probe(system)
        policy = actors.RestartPolicy(max_restarts=1, backoff=NOW)
        clerk = system.start(Clerk, policy=policy)
        probe.watch(clerk)
        clerk.tell(Crash())
        clerk.tell(Crash())
        await probe.expect(actors.Terminated(clerk, "failed"), within_s=5.0)
        with pytest.raises(actors.ActorFailed):
            await clerk.ask("anyone")


async def test_a_supervisor_restarts_threads_and_loop_actors_alike() -> None:
    diary: list[str] = []
    async with open_system() as system:
        specs = [
            ChildSpec("clerk", partial(Clerk, diary), backoff=NOW),
            ChildSpec("counter", Counter, backoff=NOW),
        ]
        await system.supervise(specs, "one_for_all", key="t").started()
        clerk, counter = system.ref("t", "clerk"), system.ref("t", "counter")
        await clerk.ask("hello")
        counter.tell(Crash())
        await until(lambda: diary.count("starts") == 2)
        assert diary == ["starts", "stops", "starts"]
        clerk.tell(Crash())
        await until(lambda: diary.count("starts") == 3)
        assert await counter.ask(Get()) == 0
    assert diary[-1] == "stops"


async def test_a_thread_asks_back_and_tells_back() -> None:
    class Curious(actors.ThreadingActor):
        def __init__(self, counter: actors.ActorRef) -> None:
            super().__init__()
            self.counter = counter

        def on_receive(self, message: Any) -> Any:
            self.counter.tell("hello")
            return self.counter.ask(Get()).get(timeout=5) + self.counter.ask(Get(), block=True)

    async with open_system() as system:
        counter = system.start(Counter, 21)
        curious = system.start(Curious, counter)
        with trio.fail_after(60):
            assert await curious.ask("?") == 42


async def test_threads_ask_one_another() -> None:
    class Forwarder(actors.ThreadingActor):
        def __init__(self, other: actors.ActorRef) -> None:
            super().__init__()
            self.other = other

        def on_receive(self, message: Any) -> Any:
            self.other.tell("also told")
            return self.other.ask(message).get(timeout=5)

    async with open_system() as system:
        clerk = system.start(Clerk)
        forwarder = system.start(Forwarder, clerk)
        with trio.fail_after(60):
            assert await forwarder.ask("?") == await clerk.ask("?")


async def test_the_actors_own_ref_is_ours() -> None:
    class Reflective(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            return self.actor_ref

    async with open_system() as system:
        ref = system.start(Reflective, key="me")
        assert await ref.ask("?") is ref


class Errand(msgspec.Struct, frozen=True):
    to: actors.ActorRef


@dataclasses.dataclass
class Note:
    to: actors.ActorRef


class Traveller(actors.ThreadingActor):
    """A thread that uses the system as an actor in the loop does."""

    def on_receive(self, message: Any) -> Any:
        match message:
            case Errand(to):
                copies = [copy.copy(to), copy.deepcopy(to), pickle.loads(pickle.dumps(to))]
                return [*copies, dataclasses.asdict(Note(to))["to"]]
            case "start":
                return Counter.start(7, key="of a thread")
            case "system":
                return actors.ActorSystem.current()
            case _:
                return super().on_receive(message)


async def test_a_ref_is_copied_and_pickled_in_a_thread() -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        assert await system.start(Traveller).ask(Errand(counter)) == [counter] * 4
    assert copy.deepcopy(counter) == counter  # where no system is


async def test_an_actor_in_a_thread_has_the_system_and_starts_others() -> None:
    async with open_system() as system:
        traveller = system.start(Traveller)
        assert await traveller.ask("system") is system
        started = await traveller.ask("start")
        assert await started.ask(Get()) == 7
        with pytest.raises(actors.ActorExists):
            await traveller.ask("start")
        assert [ref.key for ref in system.actors("Counter")] == ["of a thread"]


async def test_what_an_actor_in_a_thread_does_not_handle_is_an_error_or_a_dead_letter() -> None:
    async with open_system() as system:
        traveller = system.start(Traveller, kind="traveller", key="a")
        with pytest.raises(actors.UnhandledMessage, match="traveller/a has no handler for bytes"):
            await traveller.ask(b"?")
        traveller.tell(b"!")
        await until(lambda: system.dead_letters.count)
        letter = system.dead_letters.last[-1]
        assert (letter.ref, letter.message, letter.reason) == (traveller, b"!", "unhandled")
        assert await traveller.ask("system") is system
        assert system.restarts == 0


async def test_a_system_is_used_from_any_thread() -> None:
    class Broken(Counter):
        def __init__(self) -> None:
            raise Crashed("constructor")

    def work(system: actors.ActorSystem) -> list[Any]:
        rung = threading.Event()
        system.after(0.0, rung.set)
        assert rung.wait(5)
        with pytest.raises(Crashed):
            system.start(Broken)
        system.register(actors.Kind("kind", lambda _key: Counter(1)))
        with pytest.raises(ValueError, match="registered already"):
            system.register(actors.Kind("kind", lambda _key: Counter(1)))
        system.supervise([ChildSpec("child", Counter)], key="s")
        refs = [system.start(Counter, 2), system.ref("kind", "a"), system.ref("s", "child")]
        return [ref.ask(Get(), block=True) for ref in refs]

    async with open_system() as system:
        assert await trio.to_thread.run_sync(work, system) == [2, 1, 0]


async def test_a_system_whose_loop_has_ended_says_so_to_other_threads() -> None:
    systems: list[actors.ActorSystem] = []

    async def main() -> None:
        async with actors.ActorSystem() as system:
            systems.append(system)

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    await trio.to_thread.run_sync(thread.join)
    with pytest.raises(actors.ActorDeadError, match="loop has ended"):
        systems[0].start(Counter)


async def test_pykkas_proxy_reaches_a_thread() -> None:
    async with open_system() as system:
        proxy = system.start(Clerk).proxy()
        assert await proxy.double(4) == 8


async def test_a_full_inbox_refuses_and_a_stop_passes_it() -> None:
    gate = threading.Event()

    class Narrow(actors.ThreadingActor):
        mailbox = actors.MailboxSpec(capacity=2)

        def on_receive(self, message: Any) -> Any:
            gate.wait(60)

    async with open_system() as system:
        narrow = system.start(Narrow)
        narrow.tell("wait")
        cell = system.lookup(narrow.kind, narrow.key)
        assert isinstance(cell, ThreadCell)
        await until(cell.inbox.empty)
        narrow.tell("fits")
        narrow.tell("fits")
        with pytest.raises(actors.MailboxFull):
            narrow.tell("one too many")
        with pytest.raises(actors.MailboxFull):
            await narrow.ask("one too many")
        gate.set()
        with trio.fail_after(60):
            assert await narrow.stop()
            assert not await narrow.stop()


async def test_an_ask_of_a_thread_has_a_deadline_and_the_late_reply_is_let_go() -> None:
    async with open_system() as system:
        clerk, gate = system.start(Clerk), threading.Event()
        with pytest.raises(actors.AskTimeout):
            await clerk.ask(gate, timeout=0.02)
        gate.set()
        assert await clerk.ask("still there") is not None


async def test_a_thread_that_does_not_end_in_time_is_left_behind_and_named() -> None:
    gate, taken = threading.Event(), threading.Event()

    class Stuck(actors.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            taken.set()
            gate.wait(60)

    async with actors.ActorSystem() as system:
        probe = Probe(system)
        stuck = system.start(Stuck, policy=actors.RestartPolicy(shutdown_s=0.05))
        probe.watch(stuck)
        stuck.tell("wait")
        asked = stuck.ask("after it", timeout=60.0)
        await until(taken.is_set)
    assert [message.reason for message in probe.received] == ["killed"]
    with pytest.raises(actors.ActorDeadError):
        await asked
    gate.set()
    await until(lambda: not [t for t in threading.enumerate() if t.name.startswith("Stuck")])


def test_an_inbox_answers_what_is_left_in_it() -> None:
    inbox = ThreadInbox(10, "x/y")
    future: actors.Future[None] = actors.Future()
    from pykka._envelope import Envelope

    inbox.put(Envelope("asked", future))
    inbox.put(Envelope("told"))
    assert inbox.close(lambda: actors.ActorDeadError("x/y")) == ["told"]
    assert isinstance(future.exception(), actors.ActorDeadError)
    assert inbox.empty()


class Plain(actors.ThreadingActor):
    """Answers with what it is sent."""

    mailbox = actors.MailboxSpec(capacity=2)

    def __init__(self, _key: str = "") -> None:
        super().__init__()

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            message.wait(60)
            return None
        return message.ask(Get()) if isinstance(message, actors.ActorRef) else message


@pytest.mark.parametrize("on_full", ["wait", "drop_oldest", "drop_newest"])
def test_a_policy_that_an_inbox_of_a_thread_does_not_have_is_refused(on_full: Any) -> None:
    with pytest.raises(ValueError, match="refuses when it is full"):
        type("Waiting", (actors.ThreadingActor,), {"mailbox": actors.MailboxSpec(2, on_full)})


async def test_what_a_thread_handles_and_refuses_is_counted() -> None:
    async with open_system() as system:
        plain, gate = system.start(Plain), threading.Event()
        before = system.statistics()
        asked = plain.ask(gate)
        cell = system.lookup(plain.kind, plain.key)
        assert isinstance(cell, ThreadCell)
        await until(cell.inbox.empty)
        told = [plain.ask(1), plain.ask(2)]
        with pytest.raises(actors.MailboxFull):
            plain.tell(3)
        with pytest.raises(actors.MailboxFull):
            await plain.ask(3)
        gate.set()
        await asked
        assert [await each for each in told] == [1, 2]
        await plain.stop()
        after = system.statistics()
        assert (after.refused - before.refused, after.handled - before.handled) == (2, 3)


async def test_an_idle_thread_is_passivated_and_comes_back() -> None:
    async with open_system() as system:
        system.register(actors.Kind("plain", Plain, idle_after_s=0.05))
        plain = system.ref("plain", "a")
        assert await plain.ask(1) == 1
        await until(lambda: not plain.is_alive())
        assert plain.ended_as() == "passivated"
        assert [await plain.ask(number) for number in range(3)] == [0, 1, 2]


async def test_what_comes_while_a_thread_is_passivated_is_handled() -> None:
    async with open_system() as system:
        system.register(actors.Kind("plain", Plain))
        plain = system.ref("plain", "a")
        for number in range(100):
            await plain.ask(number)
            cell = system.lookup("plain", "a")
            assert cell is not None
            cell.stop("passivated")
            assert await plain.ask(number) == number


async def test_a_thread_that_returns_a_future_answers_with_what_it_comes_to() -> None:
    async with open_system() as system:
        plain, counter = system.start(Plain), system.start(Counter, 5)
        assert await plain.ask(counter) == 5
        await counter.stop()
        with pytest.raises(actors.ActorDeadError):
            await plain.ask(counter)


async def test_start_of_the_class_starts_in_the_tree() -> None:
    async with open_system() as system:
        plain = Plain.start("key")
        assert list(system.actors("Plain")) == [plain]
        assert await plain.ask(1) == 1
    assert not plain.is_alive()
    assert "dead_letters" in (actors.ActorSystem.__doc__ or "")


def test_start_of_the_class_outside_a_system_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no actor system here"):
        Plain.start()
