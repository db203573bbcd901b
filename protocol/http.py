"""HTTP beside the wire: health, readiness and metrics, on Hypercorn's trio worker in the same loop.

It knows nothing of actors: what it says comes from the checks and readings it is given.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import hypercorn
import hypercorn.trio
import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

CHECK_TIMEOUT_S = 0.8
"""A check that takes longer has failed. All run at once: Kubernetes gives a probe 1 s."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format, https://prometheus.io/docs/instrumenting/exposition_formats/."""

Check = Callable[[], Awaitable[str | None]]
"""Returns what is wrong, or None."""


class Reading(msgspec.Struct, frozen=True):
    """One value of one metric. Readings of the same name stand together, with different labels."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    value: float
    labels: Mapping[str, str] = {}


def render(readings: Iterable[Reading]) -> str:
    """Return readings in Prometheus' text format."""
    return "".join(_lines(readings))


def _lines(readings: Iterable[Reading]) -> Iterator[str]:
    families: dict[str, list[Reading]] = {}
    for reading in readings:
        families.setdefault(reading.name, []).append(reading)
    for name, family in families.items():
        yield f"# HELP {name} {_escape(family[0].help)}\n# TYPE {name} {family[0].kind}\n"
        for reading in family:
            labels = ",".join(
                f'{label}="{_escape(value, quote=True)}"' for label, value in reading.labels.items()
            )
            yield f"{name}{{{labels}}} " if labels else f"{name} "
            yield f"{_number(reading.value)}\n"


def _escape(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def application(
    *,
    about: Mapping[str, str],
    checks: Mapping[str, Check],
    may_fail: Collection[str] = (),
    readings: Callable[[], Iterable[Reading]],
) -> Starlette:
    """Return the HTTP application.

    Arguments:
        about: what `/` says of this server, e.g. its version and where clients connect.
        checks: by name; `/readyz` answers 200 while all of them return None, else 503.
        may_fail: the names of checks that make it degraded instead, with 200.
        readings: called once for each scrape of `/metrics`.
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
        return Response(render(readings()), media_type=METRICS_TYPE)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
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
        listeners: of `protocol.listener.listen`; taken over and closed in the end. They are the
            caller's, so that a taken port is its error to name.
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
