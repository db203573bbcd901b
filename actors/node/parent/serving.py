"""Runs several nodes behind one port until they are told to stop."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from actors.cluster.rules.labels import serves
from actors.node import census, logs
from actors.node.addresses import banner, clients_url, ports_of
from actors.node.config import Config, Loaded
from actors.node.exits import Exit
from actors.node.line import Assignment
from actors.node.log_writer import LogWriter
from actors.node.names import node_names
from actors.node.opening import greetings, leased, stores
from actors.node.parent.control import CannotBeControlled, control_socket
from actors.node.parent.output import NodeOutput
from actors.node.parent.parent import ParentProcess
from actors.node.parent.ports import SharedPort, node_ports
from actors.node.parent.process import NodeProcess, own_command
from actors.node.printing import say
from actors.node.program import Program
from actors.node.serving import begin, end
from actors.node.stopping import Signals
from persistence import Replaced
from persistence.postgres.held import HangCount, hold_actor
from persistence.stores import Stores

log = structlog.get_logger("actors.node.parent")

PULSE_S = 1.0
"""The time between two pulses, by which a node says that its loop runs. It is shorter if
`hung_after_s` asks for that."""


def serve_nodes(program: Program, signals: Signals) -> Exit:
    """Run the nodes that [server] nodes asks for, on stores that this process opens."""
    loaded, services, version, _ = program
    settings = loaded.config
    began = begin(program, signals)
    names = node_names(settings.server.name, settings.server.node_count)
    labels = [settings.server.labels_of(number) for number in range(len(names))]
    fronts = sum(serves(one, "") for one in labels)
    terminal = logs.is_terminal(sys.stderr)
    with ExitStack() as stack:
        port = SharedPort(settings.listen, fronts)
        stack.callback(port.close)
        api_port = SharedPort(settings.api, fronts if settings.api.enabled else 0, "api")
        stack.callback(api_port.close)
        http, *http_of_nodes = stack.enter_context(node_ports(settings.http, len(names)))
        found = stack.enter_context(stores(loaded, services, nodes=len(names)))
        signals.check()
        lease = stack.enter_context(leased(loaded, found))
        signals.check()
        control = _open_control(loaded, stack)
        starter = NodeStarter(
            settings=settings,
            names=names,
            labels=labels,
            port=port,
            api_port=api_port,
            http=http_of_nodes,
            page_ports=ports_of(http),  # now, as HTTP takes the sockets over when it starts
            stores=found,
            log=began.log,
            terminal=terminal,
            people=logs.is_for_people(settings.log, terminal=terminal),
        )
        parent = ParentProcess(
            nodes=dict(zip(names, labels, strict=True)),
            start=starter.start,
            version=version,
            log=began.log,
            stopping=began.stopping,
            lease=lease,
            embedded=found.embedded,
            http=http,
            pages=began.checked.pages,
            clients=clients_url(settings, port.reserved),
            control=control,
            hold=_holder(settings, found),
            caught_after_s=settings.cluster.lease_s / 2,
            kept={} if found.embedded is None else settings.cluster.kept,
            census=_census(settings, found),
        )
        line = banner(
            loaded, port.reserved, http, found, version, nodes=len(names), api=api_port.reserved
        )
        lines = "\n".join((line, *greetings(loaded, services, found.postgres)))
        signals.only_note()  # as for a single node
        code = trio.run(parent.run, lambda: say(sys.stdout, lines))
        if lease is not None and lease.lost and lease.binding:
            raise Replaced
        killed = end(began.stopping, found)
    ended = _say_how_it_stopped(code, killed)
    if parent.failure is not None:  # last of all, so that whoever started it reads it
        began.log.drain(logs.LAST_WORDS_S)
        say(sys.stderr, f"greenroom: {parent.cause}", wait_s=logs.LAST_WORDS_S)
    return ended


@dataclass(frozen=True, kw_only=True)
class NodeStarter:
    """Starts the process of a node.

    Attributes:
        settings: the configuration.
        names, labels: those of each node.
        port, api_port: for clients and for the HTTP API; lent to the nodes that are fronts.
        http: the sockets of each node for HTTP.
        page_ports: the ports at which browsers get the pages.
        stores: what the parent has opened.
        log: gets what nodes write.
        terminal: whether the parent's log is a terminal.
        people: whether the log is for people to read.
    """

    settings: Config
    names: Sequence[str]
    labels: Sequence[tuple[str, ...]]
    port: SharedPort
    api_port: SharedPort
    http: Sequence[Sequence[socket.socket]]
    page_ports: tuple[int, ...]
    stores: Stores
    log: LogWriter
    terminal: bool
    people: bool

    def start(self, number: int, changed: Callable[[], None]) -> NodeProcess:
        """Start the node of this number. `changed` is called when its state changes."""
        name, hung_after_s = self.names[number], self.settings.server.hung_after_s
        with ExitStack() as lent:
            front = serves(self.labels[number], "")
            clients = lent.enter_context(self.port.lent()) if front else []
            has_api = front and self.settings.api.enabled
            api = lent.enter_context(self.api_port.lent()) if has_api else []
            return NodeProcess(
                own_command(),
                Assignment(
                    name=name,
                    clients=tuple(one.fileno() for one in clients),
                    http=tuple(one.fileno() for one in self.http[number]),
                    api=tuple(one.fileno() for one in api),
                    postgres_url=self.stores.postgres.url,
                    redis_url=self.stores.redis.url,
                    terminal=self.terminal,
                    page_ports=self.page_ports,
                    pulse_s=min(PULSE_S, hung_after_s / 4 or PULSE_S),
                    labels=self.labels[number],
                ),
                partial(NodeOutput, name, self.log.write, people=self.people),
                hung_after_s=hung_after_s,
                changed=changed,
            )


def _open_control(loaded: Loaded, stack: ExitStack) -> socket.socket | None:
    """Open the socket for commands until `stack` closes; None, and a warning, if that fails."""
    try:
        folder = loaded.resolve(loaded.config.server.data_dir)
        return stack.enter_context(control_socket(folder))
    except CannotBeControlled as error:
        log.warning("commands cannot reach this server", why=str(error))
        return None


def _holder(settings: Config, found: Stores) -> Callable[[str, str, str], HangCount] | None:
    """Return what holds an actor in which a node hung; None: nothing is to be held."""
    first_s = settings.server.hold_hung_s
    if not first_s:
        return None

    def hold(node: str, kind: str, key: str) -> HangCount:
        return hold_actor(found.postgres, kind, key, node=node, first_s=first_s)

    return hold


def _census(settings: Config, found: Stores) -> Callable[[], Sequence[str]] | None:
    """Return what says who is in the cluster; None: embedded stores are this machine's alone."""
    if found.embedded is not None:
        return None

    def lines() -> Sequence[str]:
        there = census.members(found.redis, found.postgres)
        return list(census.cluster_table(there, settings.cluster.lease_s))

    return lines


def _say_how_it_stopped(code: Exit, killed: list[str]) -> Exit:
    """Log the end, and return the exit code. `killed`: the embedded servers that had to be."""
    if code is Exit.OK and killed:
        code = Exit.UNSAVED
    if code is Exit.OK:
        log.info("stopped")
    else:
        log.error("stopped, but not as it should", exit_code=int(code), killed=killed)
    return code
