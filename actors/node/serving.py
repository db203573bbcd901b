"""Runs a node until it is told to stop: alone, on stores that it opens, or for a parent.

Then the node drains, and everything is closed in reverse order.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import msgspec
import structlog
import trio

from actors.cluster.rules.labels import serves
from actors.node import logs
from actors.node.addresses import banner, clients_url, listening, ports_of
from actors.node.config import Loaded
from actors.node.exits import Exit
from actors.node.files import raise_limit
from actors.node.line import Assignment, ParentLine, Up
from actors.node.log_writer import LogWriter
from actors.node.minder import Charge, minded
from actors.node.names import node_names
from actors.node.node import ServerNode
from actors.node.opening import greetings, leased, stores, token_secrets
from actors.node.printing import say
from actors.node.program import Checked, Program, check_program
from actors.node.stopping import Signals, Stopping
from actors.node.terminal import watch_terminal
from persistence import Replaced, postgres
from persistence.stores import Stores
from protocol.server.origin import with_own_ports

log = structlog.get_logger("actors.node.serving")


class Beginning(NamedTuple):
    """What every process that serves begins with, before it opens anything."""

    log: LogWriter
    stopping: Stopping
    checked: Checked
    files: int
    """How many files it may have open."""


def begin(program: Program, signals: Signals) -> Beginning:
    """Set up the log and the stop of this process, and check the configuration.

    Raises:
        ConfigError, CannotStart: a server could not start with this configuration.
    """
    settings, line = program.loaded.config, program.line
    terminal = None if line is None else line.assignment.terminal
    writer = logs.configure(settings.log, terminal=terminal)
    if line is None:  # or else the parent has told them
        for doubt in program.loaded.doubts:
            log.warning(doubt)
    stopping = Stopping(
        signals,
        drain_s=settings.server.drain_s,
        limit_s=settings.server.stop_timeout_s,
        forced_exit=Exit.CUT_SHORT,
    )
    watch_terminal()
    files = raise_limit()
    return Beginning(writer, stopping, check_program(program), files)


def end(stopping: Stopping, found: Stores) -> list[str]:
    """Stop embedded servers in the time that is left; returns which had to be killed."""
    if found.embedded is None:
        return []
    # Less the time for the log's last lines.
    return found.embedded.stop(within_s=stopping.left_s - 2 * logs.LAST_WORDS_S)


def serve_alone(program: Program, signals: Signals) -> Exit:
    """Run one node, on stores that this process opens, until it is told to stop."""
    loaded, services, version, _ = program
    settings = loaded.config
    began = begin(program, signals)
    with ExitStack() as stack:
        # Listen before the stores start, so that a taken port is found out at once. Clients that
        # come in the meantime wait in the backlog.
        clients, http = [], []
        if serves(settings.server.labels_of(0), ""):
            clients = stack.enter_context(
                listening("listen", settings.listen.host, settings.listen.port)
            )
        if settings.http.enabled:
            http = stack.enter_context(listening("http", settings.http.host, settings.http.port))
        api = []
        if settings.api.enabled:
            api = stack.enter_context(listening("api", settings.api.host, settings.api.port))
        found = stack.enter_context(stores(loaded, services))
        signals.check()
        lease = stack.enter_context(leased(loaded, found))
        signals.check()
        line = banner(loaded, clients, http, found, version, api=api)
        lines = "\n".join((line, *greetings(loaded, services, found.postgres)))
        if settings.server.clustered:
            stack.enter_context(minded(charge_of_minder(loaded, found)))
        node = make_node(program, began, found, clients, http, lease=lease)
        # Signals are only noted from here to the end. After the loop the stores stop in a bounded
        # time, and nobody may interrupt them.
        signals.only_note()
        started = partial(say, sys.stdout, lines)
        saved = trio.run(node.run, clients, http, api, started, began.stopping)
        if lease is not None and lease.lost and lease.binding:
            raise Replaced
        killed = end(began.stopping, found)
    return stopped(saved=saved, killed=killed)


def charge_of_minder(loaded: Loaded, found: Stores) -> Charge:
    """Return what the minder of this process is to do."""
    settings = loaded.config
    (name,) = node_names(settings.server.name, 1)
    return Charge(
        pid=os.getpid(),
        node=name,
        page=-1,
        postgres=found.postgres,
        log=settings.log,
        caught_after_s=settings.cluster.lease_s / 2,
        hold_s=settings.server.hold_hung_s,
        hung_after_s=settings.server.hung_after_s,
    )


def serve_for_parent(program: Program, signals: Signals, line: ParentLine) -> Exit:
    """Run one of several nodes, on what the parent lends it."""
    check_program(program)  # before the node that this one replaces is stopped
    if not line.receive():
        return Exit.OK
    assignment = line.assignment
    began = begin(program, signals)
    clients = [socket.socket(fileno=one) for one in assignment.clients]
    http = [socket.socket(fileno=one) for one in assignment.http]
    api = [socket.socket(fileno=one) for one in assignment.api]
    for sock in (*clients, *http, *api):
        sock.setblocking(False)
        sock.set_inheritable(False)
    loaded = lent(program.loaded, assignment)
    with stores(loaded, program.services) as found:
        signals.check()
        node = make_node(program, began, found, clients, http)
        signals.only_note()
        started = partial(line.say, Up(program.version))
        saved = trio.run(node.run, clients, http, api, started, began.stopping)
    return stopped(saved=saved, killed=[])


def lent(loaded: Loaded, assignment: Assignment) -> Loaded:
    """Return the configuration with the addresses of stores that the parent has opened."""
    replace = msgspec.structs.replace
    config = replace(
        loaded.config,
        postgres=replace(loaded.config.postgres, url=assignment.postgres_url),
        redis=replace(loaded.config.redis, url=assignment.redis_url),
    )
    return loaded._replace(config=config)


def make_node(
    program: Program,
    began: Beginning,
    found: Stores,
    clients: Sequence[socket.socket],
    http: Sequence[socket.socket],
    *,
    lease: postgres.SchemaLease | None = None,
) -> ServerNode:
    """Put a node together, which will serve on these sockets."""
    settings, line = program.loaded.config, program.line
    about = {"name": "greenroom", "version": program.version}
    if clients:
        about["clients"] = clients_url(settings, clients)
    name, labels = "", settings.server.labels_of(0)
    if line is not None:
        name, labels = line.assignment.name, line.assignment.labels
    elif settings.server.clustered:
        (name,) = node_names(settings.server.name, 1)
    if name:
        about["node"] = name
    pages = ports_of(http) if line is None else (*ports_of(http), *line.assignment.page_ports)
    origins = with_own_ports(settings.wire.origins, pages)
    replace = msgspec.structs.replace
    settings = replace(settings, wire=replace(settings.wire, origins=origins))
    return ServerNode(
        services=program.services,
        settings=settings,
        folder=program.loaded.folder,
        postgres=found.postgres,
        redis=found.redis,
        embedded=found.embedded,
        token_secrets=token_secrets(settings.sessions.token_secrets, found.postgres),
        tls_context=began.checked.tls.clients,
        api_tls_context=began.checked.tls.api,
        files=began.files,
        name=name,
        labels=labels,
        about=about,
        pages=began.checked.pages,
        log=began.log,
        lease=lease,
        parent=line,
    )


def stopped(*, saved: bool, killed: Sequence[str]) -> Exit:
    """Log the end, and return the exit code.

    Arguments:
        saved: whether the stores took all that was in memory.
        killed: the names of embedded servers that did not stop in time.
    """
    if saved and not killed:
        log.info("stopped")
        return Exit.OK
    log.error("stopped, but not as it should", saved=saved, killed=killed)
    return Exit.UNSAVED
