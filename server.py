"""Greenroom's command line, and the list of its services. actors/node/commands.py runs the
commands.

This file imports only the standard library until signals are set up and the command is known. If
Python lacks a package (in a checkout, the system's Python does), that is said in one line. Older
versions of Python must be able to read this file, so that they can say what is missing.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

VERSION = "0.1.0"  # as in pyproject.toml; a test holds them together

PACKAGES = frozenset({
    "msgspec", "pykka", "structlog", "trio", "tomllib",
    "hiredis", "hypercorn", "prometheus_client", "psycopg", "redis", "starlette", "websockets",
})  # fmt: skip
"""The packages that pyproject.toml names for the runtime and its extra `server`, and Python 3.11's
tomllib."""
INCOMPLETE = 9  # equals `Exit.INCOMPLETE`, which cannot be imported here; a test checks that

SERVICES: tuple[str, ...] = (
    "actors.chat.service:CHAT",
    "actors.inbox.service:INBOX",
    "actors.matches.service:MATCHES",
    "actors.storage.service:STORAGE",
)
"""The services of a server. `actors/service.py` says what a service is.

A server without a service is one whose line is not here. The service's tables, and its section of
the configuration, may stay."""

LAYERS = """\
Every command takes --config FILE and --set SECTION.KEY=VALUE. Settings come, the later winning,
from the defaults, the file (config.toml in this folder if there is one), the environment
(GREENROOM_SECTION__KEY=VALUE) and --set."""

BY_SIGNAL = """\
  130, 143, 129  ended by SIGINT, SIGTERM or SIGHUP in the first moments, as a shell shows it"""

COMMANDS = {
    "serve": "start the server (this is the default)",
    "check-config": "check the configuration and show what is not the default",
    "cluster": "show what the nodes of a running server do",
    "restart": "restart the nodes of a running server, one after the other",
    "migrate": "bring the database up to date and end; serve does it too",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from actors.node.exits import EXITS

    codes = "\n".join(f"  {code:d}  {meaning}" for code, meaning in EXITS.items())
    top = argparse.ArgumentParser(
        prog="greenroom",
        description="A real-time game server: sessions, rooms and matches, supervised and durable.",
        epilog=f"{LAYERS}\n\nexit codes:\n{codes}\n{BY_SIGNAL}",
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
    for name, text in COMMANDS.items():
        commands.add_parser(name, parents=[shared], help=text, description=text)
    return top


def incomplete(what: str, lacking: str) -> int:
    """Print what this Python lacks and how to get it, and return the exit code."""
    hint = "pip install 'greenroom[server,embedded]' brings all"
    if (Path(__file__).parent / "Makefile").is_file():  # a checkout
        hint = "make run sets all up, and then .venv/bin/python server.py has it"
    print(f"{what} needs {lacking}, which {sys.executable} has not; {hint}", file=sys.stderr)
    return INCOMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code."""
    # Until the command handles signals, a Ctrl-C ends the process at once. Nothing has been started
    # that would have to be stopped, and Python's default would print a traceback from the middle of
    # an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in {"-h", "--help", "--version"}):
        given.insert(0, "serve")
    # People try a checkout with whatever Python they have.
    if sys.version_info < (3, 11):  # noqa: UP036
        return incomplete("greenroom", "Python 3.11 or newer")
    what = "greenroom"
    try:
        options = parser().parse_args(given)
        what = f"greenroom: {options.command}"
        from actors.node import commands
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in PACKAGES:
            raise
        return incomplete(what, f"the package {error.name}")
    return commands.run(
        options.command, options.config, options.set, services=SERVICES, version=VERSION
    )


if __name__ == "__main__":
    sys.exit(main())
