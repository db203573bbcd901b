"""Greenroom's command line and composition root: the one place where concrete parts meet.

Configuration -> stores -> actor system -> gateway and HTTP -> until told to stop -> drain, and all
of it back in reverse order.
"""

from __future__ import annotations

import argparse
import enum
import os
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog
import trio

from actors.games import NoSuchGame, load_games
from actors.node import logs
from actors.node.config import SECRET_KEYS, ConfigError, Loaded, load
from actors.node.node import Node
from actors.node.stopping import Signals, Stopping
from persistence import DataDirLocked, EmbeddedStartFailed, MigrationDrift, StoreUnavailable
from persistence.postgres import get_or_create_secret
from persistence.stores import Stores, open_stores
from protocol.listener import listen
from protocol.tls import server_context

VERSION = "0.1.0"  # as in pyproject.toml; a test holds them together

log = structlog.get_logger("server")


class Exit(enum.IntEnum):
    """What the process ends with; `EXITS` has the words."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    ADDRESS = 4
    DATA_DIR = 5
    STORE = 6
    MIGRATION = 7
    CUT_SHORT = 8


EXITS = {
    Exit.OK: "stopped as asked",
    Exit.FAILED: "an unexpected failure; the log tells",
    Exit.USAGE: "the command line is not right",
    Exit.CONFIG: "the configuration is not right",
    Exit.ADDRESS: "an address cannot be listened on",
    Exit.DATA_DIR: "the data directory is in use by another process",
    Exit.STORE: "a store cannot be reached or started",
    Exit.MIGRATION: "the database is not what this version expects",
    Exit.CUT_SHORT: "stopping took longer than server.stop_timeout_s",
}


class CannotListen(Exception):  # noqa: N818 - a state, as in trio.BusyResourceError
    """An address is taken, not ours, or not allowed. One line."""


EXPECTED: dict[type[BaseException], Exit] = {
    ConfigError: Exit.CONFIG,
    NoSuchGame: Exit.CONFIG,
    CannotListen: Exit.ADDRESS,
    DataDirLocked: Exit.DATA_DIR,
    EmbeddedStartFailed: Exit.STORE,
    StoreUnavailable: Exit.STORE,
    MigrationDrift: Exit.MIGRATION,
}
"""What can go wrong outside this program: one line and a code, never a traceback."""


# --- what the configuration names -----------------------------------------------------------------


def tls_context(loaded: Loaded) -> ssl.SSLContext | None:
    """The certificate that the configuration names, if any."""
    certificate, key = loaded.config.listen.tls_certificate, loaded.config.listen.tls_key
    if not certificate:
        return None
    files = loaded.resolve(certificate), loaded.resolve(key)
    for file in files:  # an error of OpenSSL does not say which
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


@contextmanager
def listening(section: str, host: str, port: int) -> Iterator[list[socket.socket]]:
    """Listen, and close whatever is still open in the end."""
    try:
        sockets = listen(host, port)
    except OSError as error:
        where = f"{host or '*'}:{port}"
        raise CannotListen(
            f"cannot listen on {where}: {error.strerror}; see [{section}] host and port"
        ) from error
    try:
        yield sockets
    finally:
        for listener in sockets:
            listener.close()


def banner(
    loaded: Loaded, clients: list[socket.socket], http: list[socket.socket], found: Stores
) -> str:
    """The one line that says where everything is."""
    settings = loaded.config
    scheme = "wss" if settings.listen.tls_certificate else "ws"
    where = f"{scheme}://{_address(settings.listen.host, clients)}{settings.wire.path}"
    web = f", HTTP at http://{_address(settings.http.host, http)}" if http else ""
    return f"greenroom {VERSION} is up: clients at {where}{web}, data in {found.where}"


def announce(line: str) -> None:
    """Print the banner; a standard output that is full or closed stops no server."""
    try:
        print(line, flush=True)
    except OSError as error:
        log.warning("cannot print to the standard output", error=str(error), line=line)
        # What Python still holds of the line would fail again when it exits, and make that 120.
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _address(host: str, listeners: list[socket.socket]) -> str:
    name = f"[{host}]" if ":" in host else host or "*"
    return f"{name}:{listeners[0].getsockname()[1]}"


@contextmanager
def stores(loaded: Loaded) -> Iterator[Stores]:
    """The stores that the configuration names, or our own."""
    settings = loaded.config
    folder = loaded.resolve(settings.server.data_dir)
    with open_stores(folder, settings.postgres, settings.redis, settings.embedded) as found:
        for file in found.migrated:
            log.info("migrated", file=file)
        yield found


# --- commands ------------------------------------------------------------------------------------


def serve(loaded: Loaded, signals: Signals) -> None:
    """Run until told to stop."""
    settings = loaded.config
    logs.configure(settings.log)
    tls = tls_context(loaded)
    games = load_games(settings.games)
    with ExitStack() as stack:
        # Before the stores, so that a taken port costs no start of them. Clients that come in the
        # meantime wait in the backlog.
        clients = stack.enter_context(
            listening("listen", settings.listen.host, settings.listen.port)
        )
        http = []
        if settings.http.enabled:
            http = stack.enter_context(listening("http", settings.http.host, settings.http.port))
        found = stack.enter_context(stores(loaded))
        signals.check()
        line = banner(loaded, clients, http, found)
        node = Node(
            settings=settings,
            postgres=found.postgres,
            redis=found.redis,
            embedded=found.embedded,
            games=games,
            secret=get_or_create_secret(found.postgres, "session-tokens"),
            tls_context=tls,
            about={"name": "greenroom", "version": VERSION},
        )
        stopping = Stopping(
            signals,
            drain_s=settings.server.drain_s,
            limit_s=settings.server.stop_timeout_s,
            forced_exit=Exit.CUT_SHORT,
        )
        # After the loop too: the stores stop in a bounded time, which nobody is to interrupt.
        signals.only_note()
        trio.run(node.run, clients, http, lambda: announce(line), stopping)
    log.info("stopped")


def check_config(loaded: Loaded, _: Signals) -> None:
    """Say whether the configuration can be used and what in it is not the default."""
    tls_context(loaded)
    load_games(loaded.config.games)
    defaults = "" if loaded.changed else ", all defaults"
    print(f"{loaded.file or 'no config.toml here'}: valid{defaults}")
    for name, (value, origin) in loaded.changed.items():
        shown = "(hidden)" if name.rpartition(".")[2] in SECRET_KEYS else repr(value)
        print(f"  {name} = {shown} ({origin})")


def migrate_only(loaded: Loaded, _: Signals) -> None:
    """Bring the database up to date and end. `serve` does that as well."""
    logs.configure(loaded.config.log)
    with stores(loaded) as found:
        print(f"the database is up to date; data in {found.where}")


LAYERS = """\
Every command takes --config FILE and --set SECTION.KEY=VALUE. Settings come, the later winning,
from the defaults, the file (config.toml in this folder if there is one), the environment
(GREENROOM_SECTION__KEY=VALUE) and --set."""

COMMANDS = {
    "serve": (serve, "start the server (this is the default)"),
    "check-config": (check_config, "check the configuration and show what is not the default"),
    "migrate": (migrate_only, "bring the database up to date and end; serve does it too"),
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    codes = "\n".join(f"  {code:d}  {meaning}" for code, meaning in EXITS.items())
    top = argparse.ArgumentParser(
        prog="greenroom",
        description="A real-time game server: sessions, rooms and matches, supervised and durable.",
        epilog=f"{LAYERS}\n\nexit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"greenroom {VERSION}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config", type=Path, metavar="FILE",
        help="settings; without it config.toml in this folder, or else the defaults",
    )  # fmt: skip
    shared.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
        help="set one key over the file and the environment (GREENROOM_SECTION__KEY)",
    )  # fmt: skip
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, parents=[shared], help=text, description=text)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. What is expected to go wrong is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in {"-h", "--help", "--version"}):
        given.insert(0, "serve")
    options = parser().parse_args(given)
    signals = Signals()
    try:
        COMMANDS[options.command][0](load(options.config, overrides=options.set), signals)
    except KeyboardInterrupt:
        return Exit.OK
    except tuple(EXPECTED) as error:
        print(f"greenroom: {error}", file=sys.stderr)
        return next(code for kind, code in EXPECTED.items() if isinstance(error, kind))
    except Exception:
        log.exception("stopped by an unexpected failure")
        return Exit.FAILED
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
