"""What a report says, and what it warns of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import pictures, report
from bench.climb import climb, kept_up, sustained
from bench.echo import EchoPlan
from bench.hundred_thousand import possible, processes_for
from bench.report import Report
from bench.result import LONG_WAIT_MS, Measure, Options, Sample, ServerResult, notes
from bench.soak import growth
from bench.stage import measures
from bench.tally import Counted, Counts


def outcome(server: str = "greenroom", **changes: Any) -> ServerResult:
    """Return an unremarkable outcome: 1,000 replies a second."""
    main = Measure(
        expected=10_000,
        done=10_000,
        per_s=1000.0,
        latency_ms={"p50": 1.0, "p90": 2.0, "p99": 3.0, "p99.9": 4.0, "max": 5.0},
        histogram={100: 9000, 300: 1000},
    )
    fields: dict[str, Any] = {
        "server": server, "event": "replies", "intended": 1000.0, "settings": [], "clients": 100,
        "ready_s": 1.0, "measures": {"replies": main}, "errors": {}, "cpu_us": 10.0,
        "kernel_us": 4.0, "cpu_percent": 1.0, "rss_mib": 70.0, "rest_mib": 60.0,
    }  # fmt: skip
    return ServerResult(**{**fields, **changes})


def measure(**changes: Any) -> dict[str, Measure]:
    return {"replies": msgspec.structs.replace(outcome().main, **changes)}


def result(*outcomes: ServerResult, **fields: Any) -> Report:
    about = {"greenroom": "abc", "when": "now", "cpu": "a cpu", "cores": "2", "python": "3.11"}
    return Report(
        scenario="echo", command=["--rate", "1000"], plan=EchoPlan(), options=Options(),
        about=about, outcomes=list(outcomes), **fields,
    )  # fmt: skip


def test_the_table_has_figures_and_ratios() -> None:
    text = report.table(result(outcome(), outcome("peer", cpu_us=25.0)))
    assert "greenroom: replies" in text
    assert "2.50 times the CPU an event" in text
    assert "102.4" in text  # KiB a client: 10 MiB of 100 clients


def test_a_server_elsewhere_has_no_figures_of_its_process() -> None:
    text = report.table(result(outcome(cpu_us=None, cpu_percent=None, rss_mib=None)))
    assert "nan" not in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measures": measure(per_s=900.0)}, "saturated"),
        ({"generator_percent": 95.0}, "may be the limit"),
        ({"late_ms": {"p99": 20.0}}, "late itself"),
        ({"waited_percent": 30.0}, "waited 30 %"),
        ({"most_waited_ms": 16.0}, "for 16 ms of a second"),
        ({"realtime": True}, "server and load had real-time priority"),
        ({"measures": measure(done=9_990)}, "10 replies never came"),
        ({"errors": {"busy": 3}}, "3 busy"),
        ({"settings": ["a.b=1"]}, "--set a.b=1"),
    ],
)
def test_it_warns_of_what_makes_figures_doubtful(changes: dict[str, Any], said: str) -> None:
    assert any(said in note for note in notes(EchoPlan(rate=1000), outcome(**changes)))
    assert notes(EchoPlan(rate=1000), outcome()) == []


def test_what_others_took_is_told_if_it_may_be_the_tail() -> None:
    tail = outcome().main.latency_ms["p99.9"]
    for waited_ms in (LONG_WAIT_MS, tail, 0.0):
        assert notes(EchoPlan(rate=1000), outcome(most_waited_ms=waited_ms)) == []
    (waited, _) = notes(EchoPlan(rate=1000), outcome(most_waited_ms=16.0, realtime=True))
    assert "--realtime" not in waited


def test_what_processes_counted_is_put_together() -> None:
    one = Counted(expected=10, done=9, in_window=8, latencies={100: 5, 200: 4})
    counts = [Counts({"replies": one}, {}, 0.0, {}), Counts({"replies": one}, {}, 0.0, {})]
    both = measures(counts, seconds=2.0)["replies"]
    assert (both.expected, both.done, both.per_s) == (20, 18, 8.0)
    assert both.histogram == {100: 10, 200: 8}
    assert both.latency_ms["p50"] == 0.1


def test_a_climb_ends_where_the_rate_is_not_kept_up_with_and_looks_in_between() -> None:
    def run(rate: float) -> ServerResult:
        able = min(rate, 2500.0)
        return outcome(intended=rate, measures=measure(per_s=able))

    steps = list(climb(run, 1000.0, factor=2.0))
    assert [round(rate) for rate, _ in steps] == [1000, 2000, 4000, 2828]
    assert sustained(steps) == 2000.0


def test_late_or_missing_events_are_not_kept_up_with() -> None:
    assert kept_up(outcome(), 1000.0)
    assert not kept_up(outcome(), 1000.0, p99_ms=2.0)
    assert not kept_up(outcome(measures=measure(done=1)), 1000.0)
    assert not kept_up(outcome(measures=measure(latency_ms={})), 1000.0)


def test_growth_is_between_the_second_and_the_last_quarter() -> None:
    assert growth([0.0, 9.0, 10.0, 10.0, 10.0, 10.0, 12.0, 12.0]) == 2.0
    assert growth([1.0, 2.0]) == 0.0


def test_a_smaller_machine_has_fewer_players() -> None:
    gib = 2**30
    assert possible(100_000, 10**6, 24 * gib) == 100_000
    assert possible(100_000, 10**6, 2 * gib) == int(2 * gib * 0.8) // (60 * 1024)
    assert possible(100_000, 30_000, 24 * gib) == 10_000
    assert processes_for(100_000, 20_000) == 6
    assert processes_for(500, 20_000) == 1


def test_pictures_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    samples = [Sample(float(n), 1.0 + n, rss_mib=60.0 + n) for n in range(60)]
    steps = [outcome(intended=1000.0 * n) for n in (1, 3, 2)]
    drawn = pictures.draw(
        result(outcome(samples=samples), outcome("peer"), climbs={"greenroom": steps}),
        tmp_path,
        "it",
    )
    assert [file.name for file in drawn] == ["it-latency.png", "it-climb.png", "it-time.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert pictures.draw(result(outcome(measures={})), tmp_path, "it") == []


def test_a_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    written = result(outcome())
    file = report.write(written, tmp_path / "new", "it")
    read = msgspec.json.decode(file.read_bytes(), type=Report)
    assert read.outcomes == written.outcomes
    assert math.isclose(read.outcomes[0].kib_a_client or 0, 102.4)
