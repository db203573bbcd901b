"""The HTTP API of a node: its server, and what answers the requests."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actors.edge.api.api import Api
from actors.edge.api.callers import first_of, session_tokens
from actors.edge.identity import Identity
from actors.edge.routes import AskService, Route
from actors.edge.session import Context
from actors.edge.session_gateway import SessionGateway
from actors.runtime.future import Future
from actors.runtime.system import ActorSystem
from actors.service import Running
from protocol.codec import encodings
from protocol.http.api_server import ApiServer
from protocol.http.api_settings import ApiSettings
from protocol.http.cors import Cors
from protocol.http.metrics import Reading, counter, gauge
from protocol.messages.envelope import Request
from protocol.messages.op_table import OpTable
from protocol.messages.session import Ping, Pong
from protocol.server.settings import WireSettings


@dataclass(frozen=True)
class WebApi:
    """The HTTP API of a node."""

    server: ApiServer
    api: Api

    def readings(self) -> Iterator[Reading]:
        """Yield its metrics."""
        server = self.server
        yield gauge("api_connections", "Open connections of the HTTP API.", server.connections)
        yield counter("api_connections_opened", "Connections of the HTTP API.", server.opened)
        text = "Connections of the HTTP API closed at once, as too many."
        yield counter("api_connections_dropped", text, server.dropped)
        for status, count in sorted(server.answered.items()):
            text = "Requests of the HTTP API answered, by status."
            yield counter("api_requests", text, count, status=str(status))
        for code, count in sorted(self.api.refused.items()):
            text = "Requests of the HTTP API refused, by why."
            yield counter("api_refused", text, count, code=code)


def open_api(
    system: ActorSystem,
    ops: OpTable,
    *,
    routes: Mapping[type[Request], Route],
    services: Mapping[str, Running],
    sessions: SessionGateway,
    context: Context,
    wire: WireSettings,
    settings: ApiSettings,
    tls_context: ssl.SSLContext | None,
) -> WebApi:
    """Put the HTTP API of a node together.

    Arguments:
        system: the system of actors.
        ops: the ops of this server.
        routes: the route of each op.
        services: the services that run.
        sessions: has the budgets that the API shares with sessions.
        context: what sessions have in common.
        wire: the limits to addresses, which hold for both.
        settings: the section [api].
        tls_context: the certificate; None: no TLS.
    """
    ways = [running.authenticate for running in services.values() if running.authenticate]
    api = Api(
        system,
        ops,
        encoding=encodings(ops)[1],
        routes={**routes, Ping: AskService(_pong(context))},
        api_routes=[route for running in services.values() for route in running.api],
        authenticate=first_of((*ways, session_tokens(context.tokens, context.access))),
        settings=context.settings,
        activations=context.activations,
        admission=sessions.admission,
        doorman=sessions.doorman,
        cors=Cors(settings.origins),
    )
    server = ApiServer(
        api.handle,
        settings,
        ipv6_prefix=wire.ipv6_prefix,
        tls_context=tls_context,
        door=sessions.doorman,
    )
    return WebApi(server, api)


def _pong(context: Context) -> Any:
    def pong(_: Identity, __: Request) -> Future[Pong]:
        found: Future[Pong] = Future()
        found.set(Pong(context.clock_ms()))
        return found

    return pong
