"""Two commits are compared by the ratios within rounds, over the figures that both have."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.compare import changes, figures_of, table

RESULTS = Path(__file__).parent.parent.parent / "bench" / "results"


def test_the_figures_of_the_actors_are_their_own_and_not_those_of_pykka() -> None:
    found = figures_of("actors", (RESULTS / "actors.json").read_bytes())
    assert set(found) >= {"tell, us", "ask, us", "hop, us", "memory an idle actor, KiB"}
    assert found["tell, us"] < 1.0


@pytest.mark.parametrize("bench", ["echo", "chat", "matches"])
def test_a_scenario_has_rate_cpu_and_latencies_of_its_main_event(bench: str) -> None:
    report = msgspec.json.decode((RESULTS / f"{bench}.json").read_bytes())
    report["outcomes"] = report["outcomes"][:1]
    rate, *others = figures_of(bench, msgspec.json.encode(report)).items()
    assert rate[0].endswith(", /s")
    assert [name for name, _ in others] == ["CPU, us", "p50, ms", "p99, ms"]


def test_what_an_older_version_does_not_measure_is_left_out() -> None:
    old = {"what": "append", "batch": 50, "per_s": 1000.0}
    new = {**old, "per_s": 1500.0, "cpu_us": 8.0}
    before, after = (figures_of("stores", msgspec.json.encode([row])) for row in (old, new))
    (change,) = changes([(before, after)])
    assert change == ("append by 50, /s", 1000.0, 1500.0, [1.5])


def test_a_machine_that_slows_down_between_rounds_does_not_change_the_ratios() -> None:
    rounds = [({"tell, us": speed}, {"tell, us": speed * 1.1}) for speed in (0.4, 0.8, 3.2)]
    (change,) = changes(rounds)
    assert change.before == 0.8
    assert change.after == pytest.approx(0.88)
    assert change.ratios == pytest.approx([1.1, 1.1, 1.1])
    assert table("actors", [change]).splitlines()[1].split() == [
        "tell,", "us", "0.80", "0.88", "1.100", "1.100", "to", "1.100",
    ]  # fmt: skip


def test_a_figure_of_zero_has_no_ratio() -> None:
    (change,) = changes([({"x": 0.0}, {"x": 1.0})])
    assert table("x", [change]).splitlines()[1].split() == [
        "x",
        "0.00",
        "1.00",
        "-",
        "-",
        "to",
        "-",
    ]
