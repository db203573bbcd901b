"""What the runtime asks of a cluster: where an actor is, and what reaches it there."""

from __future__ import annotations

from typing import Any

import pykka
import pytest

import actors
from actors import Future, Kind, MailboxFull, Terminated
from actors.runtime.mailbox import Control
from actors.runtime.messages import Stop
from actors.runtime.reasons import Reason
from actors.runtime.system import ActorSystem
from actors.runtime.system_view import SystemView
from actors.runtime.testing import Probe, settle
from actors.runtime.watching import Located, Watcher

from .sample import Add, Counter, Get


class Far:
    """Stands for an actor on another node. It keeps what it is sent, and answers asks with 42."""

    thread = -1
    alive = up = True
    error: BaseException | None = None
    reason: Reason | None = None
    name = "counter/far"

    def __init__(self, system: SystemView) -> None:
        self.system = system
        self.told: list[Any] = []
        self.watchers: list[Watcher] = []

    def actor_or_none(self) -> Any:
        return None

    def tell(self, message: Any) -> None:
        if len(self.told) == 3:
            raise MailboxFull("three at most")
        self.told.append(message)

    def tell_or_wait(self, message: Any) -> Future[bool] | None:
        self.tell(message)
        return None

    def tell_from_thread(self, message: Any) -> None:
        self.system.call_soon(self.tell, message)

    def ask(self, message: Any, future: Future[Any]) -> None:
        self.told.append(message)
        future.set(42)

    def control(self, control: Control) -> None:
        self.told.append(control.message)

    def when_started(self) -> Future[bool]:
        return self._true()

    def stop(self, reason: Reason = "stopped") -> Future[bool]:
        self.told.append(Stop(reason))
        return self._true()

    def _true(self) -> Future[bool]:
        done: Future[bool] = Future(self.system.home)
        done.set(True)
        return done

    def add_watcher(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)

    def remove_watcher(self, watcher: Watcher) -> None:
        self.watchers.remove(watcher)


class TwoNodes:
    """A cluster in which the keys in `far` are on the other node, and `lost` ones on none."""

    def __init__(self) -> None:
        self.far: dict[str, Far] = {}
        self.lost: set[str] = set()
        self.kinds: list[str] = []
        self.steps: list[str] = []
        self.system: SystemView

    async def open(self, system: SystemView) -> None:
        self.steps.append("open")
        self.system = system

    async def leave(self) -> None:
        self.steps.append("leave")

    async def close(self) -> None:
        self.steps.append("close")

    def register(self, kind: Kind) -> None:
        if kind.name == "wrong":
            raise ValueError("wrong.Message: cannot cross")
        self.kinds.append(kind.name)

    def elsewhere(self, kind: str, key: str) -> Located | None:
        if key in self.lost:
            raise pykka.ActorDeadError(f"{kind}/{key} is on no node")
        return self.far.get(key) if kind in self.kinds else None


async def test_a_message_goes_to_the_node_that_the_actor_is_on(autojump_clock: object) -> None:
    cluster = TwoNodes()
    async with ActorSystem(cluster=cluster) as system:
        system.register(Kind("counter", lambda _key: Counter(), placement="hashed"))
        system.register(Kind("private", lambda _key: Counter()))
        far = cluster.far["far"] = Far(system)
        ref = system.ref("counter", "far")
        ref.tell(Add(1))
        await ref.send(Add(2))
        assert await ref.ask(Get()) == 42
        assert await ref.stop()
        assert await ref.started()
        assert far.told == [Add(1), Add(2), Get(), Stop("stopped")]
        assert system.statistics().actors == 0
        system.ref("counter", "near").tell(Add(5))
        assert await system.ref("counter", "near").ask(Get()) == 5
        assert await system.ref("private", "far").ask(Get()) == 0
        assert cluster.kinds == ["counter"]


async def test_a_message_from_a_thread_goes_there_too(autojump_clock: object) -> None:
    import trio

    cluster = TwoNodes()
    async with ActorSystem(cluster=cluster) as system:
        system.register(Kind("counter", lambda _key: Counter(), placement="hashed"))
        far = cluster.far["far"] = Far(system)
        ref = system.ref("counter", "far")
        await trio.to_thread.run_sync(ref.tell, Add(1))
        await settle()
        assert await trio.to_thread.run_sync(lambda: ref.ask(Get(), block=True)) == 42
        assert far.told == [Add(1), Get()]


async def test_an_actor_that_is_on_no_node_is_dead(autojump_clock: object) -> None:
    cluster = TwoNodes()
    async with ActorSystem(cluster=cluster) as system:
        system.register(Kind("counter", lambda _key: Counter(), placement="hashed"))
        cluster.lost.add("x")
        ref = system.ref("counter", "x")
        with pytest.raises(pykka.ActorDeadError, match="on no node"):
            ref.tell(Add(1))
        assert system.dead_letters.count == 1
        with pytest.raises(pykka.ActorDeadError, match="on no node"):
            await ref.ask(Get())
        assert await ref.stop() is False
        probe = Probe(system)
        probe.watch(ref)
        await probe.expect(Terminated(ref, "absent"))


async def test_an_actor_elsewhere_is_watched_there(autojump_clock: object) -> None:
    cluster = TwoNodes()
    async with ActorSystem(cluster=cluster) as system:
        system.register(Kind("counter", lambda _key: Counter(), placement="hashed"))
        far = cluster.far["far"] = Far(system)
        ref = system.ref("counter", "far")
        probe, other = Probe(system), Probe(system)
        probe.watch(ref)
        other.watch(ref)
        await settle()
        one, two = far.watchers
        assert one.watching == {ref}
        one.watching.discard(ref)
        one.notify(Terminated(ref, "node_down"))
        await probe.expect(Terminated(ref, "node_down"))
        await other.ref.stop()
        assert far.watchers == [one]
        assert two.watching is None


async def test_what_waits_for_an_actor_that_moved_goes_after_it(autojump_clock: object) -> None:
    cluster = TwoNodes()
    async with ActorSystem(cluster=cluster) as system:
        system.register(Kind("counter", lambda _key: Counter(), placement="hashed"))
        ref = system.ref("counter", "far")
        assert await ref.ask(Get()) == 0
        cell = system.lookup("counter", "far")
        assert cell is not None
        probe = Probe(system)
        probe.watch(ref)
        await settle()
        ref.tell(Add(1))
        ended = cell.stop("moved")
        ref.tell(Add(2))
        answer = ref.ask(Get())
        ref.notify(Add(3))
        ref.tell(Add(4))
        far = cluster.far["far"] = Far(system)
        assert await ended
        assert far.told == [Add(2), Get(), Add(3)]  # the first was before the stop
        assert await answer == 42
        assert system.dead_letters.last[-1].message == Add(4)  # for which there is no room
        await probe.expect(Terminated(ref, "moved"))


async def test_an_actor_that_rests_comes_back_where_it_belongs_by_then(
    autojump_clock: object,
) -> None:
    cluster = TwoNodes()
    async with ActorSystem(cluster=cluster) as system:
        system.register(Kind("counter", lambda _key: Counter(), placement="hashed"))
        ref = system.ref("counter", "far")
        assert await ref.ask(Get()) == 0
        cell = system.lookup("counter", "far")
        assert cell is not None
        ended = cell.stop("passivated")
        ref.tell(Add(1))
        far = cluster.far["far"] = Far(system)
        assert await ended
        assert far.told == [Add(1)]
        assert system.lookup("counter", "far") is None


async def test_a_kind_whose_messages_cannot_cross_is_refused(autojump_clock: object) -> None:
    cluster = TwoNodes()
    async with ActorSystem(cluster=cluster) as system:
        with pytest.raises(ValueError, match="cannot cross"):
            system.register(Kind("wrong", lambda _key: Counter(), placement="hashed"))
        assert not system.registered("wrong")


async def test_a_cluster_that_is_joined_late_hears_of_the_kinds_before(
    autojump_clock: object,
) -> None:
    cluster = TwoNodes()
    async with ActorSystem() as system:
        system.register(Kind("counter", lambda _key: Counter(), placement="hashed"))
        await system.use_cluster(cluster)
        assert cluster.kinds == ["counter"]
        with pytest.raises(RuntimeError, match="already"):
            await system.use_cluster(cluster)
    assert cluster.steps == ["open", "leave", "close"]


async def test_a_cluster_is_left_once_the_actors_have_stopped(autojump_clock: object) -> None:
    cluster = TwoNodes()

    class Leaving(Counter):
        def on_stop(self) -> None:
            cluster.steps.append("stopped")

    async with ActorSystem(cluster=cluster) as system:
        system.register(Kind("counter", lambda _key: Leaving(), placement="hashed"))
        await system.ref("counter", "near").ask(Get())
    assert cluster.steps == ["open", "leave", "stopped", "close"]


def test_a_placement_is_one_of_four() -> None:
    with pytest.raises(ValueError, match="placement is one of local, hashed, one, node"):
        Kind("counter", lambda _key: Counter(), placement="far")  # type: ignore[arg-type]


def test_a_handler_of_local_messages_takes_none_from_other_nodes() -> None:
    class Base(actors.Actor):
        @actors.handles(Add)
        def add(self, message: Add) -> None: ...

        @actors.handles(Get, local=True)
        def get(self, message: Get) -> None: ...

    class Derived(Base):
        def add(self, message: Add) -> None: ...

    assert set(Derived.actor_handlers.crossing) == {Add}
    assert Derived.actor_handlers.crossing[Add] is Derived.add
