"""The HTTP API in this process, with all services on the real stores, and callers of it."""

from __future__ import annotations

import os
import secrets
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio

import server
from actors.edge.activations import Activations
from actors.edge.admission import Admission
from actors.edge.api.callers import ApiCaller, Authenticate, Credentials
from actors.edge.doorman import Doorman
from actors.edge.identity import Identity
from actors.edge.session import Context
from actors.edge.session_gateway import SessionGateway
from actors.edge.tokens import Tokens
from actors.edge.topics import Topics
from actors.node.config import Loaded, load
from actors.node.hosting import start_services, store_settings, unix_ms
from actors.node.node import routes_of, watch_of
from actors.node.scheduler import Bell
from actors.node.services import load_services
from actors.node.stores import NodeStores, start_stores
from actors.node.web_api import WebApi, open_api
from actors.runtime.system import ActorSystem
from actors.service import Running, Service, ServiceSettings, ToolKit, scopes_of
from persistence import PostgresSettings, RedisSettings
from persistence.postgres import migrate
from protocol.http.exchange import HttpRequest, HttpResponse
from protocol.messages import session as session_messages
from protocol.messages.op_table import OpTable
from protocol.roles import PLAYER, with_included
from protocol.server.listener import listen
from tests.left_out import has

PEER = "192.0.2.1"
STAFF = "staff-"
"""What the tokens of `HostedApi.staff` begin with."""


class ApiAnswer(NamedTuple):
    """An answer, its body decoded."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        """The code of a refusal."""
        assert self.status >= 400, self
        return str(self.body["code"])

    @property
    def data(self) -> Any:
        """The body of a success."""
        assert self.status in (200, 204), self
        return self.body


class HostedApi(NamedTuple):
    """The API, and what a test looks at beside it."""

    web: WebApi
    ops: OpTable
    services: Mapping[str, Running]
    stores: NodeStores
    tokens: Tokens
    system: ActorSystem
    settings: ServiceSettings
    admission: Admission

    def tool(self, service: str, name: str) -> Callable[..., Awaitable[Iterable[str]]]:
        """A tool of a service, as the command line uses it beside this server."""
        (found,) = [one for one in all_services() if one.name == service]
        kit = ToolKit(
            facts=self.stores.facts, scopes=scopes_of(all_services()), settings=self.settings
        )
        return found.tools(kit)[name]

    def staff(self, role: str) -> str:
        """The token of somebody with a role of staff, whatever services there are."""
        return f"{STAFF}{role}"

    def token(self, user: str, name: str = "Ada") -> str:
        """A token of a session, as `session.open` gives it."""
        return self.tokens.issue("", user, name)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        address: str | None = None,
    ) -> ApiAnswer:
        """Send a request past the sockets."""
        found = dict(headers or {})
        if token is not None:
            found["authorization"] = f"Bearer {token}"
        if raw is None:
            raw = b"" if body is None else msgspec.json.encode(body)
        path, _, query = path.partition("?")
        request = HttpRequest(
            method=method, path=path, query=query, headers=found, body=raw, address=address,
            peer=PEER,
        )  # fmt: skip
        return _answer(await self.web.api.handle(request))

    async def call(
        self,
        op: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ApiAnswer:
        """Call an op."""
        return await self.send("POST", f"/v1/rpc/{op}", body, token=token, headers=headers)


def _answer(response: HttpResponse) -> ApiAnswer:
    body = msgspec.json.decode(response.body) if response.body[:1] in (b"{", b"[") else None
    return ApiAnswer(response.status, body, dict(response.headers))


@cache
def all_services() -> tuple[Service, ...]:
    return load_services(server.SERVICES)


def loaded_with(
    postgres: PostgresSettings, redis: RedisSettings, overrides: Iterable[str] = ()
) -> Loaded:
    """The configuration of a server on these stores."""
    own = (
        f"postgres.url={postgres.url}",
        f"postgres.schema={postgres.schema}",
        f"redis.url={redis.url}",
        f"redis.prefix={redis.prefix}",
    )
    # config.toml has a section of a service that may be left out. But for the games, its values are
    # the defaults.
    games = tomllib.loads(Path("config.toml").read_text(encoding="utf-8"))["games"]
    named = [f"games.{name}={path}" for name, path in games.items()] if has("matches") else []
    return load(Path(os.devnull), {}, (*own, *named, *overrides), services=all_services())


@asynccontextmanager
async def hosted(
    postgres: PostgresSettings,
    redis: RedisSettings,
    overrides: Sequence[str] = (),
    authenticate: Authenticate | None = None,
) -> AsyncIterator[HostedApi]:
    """Run all services and the API in this process. The schema must have been migrated.

    `authenticate` is asked who calls before those of the services are.
    """
    services = all_services()
    loaded = loaded_with(postgres, redis, overrides)
    settings = loaded.config
    async with ActorSystem("api") as system:
        stores = await start_stores(
            system,
            store_settings(settings, services, settings.postgres, settings.redis),
            Bell(),
        )
        topics = Topics()
        running = start_services(
            services, settings, folder=Path(), system=system, topics=topics, stores=stores
        )
        ops = OpTable([session_messages.AREA, *(one.area for one in services)])
        found = routes_of(ops, running.values())
        tokens = Tokens([secrets.token_bytes(32)], valid_s=3600, clock=time.time)
        context = Context(
            settings=settings.sessions,
            topics=topics,
            tokens=tokens,
            clock_ms=unix_ms,
            keepalive_s=settings.wire.keepalive_s,
            max_message_bytes=settings.wire.max_message_bytes,
            routes=found,
            activations=Activations(settings.sessions),
            access=next((one.access for one in running.values() if one.access), None),
            watch=watch_of(running.values()),
        )
        doorman = Doorman(settings.wire, settings.sessions)
        gateway = SessionGateway(system, context, secrets.token_hex, doorman, ops)
        ways = [_staff] if authenticate is None else [_staff, authenticate]
        first = {f"the test's {n}": Running(routes={}, authenticate=w) for n, w in enumerate(ways)}
        web = open_api(
            system,
            ops,
            routes=found,
            services={**first, **running},
            sessions=gateway,
            context=context,
            wire=settings.wire,
            settings=settings.api,
            tls_context=None,
        )
        yield HostedApi(web, ops, running, stores, tokens, system, settings, gateway.admission)


@asynccontextmanager
async def on_a_port(api: HostedApi) -> AsyncIterator[int]:
    """Serve it on a port of this machine, whose programs count as trusted proxies."""
    async with trio.open_nursery() as nursery:
        listeners = listen("127.0.0.1", 0)
        await nursery.start(api.web.server.serve, listeners)
        yield listeners[0].getsockname()[1]
        nursery.cancel_scope.cancel()


async def post(port: int, path: str, body: Any, *, address: str) -> ApiAnswer:
    """Send a request over a socket, as a proxy does for a client of this address."""
    data = msgspec.json.encode(body)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: {address}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(head.encode() + data)
        answer = b"".join([part async for part in stream])
    head, _, text = answer.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
    return ApiAnswer(int(status.split()[1]), msgspec.json.decode(text) if text else None, headers)


async def _staff(given: Credentials) -> ApiCaller | None:
    if not given.token.startswith(STAFF):
        return None
    role = given.token.removeprefix(STAFF)
    roles = with_included((PLAYER, role))
    return ApiCaller(who=Identity("", given.token, role, roles=roles, address=given.address))


def migrated(postgres_url: str, schema: str) -> PostgresSettings:
    """A schema of its own, with the tables of all services."""
    settings = PostgresSettings(url=postgres_url, schema=schema)
    migrate(settings, [service.name for service in all_services()])
    return settings
