"""The command `serve`: opens the stores, and runs a node until it is told to stop.

Then the node drains, and everything is closed in reverse order.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import structlog
import trio

from actors.node import logs
from actors.node.addresses import banner, listening
from actors.node.exits import Exit
from actors.node.files import raise_limit
from actors.node.node import Node
from actors.node.opening import stores, the_only_server, token_secrets
from actors.node.printing import say
from actors.node.program import Program, check
from actors.node.stopping import Signals, Stopping
from actors.node.terminal import watch_terminal
from persistence import Replaced

log = structlog.get_logger("actors.node.serving")


def serve(program: Program, signals: Signals) -> Exit:
    """Run a node until it is told to stop."""
    loaded, services, version = program
    settings = loaded.config
    writer = logs.configure(settings.log)
    for doubt in loaded.doubts:
        log.warning(doubt)
    stopping = Stopping(
        signals,
        drain_s=settings.server.drain_s,
        limit_s=settings.server.stop_timeout_s,
        forced_exit=Exit.CUT_SHORT,
    )
    watch_terminal()
    files = raise_limit()
    tls = check(program)
    with ExitStack() as stack:
        # Listen before the stores start, so that a taken port is found out at once. Clients that
        # come in the meantime wait in the backlog.
        clients = stack.enter_context(
            listening("listen", settings.listen.host, settings.listen.port)
        )
        http = []
        if settings.http.enabled:
            http = stack.enter_context(listening("http", settings.http.host, settings.http.port))
        found = stack.enter_context(stores(loaded, services))
        signals.check()
        lease = stack.enter_context(the_only_server(loaded, found))
        signals.check()
        line = banner(loaded, clients, http, found, version)
        node = Node(
            services=services,
            settings=settings,
            folder=loaded.folder,
            postgres=found.postgres,
            redis=found.redis,
            embedded=found.embedded,
            token_secrets=token_secrets(settings.sessions.token_secrets, found.postgres),
            tls_context=tls,
            files=files,
            about={"name": "greenroom", "version": version},
            log=writer,
            lease=lease,
        )
        # Signals are only noted from here to the end. After the loop the stores stop in a bounded
        # time, and nobody may interrupt them.
        signals.only_note()
        saved = trio.run(node.run, clients, http, lambda: say(sys.stdout, line), stopping)
        if lease is not None and lease.lost and lease.binding:
            raise Replaced
        killed = []
        if found.embedded is not None:
            # The stop has the rest of the time limit, less the time for the log's last lines.
            killed = found.embedded.stop(within_s=stopping.left_s - 2 * logs.LAST_WORDS_S)
    if saved and not killed:
        log.info("stopped")
        return Exit.OK
    log.error("stopped, but not as it should", saved=saved, killed=killed)
    return Exit.UNSAVED
