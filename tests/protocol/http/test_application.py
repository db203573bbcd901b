"""Health, readiness and metrics over real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from protocol.http import application as http
from protocol.http.application import CHECK_TIMEOUT_S, Check, application, readiness, serve_http
from protocol.http.metrics import Histogram, Reading, render

READINGS = [
    Reading("greenroom_sessions", "gauge", "Sessions.", 3),
    Reading("greenroom_restarts_total", "counter", "Restarts.", 2, {"kind": "room"}),
    Reading("greenroom_restarts_total", "counter", "Restarts.", 0, {"kind": "match"}),
]


class Answer(NamedTuple):
    status: int
    head: str
    body: bytes


async def get(port: int, path: str) -> Answer:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        whole = b"".join([chunk async for chunk in stream])
    head, _, body = whole.partition(b"\r\n\r\n")
    return Answer(int(head.split()[1]), head.decode().lower(), body)


@asynccontextmanager
async def served(
    checks: dict[str, Check] | None = None,
    stop: trio.Event | None = None,
    *,
    may_fail: Sequence[str] = (),
) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = application(
        about={"name": "test"},
        ready=partial(readiness, checks or {}, may_fail),
        readings=lambda: READINGS,
    )
    stop = stop or trio.Event()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, app, listener, stop)
            yield port
            stop.set()


async def _serve(
    app: Starlette,
    listener: socket.socket,
    stop: trio.Event,
    task_status: trio.TaskStatus[list[str]],
) -> None:
    await serve_http(app, [listener], stop=stop.wait, task_status=task_status)


async def fine() -> str | None:
    return None


async def test_health_and_index_answer() -> None:
    async with served() as port:
        assert (await get(port, "/healthz")).body == b"ok\n"
        index = msgspec.json.decode((await get(port, "/")).body)
        assert index == {"name": "test", "see": ["/healthz", "/readyz", "/metrics"]}
        assert (await get(port, "/nowhere")).status == 404


async def test_ready_while_all_checks_pass() -> None:
    async with served({"stores": fine}) as port:
        answer = await get(port, "/readyz")
        assert answer.status == 200
        assert msgspec.json.decode(answer.body) == {
            "ready": True,
            "degraded": False,
            "checks": {"stores": "ok"},
        }


async def test_what_may_fail_makes_it_degraded_and_no_less_ready() -> None:
    async def away() -> str | None:
        return "away"

    async with served({"a": fine, "b": away}, may_fail=["b"]) as port:
        answer = await get(port, "/readyz")
        assert answer.status == 200
        assert msgspec.json.decode(answer.body) == {
            "ready": True,
            "degraded": True,
            "checks": {"a": "ok", "b": "away"},
        }
    async with served({"a": away, "b": away}, may_fail=["b"]) as port:
        answer = await get(port, "/readyz")
        assert answer.status == 503
        body = msgspec.json.decode(answer.body)
        assert (body["ready"], body["degraded"]) == (False, False)


async def test_checks_run_side_by_side() -> None:
    """They must, because a probe waits one second for all of them."""
    both = [trio.Event(), trio.Event()]

    async def meet(mine: int) -> str | None:
        both[mine].set()
        await both[1 - mine].wait()
        return None

    async with served({"a": partial(meet, 0), "b": partial(meet, 1)}) as port:
        assert (await get(port, "/readyz")).status == 200


async def test_a_failing_check_says_why() -> None:
    async def draining() -> str | None:
        return "draining"

    async def broken() -> str | None:
        raise ConnectionError("refused")

    async with served({"a": fine, "b": draining, "c": broken}) as port:
        answer = await get(port, "/readyz")
        assert answer.status == 503
        assert msgspec.json.decode(answer.body) == {
            "ready": False,
            "degraded": False,
            "checks": {"a": "ok", "b": "draining", "c": "ConnectionError: refused"},
        }


async def test_a_check_that_hangs_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CHECK_TIMEOUT_S", 0.05)

    async def hang() -> str | None:
        await trio.sleep_forever()

    async with served({"store": hang}) as port:
        answer = await get(port, "/readyz")
        assert (answer.status, b"no answer within" in answer.body) == (503, True)
    assert CHECK_TIMEOUT_S > 0


async def test_metrics_are_prometheus_text() -> None:
    async with served() as port:
        answer = await get(port, "/metrics")
    assert "content-type: text/plain; version=0.0.4" in answer.head
    assert answer.body.decode().splitlines() == [
        "# HELP greenroom_sessions Sessions.",
        "# TYPE greenroom_sessions gauge",
        "greenroom_sessions 3.0",
        "# HELP greenroom_restarts_total Restarts.",
        "# TYPE greenroom_restarts_total counter",
        'greenroom_restarts_total{kind="room"} 2.0',
        'greenroom_restarts_total{kind="match"} 0.0',
    ]


async def test_it_stops_when_told_and_lets_go_of_the_port() -> None:
    async with served() as port:
        await get(port, "/healthz")
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_it_prints_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as port:
        await get(port, "/healthz")
    assert capfd.readouterr() == ("", "")


@given(st.text(), st.floats())
def test_any_label_and_value_is_one_line(text: str, value: float) -> None:
    rendered = render(lambda: [Reading("m", "gauge", text, value, {"label": text})])
    lines = rendered.decode("utf-8", "surrogatepass").split("\n")
    assert len(lines) == 4
    assert lines[3] == ""
    assert float(lines[2].rpartition(" ")[2]) == value or value != value


@given(st.lists(st.floats(0, 10)))
def test_a_histogram_counts_each_duration_once(durations: list[float]) -> None:
    histogram = Histogram("m_seconds", "Durations.", (0.1, 1.0))
    for duration in durations:
        histogram.observe(duration)
    lines = render(lambda: [histogram]).decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    for bound in (0.1, 1.0):
        below = sum(duration <= bound for duration in durations)
        assert float(found[f'm_seconds_bucket{{le="{bound}"}}']) == below
    assert float(found['m_seconds_bucket{le="+Inf"}']) == len(durations)
    assert float(found["m_seconds_count"]) == len(durations)
    assert float(found["m_seconds_sum"]) == pytest.approx(sum(durations))


def test_readings_of_one_name_agree_on_kind_and_labels() -> None:
    for other in (Reading("m", "gauge", "", 1, {"b": "x"}), Reading("m", "counter", "", 1)):
        with pytest.raises(ValueError, match="metric m"):
            render(lambda other=other: [Reading("m", "gauge", "", 1), other])  # type: ignore[misc]
