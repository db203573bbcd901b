"""Health, readiness, metrics and web pages, served by Hypercorn's trio worker in the same loop.

It knows nothing of actors. Its answers come from the checks and readings that it is given.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import hypercorn
import hypercorn.trio
import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from protocol.http.metrics import METRICS_TYPE, Readings, render
from protocol.http.pages import INDEX, Pages, page_routes

CHECK_TIMEOUT_S = 0.8
"""A check that takes longer has failed.

Checks run at the same time, since Kubernetes gives a probe 1 s.
"""

Check = Callable[[], Awaitable[str | None]]
"""A check returns what is wrong, or None."""


class Readiness(msgspec.Struct, frozen=True):
    """The answer of `/readyz`.

    Attributes:
        ready: whether clients may be sent here.
        degraded: whether something is wrong although clients may be sent here.
        checks: name -> "ok", or what is wrong.
    """

    ready: bool
    degraded: bool
    checks: dict[str, str]


async def readiness(checks: Mapping[str, Check], may_fail: Collection[str] = ()) -> Readiness:
    """Run checks at the same time.

    Arguments:
        checks: the checks by name. The server is ready while all of them return None.
        may_fail: the names of checks whose failure leaves the server ready, but degraded.
    """
    wrong: dict[str, str | None] = dict.fromkeys(checks)

    async def look(name: str, check: Check) -> None:
        wrong[name] = await _run(check)

    async with trio.open_nursery() as nursery:
        for name, check in checks.items():
            nursery.start_soon(look, name, check)
    ready = not any(text for name, text in wrong.items() if name not in may_fail)
    told = {name: text or "ok" for name, text in wrong.items()}
    return Readiness(ready, degraded=ready and any(wrong.values()), checks=told)


def application(
    *,
    about: Mapping[str, str],
    ready: Callable[[], Awaitable[Readiness]],
    readings: Readings,
    routes: Sequence[BaseRoute] = (),
    pages: Pages | None = None,
) -> Starlette:
    """Return the HTTP application.

    Arguments:
        about: what `/` says about this server, such as its version and where clients connect.
        ready: called for each `/readyz`, which answers 200 if it is ready, else 503.
        readings: called once for each scrape of `/metrics`.
        routes: the routes of services, in addition to these.
        pages: web pages; `/` answers their index to whoever asks for HTML, as browsers do.
    """

    async def index(request: Request) -> Response:
        if pages and "text/html" in request.headers.get("accept", ""):
            return pages[INDEX].answer(request, Vary="Accept")
        see = ["/healthz", "/readyz", "/metrics"]
        return JSONResponse({**about, "see": see}, headers={"Vary": "Accept"})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        found = await ready()
        return JSONResponse(msgspec.to_builtins(found), status_code=200 if found.ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(render(readings), media_type=METRICS_TYPE)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *routes,
            *page_routes(pages or {}),
        ]
    )


async def _run(check: Check) -> str | None:
    with trio.move_on_after(CHECK_TIMEOUT_S) as scope:
        try:
            return await check()
        except Exception as error:
            # The probe gets a short text, not a traceback; the part that failed has logged it.
            return f"{type(error).__name__}: {error}"
    return f"no answer within {CHECK_TIMEOUT_S:g} s" if scope.cancelled_caught else None


async def serve_http(
    application: Starlette,
    listeners: Sequence[socket.socket],
    *,
    stop: Callable[[], Awaitable[None]],
    grace_s: float = 1.0,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` returns.

    Arguments:
        application: the result of `application()`.
        listeners: sockets of `protocol.server.listener.listen`. They are closed in the end. The
            caller opens them, so that it can report a port that is taken.
        stop: called once. When it returns, no more connections are accepted.
        grace_s: the seconds that requests under way may still take after that.
        task_status: gets the addresses once connections are accepted.
    """
    config = hypercorn.Config()
    # Hypercorn takes an open socket by its file descriptor.
    config.bind = [f"fd://{listener.detach()}" for listener in listeners]
    config.graceful_timeout = grace_s
    config.include_server_header = False
    # Hypercorn's line "Running on ... (CTRL + C to quit)" would repeat the server's own. This
    # logger drops it, and passes on warnings and errors.
    logger = logging.getLogger("greenroom.http")
    logger.setLevel(logging.WARNING)
    config.errorlog = logger
    # This installs no signal handlers (only Hypercorn's command line does), so the server keeps its
    # own.
    await hypercorn.trio.serve(
        application,  # type: ignore[arg-type]  # Starlette types its scope as a MutableMapping
        config,
        shutdown_trigger=stop,
        task_status=task_status,
        mode="asgi",
    )
