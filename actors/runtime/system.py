"""`ActorSystem`: the nursery, names, clock and dead letters that its actors share."""

from __future__ import annotations

import contextvars
import functools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import pykka
import structlog
import trio
from trio.lowlevel import enable_ki_protection

from .actor import Actor
from .cell import Cell, Seat, State
from .checks import check_callable, check_key, check_name, check_seconds, check_type
from .child import ChildSpec, Strategy
from .cluster import Cluster
from .dead_letters import DeadLetters
from .dispatcher import Dispatcher, Workers
from .durability import Durability, DurabilitySettings
from .errors import ActorFailed, Misfit
from .future import Future
from .groups import Groups
from .home import Home
from .index import Index
from .journal import Journal
from .kinds import Group, Kind
from .lifetime import Lifetime
from .loop_cell import LoopCell
from .mailbox import Mailbox
from .panic import end_of_all, presentable
from .ref import CURRENT, ActorRef, Naming
from .restart import DEFAULT, RestartPolicy
from .roots import RootGroup
from .statistics import Statistics
from .stores import EventStore, SnapshotStore
from .supervisor import Supervisor
from .system_view import current_system
from .target import Target
from .thread_cell import ThreadCell, ThreadingActor, check_new
from .timers import Alarm, Timers
from .watching import Located

T = TypeVar("T")
_log = structlog.get_logger("actors")


class ActorSystem:
    """A system of actors. Open it once with `async with`; its actors run until that block is left.

    When the block is left, for whatever reason, the actors stop. Kinds and supervisors stop in the
    reverse order of their first start. An actor that does not stop by its deadline is cancelled. If
    the block is left because it was cancelled, the actors still get this time to stop.

    A first Ctrl-C interrupts the body of `async with`, the actors stop in order, and the block
    raises KeyboardInterrupt. A Ctrl-C does not interrupt a handler, hook, constructor or callback
    of an actor, since its state would be half changed. One that runs for ever is therefore waited
    for; `watchdog` can interrupt such code. A second Ctrl-C, during the stop, cancels all that the
    actors await and waits for no actor any longer.

    Arguments:
        name: a name for logs and errors.
        default_timeout_s: the deadline of an ask that gives none, in seconds.
        seed: the seed for the jitter of back-offs. None: a random one.
        events: the event store for persistent actors (see `stores`). If the store itself consists
            of actors of this system, call `use_stores` instead.
        snapshots: the snapshot store. Without one, a recovery replays events.
        cluster: the cluster of which the system is a node, see `actors.cluster`. A cluster that
            needs actors of this system is given to `use_cluster` instead.

    Attributes:
        clock: returns the time of trio's clock, in seconds, as `now` does. It is the clock's own
            function: `trio.current_time` calls two others before it gets there.
        dead_letters: the messages that did not reach an actor. It has their `count`, the `last`
            100, and `subscribe(callback)`, which calls back with each.

    Raises SystemFailed when the block is left, if a supervisor at the root gave up, and
    RuntimeError if the system is opened twice.
    """

    def __init__(
        self,
        name: str = "actors",
        *,
        default_timeout_s: float = 5.0,
        seed: int | None = None,
        events: EventStore | None = None,
        snapshots: SnapshotStore | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        check_seconds("default_timeout_s", default_timeout_s)
        self.name = name
        self.default_timeout_s = default_timeout_s
        self.random = random.Random(seed)
        self.durability: Durability | None = None
        self._stores = (events, snapshots)
        self._cluster: Cluster | None = None
        self._cluster_to_open = cluster
        self.dispatcher = Dispatcher()
        self.timers = Timers(self.dispatcher)
        self.dead_letters = DeadLetters(self.now)
        self.restarts = 0
        self.quarantined = 0
        self.handled_in_threads = 0  # messages, by actors in threads that have ended
        self.in_threads: set[Cell] = set()
        self.refused = 0  # messages that full mailboxes refused
        self.dropped = 0  # messages that full mailboxes dropped
        self.clock: Callable[[], float]
        self.home: Home
        self.vacant: Cell
        self.workers: Workers
        self.nursery: trio.Nursery
        self._opened = False
        self._index = Index()
        self._groups = Groups(self)
        self._lifetime = Lifetime(name, self._begin, self._tell_who_waits)
        self._token: contextvars.Token[Naming | None]

    @staticmethod
    def current() -> ActorSystem:
        """Return the system whose `async with` block, or whose actor, makes this call.

        Raises RuntimeError if there is none.
        """
        system = current_system()
        assert isinstance(system, ActorSystem)
        return system

    def now(self) -> float:
        """Return the time of trio's clock, in seconds."""
        return self.clock()

    # --- life ------------------------------------------------------------------------------------

    @enable_ki_protection
    async def __aenter__(self) -> Self:
        if self._opened:
            raise RuntimeError(f"{self.name}: a system is opened once; make another one")
        self._opened = True
        self.clock = trio.lowlevel.current_clock().current_time
        self.home = Home.current()
        # Refs whose actor has not been there yet lead to this cell. It has ended, so it takes
        # nothing.
        self.vacant = Cell(self, Seat("", "", Actor, DEFAULT, Group(self, "")))
        self.vacant.state = State.ENDED
        self._token = CURRENT.set(self)
        self.dispatcher.open(self.home)
        await self._lifetime.open()
        try:
            await self._lifetime.wait_running()
            if self._cluster_to_open is not None:
                await self.use_cluster(self._cluster_to_open)
            events, snapshots = self._stores
            if events is not None:
                self.use_stores(events, snapshots)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    def _begin(self, nursery: trio.Nursery) -> None:
        """Start the tasks that run the actors."""
        self.nursery = nursery
        self.workers = Workers(nursery, self.home)
        nursery.start_soon(self.timers.run)
        nursery.start_soon(self.dispatcher.run)

    def _tell_who_waits(self) -> None:
        """Settle with an error whatever is still waited for, since nothing runs any more."""
        self._groups.shut()
        for cell in self._index.cells():  # none, unless a task of the system itself broke
            cell.end("killed")
        self.timers.close()

    @enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._lifetime.close(self.stop, exc_type, exc, traceback)
        finally:
            CURRENT.reset(self._token)

    async def stop(self) -> None:
        """Stop all actors in order. `async with` does this when its block is left.

        A node of a cluster hands its placed actors over to others before.
        """
        if self._cluster is not None:
            await self._cluster.leave()
        await self._groups.stop()

    def fail(self, error: BaseException) -> None:
        """Cancel the body of `async with`, and have the block raise SystemFailed with this cause.

        If `error` is a SystemExit or KeyboardInterrupt, the block raises that instead.
        """
        self._lifetime.fail(error)

    # --- starting --------------------------------------------------------------------------------

    @enable_ki_protection
    def start(
        self,
        cls: Callable[..., Any],
        *args: Any,
        kind: str | None = None,
        key: str | None = None,
        policy: RestartPolicy | None = None,
        **kwargs: Any,
    ) -> ActorRef:
        """Start an `Actor` or a pykka.ThreadingActor outside of any supervisor, and return its ref.

        Its failures affect no other actor. It may be called from any thread. In another thread than
        the loop's it waits until the actor has its place, at most the system's default timeout; the
        constructor runs in the loop's thread also then.

        Arguments:
            cls: the actor's class.
            *args: the constructor's arguments, at the first start and at each restart.
            **kwargs: the constructor's keyword arguments, likewise.
            kind: the first half of the actor's name; by default the name of the class.
            key: the second half; by default a number.
            policy: what to do when it fails; by default it is restarted, at most 3 times in 5 s.

        Raises:
            ActorExists: the name is taken.
            ActorDeadError: the system is stopping.
            pykka.Timeout: the loop was busy for longer than the timeout; the actor may still be
                started.
            TypeError: `cls` made no actor, or one that has, or had, a place already.
            ValueError: `kind` or `key` is no string, or is empty.
            Exception: what the constructor raises.
        """
        if policy is not None:
            check_type("policy", policy, RestartPolicy)
        if kind is not None:
            check_name("kind", kind)
        if key is not None:
            check_name("key", key)
        if not self.home.here():
            make = functools.partial(
                self.start, cls, *args, kind=kind, key=key, policy=policy, **kwargs
            )
            return self._from_thread(make)
        factory = functools.partial(cls, *args, **kwargs)
        first = self.make(factory)
        kind = kind or type(first).__name__
        group = self._groups.of(kind)
        seat = Seat(kind, key or self._groups.number(kind), factory, policy or DEFAULT, group)
        cell = self._seat(first, seat)
        try:
            cell.begin(first)
        except BaseException:
            cell.end("failed")
            raise
        return cell.ref

    @enable_ki_protection
    def register(self, kind: Kind) -> None:
        """Have actors of this kind started by their first message.

        It may be called from any thread.

        Raises ValueError if a kind of that name is registered already.
        """
        check_type("what is registered", kind, Kind)
        if not self.home.here():
            self._from_thread(functools.partial(self.register, kind))
            return
        group = self._groups.of(kind.name)
        if group.kind is not None:
            raise ValueError(f"kind {kind.name!r} is registered already")
        if self._cluster is not None and kind.placement != "local":
            self._cluster.register(kind)
        group.kind = kind

    def registered(self, kind: str) -> bool:
        """Return whether the kind is registered."""
        return self._groups.registered(kind)

    @enable_ki_protection
    def supervise(
        self,
        specs: Sequence[ChildSpec],
        strategy: Strategy = "one_for_one",
        *,
        max_restarts: int = 3,
        within_s: float = 5.0,
        stops_together: bool = False,
        key: str | None = None,
    ) -> ActorRef:
        """Start a supervisor at the root, which starts these children in their order.

        Returns the supervisor's ref.

        A supervisor that gives up is restarted with all its children. If it gives up more than 3
        times in 5 s, the system fails.

        Arguments:
            specs: the children.
            strategy: `one_for_one`, `one_for_all` or `rest_for_one`; see `Supervisor`.
            max_restarts: the supervisor gives up when its children need more restarts than this.
            within_s: the time in which those restarts are counted, in seconds.
            stops_together: whether the children are asked to stop all at once, instead of one after
                the other in reverse order.
            key: the supervisor's name, and the default `kind` of its children; by default a number.

        Raises ActorExists if the name is taken, and ValueError for another strategy, numbers out of
        range, and children that share an id or a name.
        """
        if key is not None:
            check_name("key", key)
        if not self.home.here():
            make = functools.partial(
                self.supervise,
                specs,
                strategy,
                max_restarts=max_restarts,
                within_s=within_s,
                stops_together=stops_together,
                key=key,
            )
            return self._from_thread(make)
        key = key or self._groups.number("supervisor")
        factory = functools.partial(
            Supervisor,
            specs,
            strategy=strategy,
            max_restarts=max_restarts,
            within_s=within_s,
            stops_together=stops_together,
        )
        first = self.make(factory)
        group = RootGroup(self, f"supervisor/{key}")
        group.closed = self._groups.closing
        cell = self._seat(first, Seat("supervisor", key, factory, DEFAULT, group))
        self._groups.enter(group)
        cell.begin(first)
        return cell.ref

    @enable_ki_protection
    def use_stores(
        self,
        events: EventStore,
        snapshots: SnapshotStore | None = None,
        settings: DurabilitySettings | None = None,
    ) -> Durability:
        """Allow persistent actors in this system, and keep their state in these stores.

        Call it after the actors that the stores consist of have been started, and before persistent
        actors are started or registered. When the system stops, what came after this call stops
        first, then the journal writes what is left, and then what came before the call stops.

        Raises RuntimeError if the system has stores already.
        """
        if settings is not None:
            check_type("settings", settings, DurabilitySettings)
        if self.durability is not None:
            raise RuntimeError("the system has stores already")
        self.durability = durability = Durability(
            events, snapshots, settings, rng=self.random, turn=self.dispatcher
        )
        self.dispatcher.enclose(durability.journal)
        self.nursery.start_soon(durability.run)
        self._groups.close_in_turn("durability/", durability.close)
        return durability

    @property
    def clustered(self) -> bool:
        """Whether the system is a node of a cluster."""
        return self._cluster is not None

    async def use_cluster(self, cluster: Cluster) -> None:
        """Become a node of this cluster. It is left once the actors that start later have stopped.

        Raises RuntimeError if the system is a node already, ValueError if a kind that is registered
        cannot be reached from other nodes, and what `cluster.open` raises.
        """
        if self._cluster is not None:
            raise RuntimeError("the system is a node of a cluster already")
        await cluster.open(self)
        # After what `open` has started, which stops after it.
        self._groups.close_in_turn("cluster/", cluster.close)
        for kind in self._groups.placed():
            cluster.register(kind)
        self._cluster = cluster

    @property
    def journal(self) -> Journal:
        """The journal. Raises RuntimeError in a system without stores."""
        if self.durability is None:
            raise RuntimeError("the system has no stores: ActorSystem(events=...)")
        return self.durability.journal

    # --- names -----------------------------------------------------------------------------------

    def ref(self, kind: str, key: str) -> ActorRef:
        """Return the ref of that name, whether or not the actor is there now.

        Raises TypeError if `kind` or `key` is no string.
        """
        cell = self.lookup(kind, key)
        if cell is not None:
            return cell.ref
        check_key("kind", kind)
        check_key("key", key)
        return ActorRef(self, kind, key)

    def actors(self, kind: str | None = None) -> Iterator[ActorRef]:
        """Return the refs of all actors that are there now, or of those of one kind."""
        return (cell.ref for cell in self._index.cells(kind))

    def lookup(self, kind: str, key: str) -> Cell | None:
        """Return the cell of that name, if there is one now."""
        return self._index.find(kind, key)

    def whereabouts(self, kind: str, key: str) -> Located | None:
        """Return the actor that has this name now, here or on another node.

        None: there is none here, and here it would be.
        """
        cell = self._index.find(kind, key)
        if cell is not None or self._cluster is None:
            return cell
        try:
            return self._cluster.elsewhere(kind, key)
        except pykka.ActorDeadError:
            return None

    def elsewhere(self, kind: str, key: str) -> Located | None:
        """Return what reaches that actor on another node; None: it is, or starts, on this one.

        Raises ActorDeadError if the actor is on no node that can be reached.
        """
        return None if self._cluster is None else self._cluster.elsewhere(kind, key)

    def belongs_here(self, kind: str, key: str) -> bool:
        """Return whether that actor is, or starts, on this node."""
        try:
            return self.elsewhere(kind, key) is None
        except pykka.ActorDeadError:
            return False

    def locate(self, ref: ActorRef, last: Target) -> Target:
        """Return the target for messages to `ref`, and start it if its kind is registered.

        `last` is the target that the ref led to before. Raises ActorFailed or ActorDeadError if
        there is no actor and none can be started.
        """
        cell = self.lookup(ref.kind, ref.key)
        if cell is not None:
            return cell
        if self._cluster is not None:
            target = self._cluster.elsewhere(ref.kind, ref.key)
            if target is not None:
                return target
        if self.may_start(ref.kind):
            return self._groups.of(ref.kind).activate(ref.key)
        if last.reason in ("failed", "escalated"):
            raise ActorFailed(f"{ref.kind}/{ref.key}", math.inf, last.error)
        raise pykka.ActorDeadError(f"{ref} is not alive")

    def make(self, factory: Callable[[], Any]) -> Any:
        """Call the factory with the context variables of a new actor, and return what it made.

        Raises what the factory raises, and TypeError if it made no new actor of this runtime.
        """
        home = self.home
        before, home.whose = home.whose, None
        try:
            made, context = self.dispatcher.contexts.call(factory)
        finally:
            home.whose = before
        if isinstance(made, Actor):
            made.actor_made(context)
        elif isinstance(made, pykka.ThreadingActor):
            check_new(made)
        else:
            raise Misfit(f"{type(made).__name__} is no actor of this runtime")
        return made

    def try_to_make(self, seat: Seat | Cell) -> tuple[Any, Exception | None]:
        """Return a new instance, or None and the exception that its constructor raised."""
        try:
            return self.make(seat.factory), None
        except BaseException as error:
            _log.error("constructor_failed", kind=seat.kind, key=seat.key, exc_info=error)
            if (end := end_of_all(error)) is not None:
                self.fail(end)
            return None, presentable(error)

    def place(self, seat: Seat) -> Cell:
        """Make the cell and its first instance, and start it.

        An exception of the constructor is a failure that the parent decides about. Raises
        ActorExists if the name is taken, ActorDeadError if the system is stopping, TypeError if the
        factory made no new actor.
        """
        first, error = self.try_to_make(seat)
        if isinstance(error, Misfit):
            raise error  # another attempt would fail the same way
        cell = self._seat(first, seat)
        cell.begin_or_fail(first, error)
        return cell

    def _seat(self, first: Any, seat: Seat) -> Cell:
        """Make the cell for an instance, in the loop or a thread, and enter it under its name."""
        if seat.parent.closed:
            raise pykka.ActorDeadError(f"{seat.kind}/{seat.key}: the system is stopping")
        ours = isinstance(first, (Actor, ThreadingActor))  # elsewhere, `mailbox` may mean anything
        spec = first.mailbox if ours else Actor.mailbox
        cell: Cell
        if isinstance(first, pykka.ThreadingActor):
            cell = ThreadCell(self, seat, spec.capacity)
        else:  # an Actor, or None if the constructor raised
            cell = LoopCell(self, seat, Mailbox(spec))
        self._index.add(cell)
        seat.parent.adopt(cell)
        return cell

    def forget(self, cell: Cell) -> None:
        """Free the name of a cell that has ended."""
        self._index.remove(cell)

    def may_start(self, kind: str) -> bool:
        """Return whether a message can start an actor of this kind now."""
        return self._groups.may_start(kind)

    def _from_thread(self, function: Callable[[], T]) -> T:
        """Call a function in the loop's thread, wait for its result, and return or raise that."""
        result: Future[T] = Future(self.home)
        try:
            self.home.call_soon(_settle, result, function)
        except trio.RunFinishedError:
            raise pykka.ActorDeadError(f"{self.name}: its event loop has ended") from None
        return result.get(timeout=self.default_timeout_s)

    # --- time, threads, counts -------------------------------------------------------------------

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function soon in the loop's thread. This may be called from any thread.

        Raises MailboxFull if too many calls wait, and trio.RunFinishedError if the loop has ended.
        """
        check_callable("function", function)
        self.home.offer(function, *args)

    def after(self, delay_s: float, function: Callable[[], object]) -> Alarm:
        """Call a function in `delay_s` seconds. The returned alarm can be cancelled.

        `after` may be called from any thread. If an actor calls it, the function sees the actor's
        context variables, and an exception in the function is a failure of the actor. If other code
        calls it, the function sees a copy of the context variables of that moment, and an exception
        is logged.

        Raises ValueError for a delay that is negative or NaN, and ActorDeadError once the system
        has ended.
        """
        check_seconds("delay_s", delay_s)
        check_callable("function", function)
        home = self.home
        if not home.here():
            return self._from_thread(functools.partial(self.after, delay_s, function))
        if self._lifetime.ended:
            raise pykka.ActorDeadError(f"{self.name} has ended, and its clock with it")
        owner = home.owner()
        context = contextvars.copy_context() if owner is None else None
        at_s = self.now() + delay_s
        return Alarm(self.timers, at_s, function, home, owner=owner, context=context)

    def alarm(self, delay_s: float, function: Callable[[], object]) -> Alarm:
        """Call a function of the runtime in `delay_s` seconds.

        Unlike with `after`, an exception in it is no actor's failure, and the alarm keeps no
        instance in memory.
        """
        return Alarm(self.timers, self.now() + delay_s, function, self.home, owner=None)

    def statistics(self) -> Statistics:
        """Return the counts for metrics. It is cheap enough for every scrape."""
        return Statistics(
            actors=len(self._index),
            handled=self.dispatcher.handled
            + self.handled_in_threads
            + sum(cell.handled for cell in self.in_threads),
            restarts=self.restarts,
            dead_letters=self.dead_letters.count,
            quarantined=self.quarantined,
            slow_handlers=self.dispatcher.slow,
            workers=self.workers.busy,
            refused=self.refused,
            dropped=self.dropped,
        )


def _settle(result: Future[T], function: Callable[[], T]) -> None:
    try:
        result.settle_quietly(function())
    except BaseException as error:
        result.settle_quietly(error=presentable(error))
