"""The loop of the parent: starts all nodes, keeps them running, restarts and stops them."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio
from starlette.applications import Starlette

from actors.node.exits import Exit
from actors.node.log_writer import LogWriter
from actors.node.parent.control import (
    ControlReply,
    ControlRequest,
    Progress,
    RestartAll,
    Show,
    serve_control,
)
from actors.node.parent.ended import ProcessEnd, exit_of_all
from actors.node.parent.hangs import HangWatch, HoldActor
from actors.node.parent.keeper import NodeKeeper, RestartFailed
from actors.node.parent.overview import Overview, readiness_of_all, readings_of_parent, row
from actors.node.parent.process import NodeProcess
from actors.node.stopping import Stopping
from actors.node.upkeep import Revivable, hold_lease, keep_alive
from persistence import StoreUnavailable
from persistence.postgres import SchemaLease
from protocol.http.application import Readiness, application, serve_http
from protocol.http.pages import Pages

log = structlog.get_logger("actors.node.parent")

StartNode = Callable[[int, Callable[[], None]], NodeProcess]
"""Starts a process of the node with this number, counted from 0, and calls the function when the
process changes."""


@dataclass(kw_only=True)
class ParentProcess:
    """Several nodes.

    Attributes:
        nodes: the names of the nodes, in order, and the labels of each.
        start: starts a process of a node.
        version: the version of Greenroom.
        log: the writer of the log.
        stopping: says when to stop.
        lease: the lease of the database's schema; None: it need not be held.
        embedded: the embedded servers; None: there are none.
        http: listening sockets for HTTP; none: no HTTP.
        pages: the web pages that HTTP serves, if any.
        clients: the address at which clients connect.
        control: the socket for commands; None: there is none.
        kept: the label that each kind is kept to, if these nodes are all of their cluster.
        hold: holds an actor that a node is caught in; None: none is held.
        caught_after_s: how long a node has to be in its code.
        census: returns lines on the nodes of all machines; it blocks, and raises StoreUnavailable.
            None: there are no other machines.
        failure: the exit code, if the server cannot go on.
        cause: why it cannot, for people.
    """

    nodes: Mapping[str, tuple[str, ...]]
    start: StartNode
    version: str
    log: LogWriter
    stopping: Stopping
    lease: SchemaLease | None = None
    embedded: Revivable | None = None
    http: Sequence[socket.socket] = ()
    pages: Pages | None = None
    clients: str = ""
    control: socket.socket | None = None
    kept: dict[str, str] = field(default_factory=dict)
    hold: HoldActor | None = None
    caught_after_s: float = 2.0
    census: Callable[[], Sequence[str]] | None = None
    failure: Exit | None = field(default=None, init=False)
    cause: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._up = False
        self._restarting = trio.Lock()
        self.hangs: HangWatch | None = None
        self.keepers = [
            NodeKeeper(name, partial(self.start, number), self._failed, labels)
            for number, (name, labels) in enumerate(self.nodes.items())
        ]

    async def run(self, started: Callable[[], None]) -> Exit:
        """Keep all nodes running until asked to stop; returns the exit code of the server.

        Arguments:
            started: called once all nodes serve clients.
        """
        stopping = self.stopping
        http_over = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(stopping.listen)
            if self.lease is not None:
                nursery.start_soon(hold_lease, self.lease, stopping)
            if self.embedded is not None:
                nursery.start_soon(keep_alive, self.embedded)
            if self.control is not None:
                nursery.start_soon(serve_control, self.control, self.answer)
            if self.hold is not None:
                self.hangs = HangWatch(self.keepers, self.hold, self.caught_after_s)
                nursery.start_soon(self.hangs.run)
            if self.http:
                await nursery.start(
                    partial(serve_http, self._web(), self.http, stop=http_over.wait)
                )
            async with trio.open_nursery() as forwarding:
                forwarding.start_soon(self._stop)
                async with trio.open_nursery() as keeping:
                    for keeper in self.keepers:
                        keeping.start_soon(keeper.run)
                    await self._until_up()
                    if self._up:
                        started()
                forwarding.cancel_scope.cancel()
            http_over.set()
            nursery.cancel_scope.cancel()
        if self.failure is not None:
            return self.failure
        return exit_of_all(keeper.stopped_as for keeper in self.keepers)

    async def _until_up(self) -> None:
        async with trio.open_nursery() as nursery:

            async def give_up() -> None:
                await self.stopping.asked.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_up)
            for keeper in self.keepers:
                await keeper.until_up()
            self._up = True
            nursery.cancel_scope.cancel()

    async def _stop(self) -> None:
        await self.stopping.asked.wait()
        self._stop_all()
        with self.stopping.hurry:  # a second signal ends the wait; a third one ends this process
            await trio.sleep_forever()
        self._stop_all()

    def _stop_all(self) -> None:
        for keeper in self.keepers:
            keeper.stop()

    def _failed(self, keeper: NodeKeeper, ended: ProcessEnd) -> None:
        """Give up if a node fails before all have started, or if no node can be kept running."""
        hopeless = all(one.process is None and one.backoff.hopeless for one in self.keepers)
        if self.failure is None and (hopeless or not self._up):
            self.failure = ended.exit or Exit.FAILED  # one that ends by itself is not as it should
            self.cause = f"{keeper.name} cannot be kept running: {ended}"
            self.stopping.ask(self.cause)

    async def answer(
        self, question: ControlRequest, tell: Callable[[ControlReply], Awaitable[None]]
    ) -> None:
        """Answer a command: call `tell` with each answer."""
        match question:
            case Show():
                await tell(await self.overview())
            case RestartAll():
                await self.restart_all(tell)

    async def overview(self) -> Overview:
        """Return what there is to say of the nodes, and of those of other machines."""
        everywhere: Sequence[str] = ()
        if self.census is not None:
            try:
                everywhere = await trio.to_thread.run_sync(self.census, abandon_on_cancel=True)
            except StoreUnavailable as error:
                everywhere = [f"the cluster: not known, {error}"]
        return Overview(self.version, tuple(map(row, self.keepers)), self.kept, tuple(everywhere))

    async def restart_all(self, tell: Callable[[Progress], Awaitable[None]]) -> None:
        """Restart all nodes, one after the other, each when the one before is ready again."""
        if self._restarting.locked():
            await tell(Progress("a restart is under way", failed=True))
            return
        async with self._restarting:
            for keeper in self.keepers:
                began = trio.current_time()
                try:
                    await keeper.restart()
                except RestartFailed as error:
                    log.error("restart stopped", why=str(error))
                    text = f"{error}; the nodes after it are left alone"
                    await tell(Progress(text, failed=True))
                    return
                took_s = trio.current_time() - began
                log.info("node restarted", node=keeper.name, took_s=round(took_s, 1))
                await tell(Progress(f"{keeper.name} restarted in {took_s:.1f} s"))

    def _web(self) -> Starlette:
        async def ready() -> Readiness:
            return await readiness_of_all(self.keepers, draining=self.stopping.asked.is_set())

        about = {"name": "greenroom", "version": self.version, "nodes": ", ".join(self.nodes)}
        if self.clients:
            about["clients"] = self.clients
        return application(
            about=about,
            ready=ready,
            readings=partial(
                readings_of_parent,
                self.keepers,
                self.log,
                lambda: 0 if self.hangs is None else self.hangs.caught,
            ),
            pages=self.pages,
        )
