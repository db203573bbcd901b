from __future__ import annotations

import actors
from actors import Kind, Terminated
from actors.runtime.testing import Probe, open_system, settle

from .sample import Add, Counter, Crash, Get, Nap


async def test_a_watcher_hears_of_an_end_once(autojump_clock: object) -> None:
    async with open_system() as system:
        counter, probe = system.start(Counter), Probe(system)
        probe.watch(counter)
        probe.watch(counter)
        await settle()
        await counter.stop()
        await probe.expect(Terminated(counter, "stopped"))
        await probe.expect_nothing()


async def test_a_watcher_keeps_nothing_of_those_that_have_ended(autojump_clock: object) -> None:
    async with open_system() as system:
        watcher = system.start(Counter)
        cell = system.lookup(watcher.kind, watcher.key)
        assert cell is not None
        others = [system.start(Counter) for _ in range(10)]
        await settle()
        for other in others:
            cell.watch(other)
        assert len(cell.watching or ()) == 10
        for other in others:
            await other.stop()
        assert not cell.watching


async def test_a_restart_is_not_an_end(autojump_clock: object) -> None:
    async with open_system() as system:
        counter, probe = system.start(Counter), Probe(system)
        probe.watch(counter)
        counter.tell(Crash())
        await probe.expect_nothing()
        await counter.stop()
        await probe.expect(Terminated(counter, "stopped"))


async def test_watching_the_dead_and_the_unknown_is_answered_at_once(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        counter, probe = system.start(Counter), Probe(system)
        await counter.stop()
        probe.watch(counter)
        await probe.expect(Terminated(counter, "stopped"))
        unknown = system.ref("nobody", "x")
        probe.watch(unknown)
        await probe.expect(Terminated(unknown, "absent"))


async def test_who_unwatches_hears_nothing(autojump_clock: object) -> None:
    class Watcher(Counter):
        def __init__(self, ref: actors.ActorRef) -> None:
            super().__init__()
            self.watched = ref
            self.heard = 0

        def on_start(self) -> None:
            self.watch(self.watched)

        @actors.handles(str)
        def enough(self, message: str) -> None:
            self.unwatch(self.watched)

        @actors.handles(Terminated)
        def terminated(self, message: Terminated) -> None:
            self.heard += 1

        @actors.handles(Get)
        def get(self, message: Get) -> int:
            return self.heard

    async with open_system() as system:
        counter = system.start(Counter)
        watcher, other = system.start(Watcher, counter), system.start(Watcher, counter)
        await watcher.ask("enough")
        await counter.stop()
        assert await watcher.ask(Get()) == 0
        assert await other.ask(Get()) == 1


async def test_terminated_passes_a_full_mailbox(autojump_clock: object) -> None:
    class Narrow(Counter):
        mailbox = actors.MailboxSpec(capacity=1, on_full="drop_newest")

        def __init__(self, ref: actors.ActorRef) -> None:
            super().__init__()
            self.watched = ref

        def on_start(self) -> None:
            self.watch(self.watched)

        @actors.handles(Terminated)
        def terminated(self, message: Terminated) -> None:
            self.total = 1000

    async with open_system() as system:
        counter = system.start(Counter)
        narrow = system.start(Narrow, counter)
        await narrow.ask(Get())
        counter.stop()
        for _ in range(5):
            narrow.tell(Add(1))
        await settle()
        assert await narrow.ask(Get()) >= 1000


async def test_a_watcher_that_ends_is_forgotten(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(Kind("counter", lambda key: Counter()))
        counter = system.ref("counter", "a")
        await counter.ask(Get())
        for _ in range(10):
            probe = Probe(system)
            probe.watch(counter)
            await settle()
            await probe.ref.stop()
        cell = system.lookup("counter", "a")
        assert cell is not None
        assert not cell.watchers
        await counter.stop()
        assert system.dead_letters.count == 0


async def test_an_actor_that_fails_for_good_is_reported_as_failed(autojump_clock: object) -> None:
    async with open_system() as system:
        counter = system.start(Counter, policy=actors.RestartPolicy(restart="temporary"))
        probe = Probe(system)
        probe.watch(counter)
        counter.tell(Crash())
        await probe.expect(Terminated(counter, "failed"))


class Listener(Counter):
    """Watches, and stops watching, as it is told; keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Terminated] = []

    @actors.handles(list)
    def do(self, steps: list[tuple[str, actors.ActorRef]]) -> None:
        for step, ref in steps:
            getattr(self, step)(ref)

    @actors.handles(Terminated)
    def terminated(self, message: Terminated) -> None:
        self.heard.append(message)

    @actors.handles(str)
    def tell_all(self, message: str) -> list[Terminated]:
        return self.heard


async def test_watching_an_absent_actor_twice_is_watching_it_once(autojump_clock: object) -> None:
    async with open_system() as system:
        listener, absent = system.start(Listener), system.ref("nobody", "x")
        await listener.ask([("watch", absent), ("watch", absent)])
        assert await listener.ask("?") == [Terminated(absent, "absent")]
        await listener.ask([("watch", absent)])  # it has heard, and asks anew
        assert await listener.ask("?") == [Terminated(absent, "absent")] * 2


async def test_who_watches_again_before_it_heard_of_the_end_hears_of_it_once(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        listener, counter = system.start(Listener), system.start(Counter, kind="c", key="1")
        cell = system.lookup(listener.kind, listener.key)
        assert cell is not None
        await listener.ask([("watch", counter)])
        napping = listener.ask(Nap(1.0))
        await counter.stop()
        cell.watch(counter)
        await napping
        assert await listener.ask("?") == [Terminated(counter, "stopped")]
        # Of two under one name that ended before it could hear of either, it hears of the latter.
        napping = listener.ask(Nap(1.0))
        first = system.start(Counter, kind="c", key="1")
        cell.watch(first)
        await first.stop()
        second = system.start(Counter, kind="c", key="1")
        cell.watch(second)
        found = system.lookup("c", "1")
        assert found is not None
        found.kill()
        await napping
        assert await listener.ask("?") == [
            Terminated(counter, "stopped"),
            Terminated(counter, "killed"),
        ]


async def test_who_unwatches_an_absent_actor_at_once_hears_nothing(autojump_clock: object) -> None:
    async with open_system() as system:
        listener, absent = system.start(Listener), system.ref("nobody", "x")
        await listener.ask([("watch", absent), ("unwatch", absent)])
        assert await listener.ask("?") == []
        await listener.ask([("watch", absent), ("unwatch", absent), ("watch", absent)])
        assert await listener.ask("?") == [Terminated(absent, "absent")]
