"""Runs several nodes behind one port until they are told to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import structlog
import trio

from actors.cluster.rules.labels import serves
from actors.node import logs
from actors.node.addresses import banner, clients_url, ports_of
from actors.node.exits import Exit
from actors.node.line import Assignment
from actors.node.names import node_names
from actors.node.opening import leased, stores
from actors.node.pages import pages_of
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
    hung_after_s = settings.server.hung_after_s
    terminal = logs.is_terminal(sys.stderr)
    people = logs.is_for_people(settings.log, terminal=terminal)
    with ExitStack() as stack:
        port = SharedPort(settings.listen, fronts)
        stack.callback(port.close)
        api_port = SharedPort(settings.api, fronts if settings.api.enabled else 0, "api")
        stack.callback(api_port.close)
        http, *http_of_nodes = stack.enter_context(node_ports(settings.http, len(names)))
        page_ports = ports_of(http)  # now, as HTTP takes the sockets over when it starts
        found = stack.enter_context(stores(loaded, services, nodes=len(names)))
        signals.check()
        lease = stack.enter_context(leased(loaded, found))
        signals.check()
        control = None
        try:
            folder = loaded.resolve(settings.server.data_dir)
            control = stack.enter_context(control_socket(folder))
        except CannotBeControlled as error:
            log.warning("commands cannot reach this server", why=str(error))

        def start(number: int, changed: Callable[[], None]) -> NodeProcess:
            name = names[number]
            with ExitStack() as lent:
                front = serves(labels[number], "")
                clients = lent.enter_context(port.lent()) if front else []
                has_api = front and settings.api.enabled
                api = lent.enter_context(api_port.lent()) if has_api else []
                return NodeProcess(
                    own_command(),
                    Assignment(
                        name=name,
                        clients=tuple(one.fileno() for one in clients),
                        http=tuple(one.fileno() for one in http_of_nodes[number]),
                        api=tuple(one.fileno() for one in api),
                        postgres_url=found.postgres.url,
                        redis_url=found.redis.url,
                        terminal=terminal,
                        page_ports=page_ports,
                        pulse_s=min(PULSE_S, hung_after_s / 4 or PULSE_S),
                        labels=labels[number],
                    ),
                    partial(NodeOutput, name, began.log.write, people=people),
                    hung_after_s=hung_after_s,
                    changed=changed,
                )

        def hold(node: str, kind: str, key: str) -> HangCount:
            first_s = settings.server.hold_hung_s
            return hold_actor(found.postgres, kind, key, node=node, first_s=first_s)

        parent = ParentProcess(
            nodes=dict(zip(names, labels, strict=True)),
            start=start,
            version=version,
            log=began.log,
            stopping=began.stopping,
            lease=lease,
            embedded=found.embedded,
            http=http,
            pages=pages_of(loaded),
            clients=clients_url(settings, port.reserved),
            control=control,
            hold=hold if settings.server.hold_hung_s else None,
            caught_after_s=settings.cluster.lease_s / 2,
            kept={} if found.embedded is None else settings.cluster.kept,
        )
        line = banner(
            loaded, port.reserved, http, found, version, nodes=len(names), api=api_port.reserved
        )
        signals.only_note()  # as for a single node
        code = trio.run(parent.run, lambda: say(sys.stdout, line))
        if lease is not None and lease.lost and lease.binding:
            raise Replaced
        killed = end(began.stopping, found)
    if code is Exit.OK and killed:
        code = Exit.UNSAVED
    if code is Exit.OK:
        log.info("stopped")
    else:
        log.error("stopped, but not as it should", exit_code=int(code), killed=killed)
    return code
