"""The HTTP API of a node: its server, and what answers the requests."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.edge.api.api import Api
from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.api.callers import first_of, session_tokens
from actors.edge.identity import Identity
from actors.edge.routes import AskService, Route
from actors.edge.session import Context
from actors.edge.session_gateway import SessionGateway
from actors.runtime.future import Future
from actors.runtime.system import ActorSystem
from actors.service import Running
from protocol import http
from protocol.codec import encodings
from protocol.http.api_server import ApiServer
from protocol.http.api_settings import ApiSettings
from protocol.http.cors import Cors
from protocol.http.exchange import JSON_TYPE, HttpResponse
from protocol.http.metrics import Reading, counter, gauge
from protocol.http.openapi import document
from protocol.messages.envelope import Request
from protocol.messages.op_table import OpTable
from protocol.messages.session import Ping, Pong
from protocol.roles import ANYONE
from protocol.server.settings import WireSettings

PAGE: Final = Path(http.__file__).with_name("openapi.html")
CSP: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)


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
    version: str = "",
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
        version: the server's, for the description of the API.
    """
    found = [route for running in services.values() for route in running.api]
    ways = [running.authenticate for running in services.values() if running.authenticate]
    api = Api(
        system,
        ops,
        encoding=encodings(ops)[1],
        routes={**routes, Ping: AskService(_pong(context))},
        api_routes=[*found, *descriptions(document(ops, found, version))],
        authenticate=first_of((*ways, session_tokens(context.tokens, context.access))),
        settings=context.settings,
        activations=context.activations,
        admission=sessions.admission,
        doorman=sessions.doorman,
        cors=Cors(settings.origins),
        watch=context.watch,
    )
    server = ApiServer(
        api.handle,
        settings,
        ipv6_prefix=wire.ipv6_prefix,
        tls_context=tls_context,
        door=sessions.doorman,
    )
    return WebApi(server, api)


def descriptions(openapi: Mapping[str, Any]) -> list[ApiRoute]:
    """Return the routes by which the API describes itself, to programs and to people."""
    text = msgspec.json.encode(openapi)
    tag = f'"{hashlib.sha256(text).hexdigest()[:16]}"'
    page = PAGE.read_bytes()

    async def as_json(call: ApiCall) -> HttpResponse:
        if call.headers.get("if-none-match") == tag:
            return HttpResponse(304, b"", (("etag", tag),))
        return HttpResponse(200, text, (("content-type", JSON_TYPE), ("etag", tag)))

    async def as_page(_: ApiCall) -> HttpResponse:
        return HttpResponse(
            200,
            page,
            (("content-type", "text/html; charset=utf-8"), ("content-security-policy", CSP)),
        )

    return [
        ApiRoute(
            method="GET",
            path="/v1/openapi.json",
            role=ANYONE,
            summary="The description of this API.",
            handle=as_json,
        ),
        ApiRoute(
            method="GET",
            path="/v1/docs",
            role=ANYONE,
            summary="A page that shows the description.",
            handle=as_page,
        ),
    ]


def _pong(context: Context) -> Any:
    def pong(_: Identity, __: Request) -> Future[Pong]:
        found: Future[Pong] = Future()
        found.set(Pong(context.clock_ms()))
        return found

    return pong
