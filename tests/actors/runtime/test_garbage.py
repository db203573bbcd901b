"""A node leaves no reference cycles behind: everything is freed by its reference count."""

from __future__ import annotations

from typing import Any

import trio

import actors
from actors.runtime.testing import open_system, settle

from .cycles import cycles_of


class Answers(actors.Actor):
    def on_receive(self, message: Any) -> Any:
        if message == "refuse":
            raise actors.Refusal("no")
        return message


async def test_an_ended_actor_leaves_no_cycle(autojump_clock: Any) -> None:
    async with open_system() as system:

        async def come_and_go() -> None:
            ref = system.start(Answers)
            assert await ref.ask("hello") == "hello"
            await ref.stop()
            assert not ref.is_alive()

        found = await cycles_of(come_and_go)
        assert found["LoopCell"] == found["Mailbox"] == found["ActorRef"] == 0, found


async def test_a_refused_request_leaves_no_cycle(autojump_clock: Any) -> None:
    async with open_system() as system:
        ref = system.start(Answers)

        async def be_refused() -> None:
            # Not awaited: who does that has the exception, its traceback and the future in a frame.
            refused = ref.ask("refuse")
            mapped = ref.ask("hello").map(refuse)
            await settle()
            assert isinstance(refused.exception(), actors.Refusal)
            assert isinstance(mapped.exception(), actors.Refusal)

        found = await cycles_of(be_refused)
        assert found["Refusal"] == found["Future"] == found["frame"] == 0, found


def refuse(_answer: object) -> object:
    try:
        raise ValueError("not this")
    except ValueError as error:
        raise actors.Refusal("no") from error


async def test_a_failed_request_to_a_thread_leaves_no_cycle() -> None:
    class Refuses(actors.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            raise KeyError(message)

    async with open_system() as system:
        ref = system.start(Refuses)

        async def fail() -> None:
            for _ in range(20):  # more than the timers keep of deadlines that were met
                failed = ref.ask("hello")
                done = trio.Event()
                failed.on_done(lambda _: done.set())  # noqa: B023 -- called before the next
                await done.wait()
                assert isinstance(failed.exception(), KeyError)

        found = await cycles_of(fail)
        assert found["Reply"] == found["KeyError"] == 0, found
