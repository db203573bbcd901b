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
from collections.abc import Callable, Sequence
from pathlib import Path

VERSION = "0.1.0"  # as in pyproject.toml; a test holds them together

PACKAGES = frozenset({
    "msgspec", "pykka", "structlog", "trio", "tomllib",
    "argon2", "h11", "hiredis", "httpcore2", "hypercorn", "jwt", "prometheus_client", "psycopg",
    "pyotp", "redis", "segno", "starlette", "websockets", "zxcvbn",
})  # fmt: skip
"""The packages that pyproject.toml names for the runtime and its extra `server`, and Python 3.11's
tomllib."""
INCOMPLETE = 9  # equals `Exit.INCOMPLETE`, which cannot be imported here; a test checks that

SERVICES: tuple[str, ...] = (
    "actors.chat.service:CHAT",
    "actors.friends.service:FRIENDS",
    "actors.inbox.service:INBOX",
    "actors.keys.service:KEYS",
    "actors.accounts.service:ACCOUNTS",
    "actors.matches.service:MATCHES",
    "actors.storage.service:STORAGE",
    "actors.audit.service:AUDIT",
    "actors.webhooks.service:WEBHOOKS",
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
    "cluster": "show what the nodes of a running server do, and who is in its cluster",
    "restart": "restart the nodes of a running server, one after the other",
    "migrate": "bring the database up to date and end; serve does it too",
}


USER_ALONE = """\
The server must not run: this command opens its stores and starts its services for itself. If one
does run, it ends with a line and exit code 10. Logs go to standard error."""

BESIDE = """\
The server may run: the command works in its PostgreSQL, and every node knows of the change within a
second. If none runs, PostgreSQL is started for it. Logs go to standard error."""

OWNER = f"""\
Whoever has an account signs in and sends the secret to POST /v1/owner of the HTTP API, as
protocol/HTTP.md shows. It is valid once, for accounts.owner_secret_s; one that was made before is
void.

{BESIDE}"""

USER_EXPORT = f"""\
The JSON is one object with a value for each service: messages in chat rooms, entries of the inbox,
what was done in matches, friends and blocks, stored objects, the account.

{USER_ALONE}"""

USER_ERASE = f"""\
Messages in chat rooms become empty and keep their place; the name goes out of matches, where the id
stays; entries of the inbox, friends, blocks, stored objects and the account are deleted. Where
others have blocked the user, that stays. Backups hold what they held. The token of a guest's
session stays valid until it expires, and with it the guest may come back.
A line tells how much was found in each service, counted as export does, or that nothing was.
To run it again is harmless, and erases what the first time left.

{USER_ALONE}"""


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
    add_user(commands.add_parser, shared)
    add_key(commands.add_parser, shared)
    text = "print a one-time secret by which an account becomes that of an owner"
    commands.add_parser(
        "owner", parents=[shared], help=text, description=text, epilog=OWNER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    return top


def add_group(
    add_parser: Callable[..., argparse.ArgumentParser],
    shared: argparse.ArgumentParser,
    name: str,
    text: str,
) -> Callable[[str, str, str], argparse.ArgumentParser]:
    """Add a command that has its own commands; return what adds one: its name, text and epilog."""
    group = add_parser(name, help=text, description=text)
    whats = group.add_subparsers(dest="what", required=True, metavar="WHAT")

    def add(what: str, text: str, epilog: str) -> argparse.ArgumentParser:
        return whats.add_parser(
            what, parents=[shared], help=text, epilog=epilog, description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    return add


def add_user(
    add_parser: Callable[..., argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command `user` and its own commands."""
    text = "export or erase what a server holds of a user, while it does not run"
    add = add_group(add_parser, shared, "user", text)
    text = "write all that the services hold of a user as JSON"
    export = add("export", text, USER_EXPORT)
    text = "erase all that the services hold of a user, or make it anonymous"
    erase = add("erase", text, USER_ERASE)
    for one in (export, erase):
        one.add_argument("user", metavar="USER", type=user_id, help="the id, as guest-k3x9")
    export.add_argument(
        "--out", type=Path, metavar="FILE",
        help="a file, which is made anew and only its owner may read; without it standard output",
    )  # fmt: skip
    erase.add_argument(
        "--yes", action="store_true", required=True, help="needed, as nothing brings it back"
    )


def add_key(
    add_parser: Callable[..., argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command `key` and its own commands."""
    text = "make, list or revoke the API keys of back ends, beside a running server or without one"
    add = add_group(add_parser, shared, "key", text)
    create = add("create", "make a key and print it; it is never shown again", BESIDE)
    create.add_argument("name", metavar="NAME", help="what it is for, for people")
    create.add_argument(
        "--scope", dest="scopes", action="append", required=True, metavar="SCOPE",
        help="what it may call: an op as storage.read, an area as 'storage.*', or '*'; repeatable",
    )  # fmt: skip
    create.add_argument(
        "--role", dest="roles", action="append", default=[], metavar="ROLE",
        help="a role of staff beside that of a player: viewer, moderator, support, operator, owner",
    )  # fmt: skip
    create.add_argument(
        "--rate", type=float, default=1000.0, metavar="N", help="requests a second, over all nodes"
    )
    add("list", "list all keys, revoked ones included", BESIDE)
    revoke = add("revoke", "revoke a key for ever", BESIDE)
    revoke.add_argument(
        "key", metavar="ID", help="as key list shows it: what is between gk_ and the next _"
    )


def user_id(text: str) -> str:
    """Return the id of a user. Raises ArgumentTypeError: it cannot be one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = ""
    if not text or any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text):
        raise argparse.ArgumentTypeError("not the id of a user")
    return text


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
    own = vars(options)
    command, file, overrides = own.pop("command"), own.pop("config"), own.pop("set")
    if command == "user":
        command = f"user {own.pop('what')}"
        own.pop("yes", None)
    elif command == "key":
        own = {"service": "keys", "tool": own.pop("what"), "given": own}
        command = "tool"
    elif command == "owner":
        own = {"service": "accounts", "tool": "owner", "given": {}}
        command = "tool"
    return commands.run_command(
        command, file, overrides, services=SERVICES, version=VERSION, arguments=own
    )


if __name__ == "__main__":
    sys.exit(main())
