"""Each scenario with a small load against a real server: it runs, and its report is complete."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.report import Report
from bench.result import ServerResult
from tests.bench.commands import bench
from tests.server_process import ROOT, Server

SHORT = ("--seconds", "0.6", "--warmup", "0.1")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all tests, since a start takes seconds."""
    # Not pytest's own folder: that is closed to others, and root's PostgreSQL may run as nobody.
    folder = Path(tempfile.gettempdir()) / f"greenroom-tests-{secrets.token_hex(8)}"
    try:
        with Server(folder, "games.bench=bench.games:Arena20") as running:
            yield running
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(out: Path, name: str, *arguments: str, pictures: bool = False) -> tuple[Report, str]:
    """Run a scenario; returns its report and what it printed."""
    files = ["--out", str(out), "--save", "it"] + ([] if pictures else ["--no-pictures"])
    done = bench(name, *files, *arguments)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode((out / "it.json").read_bytes(), type=Report), done.stdout


def all_came(outcome: ServerResult, series: str) -> None:
    """Check that nothing of a series is missing, and that its latencies are possible.

    How many there were depends on how fast this machine is now.
    """
    measure = outcome.measures[series]
    assert measure.done == measure.expected > 0
    told = list(measure.latency_ms.values())
    assert told == sorted(told)
    assert told[0] > 0
    assert outcome.errors == {}


def test_echo_answers_each_request(server: Server, tmp_path: Path) -> None:
    load = ("--rate", "200", "--connections", "5", "--idle", "3", "--generators", "2")
    report, _ = run(tmp_path, "echo", "--url", server.ws, *SHORT, *load)
    (outcome,) = report.outcomes
    all_came(outcome, "replies")
    assert outcome.clients == 8
    assert outcome.cpu_us is None  # it is not our process


def test_echo_goes_as_fast_as_it_goes(tmp_path: Path) -> None:
    report, text = run(tmp_path, "echo", *SHORT, "--rate", "0", "--connections", "5")
    (outcome,) = report.outcomes
    assert outcome.main.per_s > 0
    assert outcome.cpu_us is not None
    assert outcome.cpu_us > 1
    assert "--set sessions.messages_per_s=0" in text


def test_connect_brings_everyone_in(server: Server, tmp_path: Path) -> None:
    load = ("--players", "30", "--members", "5")
    for rate in ("0", "100"):
        report, _ = run(tmp_path, "connect", "--url", server.ws, *load, "--rate", rate)
        all_came(report.outcomes[0], "joins")
        assert report.outcomes[0].main.done == 30
        assert report.outcomes[0].clients == 30


def test_idle_counts_who_sits_there(server: Server, tmp_path: Path) -> None:
    report, _ = run(tmp_path, "idle", "--url", server.ws, *SHORT, "--players", "20")
    assert report.outcomes[0].clients == 20
    assert report.outcomes[0].extras["joins/s"] > 0


def test_chat_is_acknowledged_and_delivered(server: Server, tmp_path: Path) -> None:
    load = ("--rate", "50", "--players", "30")
    report, _ = run(tmp_path, "chat", "--url", server.ws, *SHORT, *load)
    all_came(report.outcomes[0], "acks")
    all_came(report.outcomes[0], "deliveries")


def test_matches_show_each_player_each_tick(server: Server, tmp_path: Path) -> None:
    load = ("--matches", "3", "--players", "2", "--inputs", "5")
    report, _ = run(tmp_path, "matches", "--url", server.ws, *SHORT, *load)
    (outcome,) = report.outcomes
    assert outcome.measures["inputs"].done == outcome.measures["inputs"].expected > 0
    assert outcome.extras["ticks/s"] > 0
    assert outcome.measures["states"].done >= 2 * outcome.measures["ticks"].done - 6


def test_rooms_deliver_beside_a_peer(tmp_path: Path) -> None:
    load = ("--rate", "500", "--members", "5", "--rooms", "2", "--against", "trio-websocket")
    report, text = run(tmp_path, "rooms", *SHORT, *load)
    assert [outcome.server for outcome in report.outcomes] == ["greenroom", "trio-websocket"]
    for outcome in report.outcomes:
        all_came(outcome, "deliveries")
        assert outcome.cpu_us is not None
    all_came(report.outcomes[0], "acks")
    assert "times the CPU an event" in text
    assert report.about["picows"] in (tmp_path / "it.json").read_text("utf-8")


def test_a_mixed_day_goes_by(server: Server, tmp_path: Path) -> None:
    load = ("--rate", "150", "--players", "40", "--comes", "10", "--seconds", "1", "--warmup", "0")
    report, _ = run(tmp_path, "mixed", "--url", server.ws, *load)
    (outcome,) = report.outcomes
    assert outcome.main.done == outcome.main.expected > 0
    assert {"chats", "inputs", "pings", "comes", "goes", "hops"} <= set(outcome.measures)
    assert set(outcome.errors) <= {"states skipped"}


def test_a_soak_watches_for_growth(server: Server, tmp_path: Path) -> None:
    load = ("--rate", "20", "--players", "10", "--seconds", "2", "--warmup", "0")
    report, text = run(tmp_path, "soak", "--url", server.ws, *load)
    assert len(report.outcomes[0].samples) == 2
    assert "p99 ms more an hour" in text


def test_the_headline_runs_small(tmp_path: Path) -> None:
    load = ("--players", "50", "--members", "5", "--rate", "200")
    report, _ = run(tmp_path, "hundred_thousand", "--warmup", "0", "--seconds", "1", *load)
    (outcome,) = report.outcomes
    assert (outcome.server, outcome.clients) == ("greenroom x1", 50)
    all_came(outcome, "deliveries")


def test_a_climb_tells_the_highest_rate_that_was_kept_up_with(
    server: Server, tmp_path: Path
) -> None:
    load = ("--rate", "100", "--connections", "2", "--climb", "--under-ms", "0.001")
    report, text = run(tmp_path, "echo", "--url", server.ws, *SHORT, *load, pictures=True)
    assert len(report.climbs["greenroom"]) == 1  # no server answers within a microsecond
    assert "intended/s" in text
    assert "not even the first rate was kept up with" in text
    assert (tmp_path / "it-climb.png").exists()


def test_the_list_names_every_scenario() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    named = re.findall(r"python -m bench\.(\w+)", done.stdout)
    assert len(named) == len(set(named)) > 10
    for name in named:
        assert (ROOT / "bench" / f"{name}.py").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("rooms", "--rate", "0"),
        ("matches", "--hz", "25"),
        ("echo", "--climb", "--rate", "0"),
        ("echo", "--against", "nakama", "--rate", "10", "--url", "ws://127.0.0.1:9/ws"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{arguments[0]}", "--no-files", *arguments[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert f"bench.{arguments[0]}: " in done.stderr.splitlines()[-1]
