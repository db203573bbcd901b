"""The commands of the command line, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from actors.cluster.admission import LabelsDiffer, NameTaken, VersionsDiffer
from actors.node import census, logs
from actors.node.addresses import CannotListen
from actors.node.config import SECRET_KEYS, load
from actors.node.exits import Exit
from actors.node.line import ParentLine
from actors.node.opening import stores
from actors.node.parent.control import (
    ControlReply,
    ControlRequest,
    NoServer,
    Progress,
    RestartAll,
    Show,
    ask,
)
from actors.node.parent.overview import Overview, overview_table
from actors.node.parent.serving import serve_nodes
from actors.node.printing import say
from actors.node.program import Program, check_addresses, check_program
from actors.node.sections import ConfigError
from actors.node.services import absent_services, load_services
from actors.node.serving import serve_alone, serve_for_parent
from actors.node.stopping import Signals
from actors.node.tools import WrongArguments, use_tool
from actors.node.users import (
    CannotWrite,
    Interrupted,
    ServerRuns,
    Unsaved,
    erase_user,
    export_user,
)
from actors.service import CannotStart
from actors.traces import NotErased
from persistence import (
    DataDirLocked,
    EmbeddedStartFailed,
    MigrationDrift,
    Replaced,
    SchemaInUse,
    StoreUnavailable,
)

log = structlog.get_logger("actors.node.commands")

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
    NameTaken: Exit.NOT_ALONE,
    VersionsDiffer: Exit.NOT_ALONE,
    LabelsDiffer: Exit.NOT_ALONE,
    NoServer: Exit.NO_SERVER,
    ServerRuns: Exit.NOT_ALONE,
    CannotWrite: Exit.FAILED,
    Interrupted: Exit.FAILED,
    NotErased: Exit.UNSAVED,
    Unsaved: Exit.UNSAVED,
    WrongArguments: Exit.FAILED,
}
"""Errors whose cause is outside this program. They end in one line and a code, not a traceback."""


def serve(program: Program, signals: Signals) -> Exit:
    """Run a server: one node in this process, or several under it; or be one of these."""
    if program.line is not None:
        return serve_for_parent(program, signals, program.line)
    if program.loaded.config.server.node_count > 1:
        return serve_nodes(program, signals)
    return serve_alone(program, signals)


def show_cluster(program: Program, _: Signals) -> Exit:
    """Print what the nodes of a running server do, and who else is in its cluster.

    A server of several nodes is asked, also for the nodes of other machines: it knows its stores,
    which this command knows only if it is given the same settings. If none runs here, the stores of
    these settings are asked.
    """
    config = program.loaded.config
    everywhere = bool(config.server.clustered and config.postgres.url and config.redis.url)
    try:
        return ask_server(program, Show())
    except NoServer:
        if not everywhere:
            raise
    found = census.members(config.redis, config.postgres)
    if not found:
        raise NoServer("no node of the cluster lives")
    for line in census.cluster_table(found, config.cluster.lease_s):
        print(line, flush=True)
    return Exit.OK


def restart(program: Program, _: Signals) -> Exit:
    """Have the nodes of a running server restarted, one after the other."""
    return ask_server(program, RestartAll())


def ask_server(program: Program, question: ControlRequest) -> Exit:
    """Ask a running server, and print its answers. Raises `NoServer`."""
    answer: ControlReply | None = None
    for answer in ask(program.loaded.resolve(program.loaded.config.server.data_dir), question):
        for line in overview_table(answer) if isinstance(answer, Overview) else [answer.text]:
            print(line, flush=True)
    if answer is None:
        raise NoServer("the server has ended")
    return Exit.FAILED if isinstance(answer, Progress) and answer.failed else Exit.OK


def check_config(program: Program, _: Signals) -> Exit:
    """Say whether the configuration can be used, and list the keys that differ from defaults."""
    loaded = program.loaded
    check_program(program)
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


def cause_of(error: Exception) -> Exception:
    """Return what has ended a node: the only error in the groups that its nurseries make."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error


COMMANDS: Mapping[str, Callable[..., Exit]] = {
    "serve": serve,
    "check-config": check_config,
    "migrate": migrate_only,
    "cluster": show_cluster,
    "restart": restart,
    "user export": export_user,
    "user erase": erase_user,
    "tool": use_tool,
}


def run_command(
    command: str,
    file: Path | None,
    overrides: Sequence[str],
    *,
    services: Sequence[str],
    version: str,
    arguments: Mapping[str, Any] | None = None,
) -> Exit:
    """Run a command of `COMMANDS` and return the exit code.

    An error of `EXPECTED` is one line on stderr; any other is logged with its traceback.

    Arguments:
        command: the name of the command.
        file: the configuration; None: config.toml in the working folder if there is one.
        overrides: `section.key=value` each; they win over the file and the environment.
        services: the services of the server, "package.module:NAME" each.
        version: Greenroom's version.
        arguments: what the command itself takes, by name.
    """
    signals = Signals()
    line = ParentLine.inherited()
    try:
        present = load_services(services)
        loaded = load(file, overrides=overrides, services=present, absent=absent_services(present))
        program = Program(loaded, present, version, line)
        return COMMANDS[command](program, signals, **(arguments or {}))
    except KeyboardInterrupt:
        return Exit.OK
    except Exception as error:
        cause = cause_of(error)
        code = next((code for kind, code in EXPECTED.items() if isinstance(cause, kind)), None)
        if code is not None:
            say(sys.stderr, f"greenroom: {cause}", wait_s=logs.LAST_WORDS_S)
            return code
        log.exception("stopped by an unexpected failure")
        return Exit.FAILED
    finally:
        signals.over()
