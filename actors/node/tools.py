"""The commands of the command line that a service brings, such as `key create`.

Like the command `user`, they open the stores and start the services for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.node.exits import Exit
from actors.node.program import Program
from actors.node.stopping import Signals
from actors.node.stores import NodeStores
from actors.node.users import with_services
from actors.service import Running


class WrongArguments(Exception):  # noqa: N818 - said of the command line
    """A tool cannot do what it was asked for. The text is one line."""


def use_tool(
    program: Program, signals: Signals, *, service: str, tool: str, given: Mapping[str, Any]
) -> Exit:
    """Have a service do something, and print what it says.

    Raises:
        WrongArguments: the service is not in this server, or refuses the arguments.
    """

    async def work(running: Mapping[str, Running], _: NodeStores) -> Iterable[str]:
        if service not in running:
            raise WrongArguments(f"the service {service} is not in this server")
        try:
            return await running[service].tools[tool](**given)
        except ValueError as error:
            raise WrongArguments(str(error)) from None

    for line in with_services(program, signals, work):
        print(line, flush=True)
    return Exit.OK
