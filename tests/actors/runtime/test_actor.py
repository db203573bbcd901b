from __future__ import annotations

from typing import Any

import pykka
import pytest
import structlog
import trio

import actors
from actors.runtime.testing import Probe, open_system, settle

from .sample import Add, Counter, Crash, Crashed, Get, Member, Nap, No, Refuse


async def test_a_told_message_is_handled_and_an_asked_one_answered(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter, 5)
        counter.tell(Add(2))
        assert await counter.ask(Add(3)) == 10


async def test_the_mailbox_waits_while_an_async_handler_awaits(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        napping = counter.ask(Nap(1.0))
        asked = counter.ask(Get())
        await trio.sleep(0.9)
        assert not asked.done
        assert await napping == "awake"
        assert await asked == 0
        assert system.now() >= 1.0


async def test_messages_are_handled_in_the_order_they_were_sent(autojump_clock: object) -> None:
    class Recorder(actors.Actor):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        @actors.handles(int)
        def plain(self, message: int) -> None:
            self.seen.append(message)

        @actors.handles(float)
        async def slow(self, message: float) -> None:
            await trio.sleep(0.01)
            self.seen.append(message)

        @actors.handles(str)
        def all(self, message: str) -> list[Any]:
            return self.seen

    async with open_system() as system:
        recorder = system.start(Recorder)
        sent = [n if n % 3 else float(n) for n in range(200)]
        for message in sent:
            recorder.tell(message)
        assert await recorder.ask("?") == sent


async def test_a_refusal_goes_to_the_asker_and_the_actor_goes_on(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        await counter.ask(Add(1))
        with pytest.raises(No):
            await counter.ask(Refuse())
        counter.tell(Refuse())
        assert await counter.ask(Get()) == 1
        assert system.restarts == 0


async def test_an_exception_goes_to_the_asker_and_a_new_instance_takes_over(
    autojump_clock: object,
) -> None:
    diary: list[str] = []
    async with open_system() as system:
        member = system.start(Member, "ann", diary)
        await member.ask(Add(1))
        crashing = member.ask(Crash("bang"))
        waiting = member.ask(Add(10))
        with pytest.raises(Crashed, match="bang"):
            await crashing
        assert await waiting == 10
        assert diary == ["ann starts", "ann fails: bang", "ann starts"]
        assert system.restarts == 1
    assert diary[-1] == "ann stops"


async def test_an_async_handler_that_raises_fails_the_actor_too(autojump_clock: object) -> None:
    class Sleeper(Counter):
        @actors.handles(str)
        async def fail_later(self, message: str) -> None:
            await trio.sleep(0.1)
            raise Crashed(message)

    async with open_system() as system:
        sleeper = system.start(Sleeper)
        await sleeper.ask(Add(1))
        with pytest.raises(Crashed):
            await sleeper.ask("late")
        assert await sleeper.ask(Get()) == 0


async def test_a_returned_future_is_the_reply_and_the_mailbox_does_not_wait(
    autojump_clock: object,
) -> None:
    class Clerk(actors.Actor):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[actors.Future[str]] = []

        @actors.handles(str)
        def later(self, message: str) -> actors.Future[str]:
            future: actors.Future[str] = actors.Future()
            self.open.append(future)
            return future

        @actors.handles(int)
        def resolve(self, message: int) -> None:
            self.open[message].set(f"reply {message}")

        @actors.handles(float)
        async def fail(self, message: float) -> None:
            self.open[int(message)].set_exception(Crashed("deferred"))

    async with open_system() as system:
        clerk = system.start(Clerk)
        first, second = clerk.ask("a"), clerk.ask("b")
        clerk.tell(1)
        assert await second == "reply 1"
        assert not first.done
        clerk.tell(0.0)
        with pytest.raises(Crashed):
            await first


async def test_a_future_of_a_thread_cannot_be_a_reply(autojump_clock: object) -> None:
    class Mixed(actors.Actor):
        def on_receive(self, message: Any) -> Any:
            return pykka.ThreadingFuture()

    async with open_system() as system:
        with pytest.raises(TypeError, match="ThreadingFuture"):
            await system.start(Mixed).ask("?")


async def test_hooks_may_be_async(autojump_clock: object) -> None:
    diary: list[str] = []

    class Slow(Counter):
        async def on_start(self) -> None:
            await trio.sleep(1.0)
            diary.append("started")

        async def on_failure(self, *exc_info: object) -> None:
            await trio.sleep(1.0)
            diary.append("failed")

        async def on_stop(self) -> None:
            await trio.sleep(1.0)
            diary.append("stopped")

    async with open_system() as system:
        slow = system.start(Slow)
        assert await slow.started()
        slow.tell(Crash())
        assert await slow.ask(Add(1)) == 1
    assert diary == ["started", "failed", "started", "stopped"]


async def test_the_context_is_not_there_in_the_constructor(autojump_clock: object) -> None:
    class Hasty(actors.Actor):
        def __init__(self) -> None:
            super().__init__()
            self.actor_ref.tell("me")

    async with open_system() as system:
        with pytest.raises(RuntimeError, match="on_start"):
            system.start(Hasty)
        assert not list(system.actors())


async def test_a_subclass_that_forgets_the_base_constructor_works(autojump_clock: object) -> None:
    class Forgetful(Counter):
        def __init__(self) -> None:
            self.total = 7

    async with open_system() as system:
        assert await system.start(Forgetful).ask(Get()) == 7


async def test_a_message_that_no_handler_takes_is_an_error_for_the_asker(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        counter = system.start(Counter, kind="counter", key="a")
        with pytest.raises(actors.UnhandledMessage, match="counter/a has no handler for dict"):
            await counter.ask({"what": "is this"})
        with pytest.raises(TypeError):
            await counter.ask(b"nor this")
        assert system.dead_letters.count == 0
        assert await counter.ask(Get()) == 0
        assert system.restarts == 0


async def test_a_message_that_no_handler_takes_and_nobody_asked_is_a_dead_letter(
    autojump_clock: object,
) -> None:
    class Choosy(Counter):
        def on_receive(self, message: Any) -> Any:
            return "text" if isinstance(message, str) else super().on_receive(message)

    async with open_system() as system:
        counters = [system.start(Counter), system.start(Choosy)]
        for counter in counters:
            counter.tell(b"what is this")
            await settle()
            letter = system.dead_letters.last[-1]
            assert (letter.ref, letter.message, letter.reason) == (
                counter,
                b"what is this",
                "unhandled",
            )
        assert await counters[1].ask("text") == "text"
        assert system.dead_letters.count == 2
        assert system.restarts == 0


async def test_actor_start_uses_the_current_system(autojump_clock: object) -> None:
    class Parent(actors.Actor):
        def on_start(self) -> None:
            self.child = Counter.start(3)

        def on_receive(self, message: Any) -> Any:
            return self.child.ask(message)

    async with open_system() as system:
        assert await Parent.start().ask(Get()) == 3
        assert [ref.kind for ref in system.actors()] == ["Parent", "Counter"]
    with pytest.raises(RuntimeError, match="async with"):
        Counter.start()


async def test_an_actor_that_stops_itself_handles_what_came_before(autojump_clock: object) -> None:
    class Quitter(Counter):
        @actors.handles(str)
        def quit(self, message: str) -> None:
            self.stop()

    async with open_system() as system:
        quitter = system.start(Quitter)
        quitter.tell("quit")
        before = quitter.ask(Add(1))
        await settle()
        assert await before == 1
        with pytest.raises(actors.ActorDeadError):
            await quitter.ask(Add(1))


async def test_what_is_left_in_the_mailbox_is_answered_or_a_dead_letter(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        counter = system.start(Counter)
        counter.tell(Nap(0.5))
        stopped = counter.stop()
        asked = counter.ask(Get())
        counter.tell(Add(1))
        assert await stopped
        with pytest.raises(actors.ActorDeadError):
            await asked
        assert [letter.message for letter in system.dead_letters.last] == [Add(1)]


async def test_handler_look_up_follows_inheritance(autojump_clock: object) -> None:
    class Base:
        pass

    class Derived(Base):
        pass

    class Parent(actors.Actor):
        @actors.handles(Base)
        def base(self, message: Base) -> str:
            return "parent"

        def on_receive(self, message: Any) -> str:
            return "fallback"

    class Child(Parent):
        def base(self, message: Base) -> str:
            return "child"

    class Grandchild(Child):
        @actors.handles(Derived)
        async def derived(self, message: Derived) -> str:
            return "grandchild"

    async with open_system() as system:
        parent, child = system.start(Parent), system.start(Child)
        grandchild = system.start(Grandchild)
        assert await parent.ask(Derived()) == "parent"
        assert await child.ask(Derived()) == "child"
        assert await grandchild.ask(Derived()) == "grandchild"
        assert await grandchild.ask(Base()) == "child"
        assert await grandchild.ask(object()) == "fallback"


def test_two_handlers_for_one_type_are_a_mistake_found_at_once() -> None:
    with pytest.raises(TypeError, match="both handle int"):

        class Confused(actors.Actor):
            @actors.handles(int)
            def one(self, message: int) -> None: ...

            @actors.handles(int)
            def two(self, message: int) -> None: ...


def test_handles_wants_types() -> None:
    with pytest.raises(TypeError, match="message types"):
        actors.handles()
    with pytest.raises(TypeError, match="message types"):
        actors.handles("Add")  # type: ignore[arg-type]  # the mistake under test


async def test_an_actor_logs_under_its_name(autojump_clock: object) -> None:
    class Talker(actors.Actor):
        def on_receive(self, message: Any) -> Any:
            return structlog.get_context(self.log)

    async with open_system() as system:
        ref = system.start(Talker, kind="talker", key="ann")
        assert await ref.ask("?") == {"kind": "talker", "key": "ann"}


async def test_two_asks_from_one_handler_do_not_block_the_loop(autojump_clock: object) -> None:
    class Adder(actors.Actor):
        def __init__(self, counters: list[actors.ActorRef]) -> None:
            super().__init__()
            self.counters = counters

        @actors.handles(Get)
        async def total(self, message: Get) -> int:
            replies = [counter.ask(message) for counter in self.counters]
            return sum([await reply for reply in replies])

    async with open_system() as system:
        counters = [system.start(Counter, n) for n in (1, 2, 3)]
        assert await system.start(Adder, counters).ask(Get()) == 6
        probe = Probe(system, reply=4)
        assert await system.start(Adder, [probe.ref]).ask(Get()) == 4
