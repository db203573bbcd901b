"""The commands of the command line that a service brings, such as `key create`.

They run commands and queries of the service in PostgreSQL, beside a server that runs or without
one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import msgspec
import trio

from actors.node import logs
from actors.node.exits import Exit
from actors.node.opening import stores
from actors.node.program import Program
from actors.node.stopping import Signals
from actors.node.stores import start_facts
from actors.runtime.system import ActorSystem
from actors.service import Service, ToolKit, scopes_of
from persistence import DataDirLocked, PostgresSettings, StoreUnavailable
from persistence.commands import RECORD
from persistence.embedded.running import running_postgres_url
from persistence.postgres import migrate
from protocol.errors import RequestError

T = TypeVar("T")


class WrongArguments(Exception):  # noqa: N818 - said of the command line
    """A tool cannot do what it was asked for. The text is one line."""


def use_tool(
    program: Program, signals: Signals, *, service: str, tool: str, given: Mapping[str, Any]
) -> Exit:
    """Have a service do something, and print what it says.

    Raises what opens the stores, and:
        WrongArguments: the service is not in this server, or refuses the arguments.
    """
    logs.configure(program.loaded.config.log)
    found = next((one for one in program.services if one.name == service), None)
    if found is None:
        raise WrongArguments(f"the service {service} is not in this server")
    with postgres_of(program) as where:
        signals.check()
        signals.only_note()
        lines = with_tools(program, where, found, lambda tools: tools[tool](**given))
    for line in lines:
        print(line, flush=True)
    return Exit.OK


@contextmanager
def postgres_of(program: Program) -> Iterator[PostgresSettings]:
    """Yield the address of the server's PostgreSQL, which is started if none runs."""
    loaded = program.loaded
    settings = loaded.config
    with ExitStack() as stack:
        try:
            yield stack.enter_context(stores(loaded, program.services)).postgres
            return
        except DataDirLocked:
            url = running_postgres_url(loaded.resolve(settings.server.data_dir))
        if url is None:
            raise StoreUnavailable("postgresql", "a server is just starting; try again")
        where = msgspec.structs.replace(settings.postgres, url=url)
        migrate(where, [service.name for service in program.services])
        yield where


def with_tools(
    program: Program,
    postgres: PostgresSettings,
    service: Service,
    use: Callable[[Mapping[str, Any]], Awaitable[T]],
) -> T:
    """Return what a use of a service's tools returns.

    Raises:
        WrongArguments: it refuses what it is asked for.
    """
    config = program.loaded.config

    async def run() -> T | Exception:
        async with ActorSystem("tools") as system:
            commands = (RECORD, *service.commands(config))
            facts = await start_facts(system, postgres, commands, service.queries(config))
            kit = ToolKit(facts=facts, scopes=scopes_of(program.services), settings=config)
            try:
                return await use(service.tools(kit))
            except Exception as error:  # raised below, since here it would be in a group
                return error

    outcome = trio.run(run)
    if isinstance(outcome, RequestError):
        raise WrongArguments(outcome.detail or outcome.error.message)
    if isinstance(outcome, ValueError):
        raise WrongArguments(str(outcome))
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
