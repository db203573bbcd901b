"""The commands of the command line. Here configuration, stores and node are put together.

`serve` reads the configuration, opens the stores, and runs a node until it is told to stop. Then
the node drains, and everything is closed in reverse order.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

import structlog
import trio

from actors.edge.settings import STORED_SECRET
from actors.node import logs
from actors.node.config import SECRET_KEYS, Loaded, load
from actors.node.exits import Exit
from actors.node.files import raise_limit
from actors.node.log_writer import descriptor, write_all
from actors.node.node import Node
from actors.node.sections import ConfigError
from actors.node.services import absent_services, load_services
from actors.node.stopping import Signals, Stopping
from actors.node.terminal import watch_terminal
from actors.service import CannotStart, Service
from persistence import (
    DataDirLocked,
    EmbeddedStartFailed,
    MigrationDrift,
    PostgresSettings,
    Replaced,
    SchemaInUse,
    StoreUnavailable,
    postgres,
    redis,
)
from persistence.stores import Stores, open_stores
from protocol.server.listener import listen
from protocol.server.tls import server_context

log = structlog.get_logger("actors.node.commands")


class CannotListen(Exception):  # noqa: N818 - a state, as in trio.BusyResourceError
    """The server cannot listen on an address. The text is one line."""


class Program(NamedTuple):
    """The arguments of a command: the configuration, the services and the version."""

    loaded: Loaded
    services: tuple[Service, ...]
    version: str


EXPECTED: dict[type[BaseException], Exit] = {
    ConfigError: Exit.CONFIG,
    CannotStart: Exit.CONFIG,
    CannotListen: Exit.ADDRESS,
    DataDirLocked: Exit.DATA_DIR,
    EmbeddedStartFailed: Exit.STORE,
    StoreUnavailable: Exit.STORE,
    MigrationDrift: Exit.MIGRATION,
    SchemaInUse: Exit.NOT_ALONE,
    Replaced: Exit.NOT_ALONE,
}
"""Errors whose cause is outside this program. They end in one line and a code, not a traceback."""


# --- what the configuration names -----------------------------------------------------------------


def tls_context(loaded: Loaded) -> ssl.SSLContext | None:
    """Load the certificate that the configuration names, if any. Raises `ConfigError`."""
    certificate, key = loaded.config.listen.tls_certificate, loaded.config.listen.tls_key
    if not certificate:
        return None
    files = loaded.resolve(certificate), loaded.resolve(key)
    for file in files:  # an error of OpenSSL does not name the file
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(
                f"[listen] tls_certificate, tls_key: {file}: {error.strerror}"
            ) from error
    try:
        return server_context(*files)
    except OSError as error:
        both = " and ".join(str(file) for file in files)
        raise ConfigError(
            f"[listen] tls_certificate, tls_key: {both} are no PEM certificate and its key: {error}"
        ) from error


def check_addresses(loaded: Loaded) -> None:
    """Check the stores' URLs before anything is started. Raises `ConfigError`."""
    settings = loaded.config
    for name, url, problem_of in (
        ("postgres.url", settings.postgres.url, postgres.address_problem),
        ("postgres.replica_url", settings.postgres.replica_url, postgres.address_problem),
        ("redis.url", settings.redis.url, redis.address_problem),
    ):
        if url and (problem := problem_of(url)):
            section, _, key = name.partition(".")
            origin = loaded.changed[name][1]
            raise ConfigError(f"{origin}: [{section}] {key} is not allowed: {problem}")


@contextmanager
def listening(section: str, host: str, port: int) -> Iterator[list[socket.socket]]:
    """Listen on an address, and close the sockets in the end. Raises `CannotListen`."""
    try:
        sockets = listen(host, port)
    except OSError as error:
        where = f"{_bracketed(host)}:{port}"
        raise CannotListen(
            f"cannot listen on {where}: {error.strerror}; see [{section}] host and port"
        ) from error
    try:
        yield sockets
    finally:
        for listener in sockets:
            listener.close()


def banner(
    loaded: Loaded,
    clients: list[socket.socket],
    http: list[socket.socket],
    found: Stores,
    version: str,
) -> str:
    """Return the line that says where everything is."""
    settings = loaded.config
    scheme = "wss" if settings.listen.tls_certificate else "ws"
    where = f"{scheme}://{_address(settings.listen.host, clients)}{settings.wire.path}"
    web = f", HTTP at http://{_address(settings.http.host, http)}" if http else ""
    return f"greenroom {version} is up: clients at {where}{web}, data in {found.where}"


def say(stream: TextIO | None, line: str, *, wait_s: float = 0.0) -> None:
    """Print a line, and wait up to `wait_s` until it is written.

    A thread of its own writes the line, since a stream that is full, closed, or a pipe that nobody
    reads must not stop the server. A line that cannot be written is logged.
    """
    fd = descriptor(stream)
    if fd is None:
        return

    def write() -> None:
        try:
            write_all(fd, f"{line}\n".encode(errors="backslashreplace"))
        except OSError as error:
            log.warning("cannot print", fd=fd, error=str(error), line=line)

    # A daemon thread, since one that hangs in a write must not keep the process alive.
    writer = threading.Thread(target=write, name="say", daemon=True)
    writer.start()
    writer.join(wait_s)


def _address(host: str, listeners: list[socket.socket]) -> str:
    return f"{_bracketed(host)}:{listeners[0].getsockname()[1]}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host or "*"


@contextmanager
def stores(loaded: Loaded, services: Sequence[Service]) -> Iterator[Stores]:
    """Open the stores that the configuration names, or embedded ones.

    Raises what `open_stores` raises; `StoreUnavailable` then names the section to look at.
    """
    settings = loaded.config
    folder = loaded.resolve(settings.server.data_dir)
    names = [service.name for service in services]
    try:
        with open_stores(
            folder, settings.postgres, settings.redis, settings.embedded, names
        ) as found:
            for file in found.migrated.applied:
                log.info("migrated", file=file)
            for service in found.migrated.left_alone:
                why = "the service is not in this server"
                log.info("tables are left alone", service=service, why=why)
            yield found
    except StoreUnavailable as error:
        section = {"postgresql": "postgres"}.get(error.store, error.store)
        if not getattr(settings, section).url:
            raise
        raise StoreUnavailable(error.store, f"{error.reason}; see [{section}] url") from error


@contextmanager
def the_only_server(loaded: Loaded, found: Stores) -> Iterator[postgres.Lease | None]:
    """Take the lease of the schema; None: no other server can use it, or others are allowed.

    Raises:
        SchemaInUse: there is another server, and [server] alone is true.
    """
    if not loaded.config.postgres.url:  # the lock on the data directory keeps other servers out
        yield None
        return
    with postgres.Lease(found.postgres, binding=loaded.config.server.alone) as lease:
        try:
            lease.take()
        except SchemaInUse as error:
            if lease.binding:
                raise
            log.warning("not alone", holder=error.holder, schema=found.postgres.schema)
            yield None
            return
        try:
            yield lease
        finally:
            if not lease.lost:
                lease.release()


# --- commands ------------------------------------------------------------------------------------


def token_secrets(named: Sequence[str], where: PostgresSettings) -> list[bytes]:
    """Return the secrets that sign tokens, as `SessionSettings.token_secrets` names them.

    Raises:
        StoreUnavailable: the secret that PostgreSQL keeps cannot be read.
    """
    return [
        postgres.get_or_create_secret(where, "session-tokens")
        if name == STORED_SECRET
        else name.encode()
        for name in named
    ]


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


def check(program: Program) -> ssl.SSLContext | None:
    """Check what can be checked before anything is started; returns `tls_context`.

    Raises:
        ConfigError, CannotStart: a server could not start with this configuration.
    """
    loaded = program.loaded
    tls = tls_context(loaded)
    check_addresses(loaded)
    for service in program.services:
        service.check(loaded.config, loaded.folder)
    return tls


def check_config(program: Program, _: Signals) -> Exit:
    """Say whether the configuration can be used, and list the keys that differ from defaults."""
    loaded = program.loaded
    check(program)
    for doubt in loaded.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    defaults = "" if loaded.changed else ", all defaults"
    print(f"{loaded.file or 'no config.toml here'}: valid{defaults}")
    for name, (value, origin) in loaded.changed.items():
        shown = "(hidden)" if name.rpartition(".")[2] in SECRET_KEYS else repr(value)
        print(f"  {name} = {shown} ({origin})")
    return Exit.OK


def migrate_only(program: Program, _: Signals) -> Exit:
    """Bring the database up to date and end. `serve` does that as well."""
    loaded = program.loaded
    logs.configure(loaded.config.log)
    check_addresses(loaded)
    with stores(loaded, program.services) as found:
        print(f"the database is up to date; data in {found.where}")
    return Exit.OK


COMMANDS: Mapping[str, Callable[[Program, Signals], Exit]] = {
    "serve": serve,
    "check-config": check_config,
    "migrate": migrate_only,
}


def run(
    command: str,
    file: Path | None,
    overrides: Sequence[str],
    *,
    services: Sequence[str],
    version: str,
) -> Exit:
    """Run a command of `COMMANDS` and return the exit code.

    An error of `EXPECTED` is one line on stderr; any other is logged with its traceback.

    Arguments:
        command: the name of the command.
        file: the configuration; None: config.toml in the working folder if there is one.
        overrides: `section.key=value` each; they win over the file and the environment.
        services: the services of the server, "package.module:NAME" each.
        version: Greenroom's version.
    """
    signals = Signals()
    try:
        present = load_services(services)
        loaded = load(file, overrides=overrides, services=present, absent=absent_services(present))
        return COMMANDS[command](Program(loaded, present, version), signals)
    except KeyboardInterrupt:
        return Exit.OK
    except tuple(EXPECTED) as error:
        say(sys.stderr, f"greenroom: {error}", wait_s=logs.LAST_WORDS_S)
        return next(code for kind, code in EXPECTED.items() if isinstance(error, kind))
    except Exception:
        log.exception("stopped by an unexpected failure")
        return Exit.FAILED
    finally:
        signals.over()
