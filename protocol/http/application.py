"""HTTP beside the wire: health, readiness and metrics, on Hypercorn's trio worker in the same loop.

It knows nothing of actors: what it says comes from the checks and readings it is given.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import hypercorn
import hypercorn.trio
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from protocol.http.metrics import METRICS_TYPE, Readings, render

CHECK_TIMEOUT_S = 0.8
"""A check that takes longer has failed. Checks run side by side, as Kubernetes gives a probe 1 s.
"""

Check = Callable[[], Awaitable[str | None]]
"""Returns what is wrong, or None."""


def application(
    *,
    about: Mapping[str, str],
    checks: Mapping[str, Check],
    may_fail: Collection[str] = (),
    readings: Readings,
    routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """Return the HTTP application.

    Arguments:
        about: what `/` says of this server, e.g. its version and where clients connect.
        checks: by name; `/readyz` answers 200 while all of them return None, else 503.
        may_fail: the names of checks that make it degraded instead, with 200.
        readings: called once for each scrape of `/metrics`.
        routes: of services, beside these.
    """

    async def index(_: Request) -> Response:
        return JSONResponse({**about, "see": ["/healthz", "/readyz", "/metrics"]})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        wrong: dict[str, str | None] = dict.fromkeys(checks)

        async def look(name: str, check: Check) -> None:
            wrong[name] = await _run(check)

        async with trio.open_nursery() as nursery:
            for name, check in checks.items():
                nursery.start_soon(look, name, check)
        ready = not any(text for name, text in wrong.items() if name not in may_fail)
        body = {
            "ready": ready,
            "degraded": ready and any(wrong.values()),
            "checks": {name: text or "ok" for name, text in wrong.items()},
        }
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(render(readings), media_type=METRICS_TYPE)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *routes,
        ]
    )


async def _run(check: Check) -> str | None:
    with trio.move_on_after(CHECK_TIMEOUT_S) as scope:
        try:
            return await check()
        except Exception as error:
            # The probe's reader gets a word, not a traceback; who failed has logged it.
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
    """Serve until `stop` returns; requests then under way have `grace_s` to end.

    Arguments:
        application: what `application()` made.
        listeners: of `protocol.server.listener.listen`; taken over and closed in the end. They are
            the caller's, so that a taken port is its error to name.
        stop: awaited once; when it returns, nothing more is accepted.
        grace_s: seconds for requests under way.
        task_status: started with the addresses once connections are accepted.
    """
    config = hypercorn.Config()
    # A file descriptor rather than an address is Hypercorn's way to take a socket.
    config.bind = [f"fd://{listener.detach()}" for listener in listeners]
    config.graceful_timeout = grace_s
    config.include_server_header = False
    # Its "Running on ... (CTRL + C to quit)" would stand beside the server's own line. Errors are
    # still told: this logger hands on what is a warning or worse.
    logger = logging.getLogger("greenroom.http")
    logger.setLevel(logging.WARNING)
    config.errorlog = logger
    # This installs no signal handlers (only Hypercorn's own command line does), so that SIGTERM
    # and SIGINT stay the server's.
    await hypercorn.trio.serve(
        application,  # type: ignore[arg-type]  # Starlette types its scope as a MutableMapping
        config,
        shutdown_trigger=stop,
        task_status=task_status,
        mode="asgi",
    )
