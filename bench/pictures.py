"""Pictures of a report: how latencies are distributed, and throughput against latency.

matplotlib is imported only when a picture is drawn, so that a run without pictures works without
it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.histogram import LatencyHistogram
from bench.report import Report
from bench.result import ServerResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (8.0, 5.0)  # inches
DPI = 120
TIMELINE = 60
"""A run with fewer samples gets no picture over time."""
NINES = {0.0: "0", 1.0: "90", 2.0: "99", 3.0: "99.9", 4.0: "99.99", 5.0: "99.999"}
"""-log10 of the share of values above -> label: per cent of values at or below."""


def draw(report: Report, folder: Path, name: str) -> list[Path]:
    """Draw what the report has figures for; return the files.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    drawn = []
    if any(outcome.main.histogram for outcome in report.outcomes):
        drawn.append(_figure(report, folder / f"{name}-latency.png", _latencies))
    if report.climbs:
        drawn.append(_figure(report, folder / f"{name}-climb.png", _climbs))
    if any(len(outcome.samples) >= TIMELINE for outcome in report.outcomes):
        drawn.append(_figure(report, folder / f"{name}-time.png", _timeline))
    return drawn


def _figure(report: Report, file: Path, paint: Any) -> Path:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise RuntimeError("pictures need matplotlib: pip install greenroom[bench]") from error
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=SIZE, dpi=DPI)
    paint(report, axes)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    about = report.about
    figure.text(
        0.01, 0.01, fontsize=6, color="gray",
        s=f"python -m bench.{report.scenario} {' '.join(report.command)}   "
        f"{about['greenroom']}, {about['when']}, {about['cpu']}, {about['cores']} cores, "
        f"Python {about['python']}",
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.savefig(file)
    pyplot.close(figure)
    return file


def _label(outcome: ServerResult) -> str:
    return f"{outcome.server}: {outcome.main.per_s:,.0f} {outcome.event}/s"


def _latencies(report: Report, axes: Axes) -> None:
    """Draw milliseconds against per cent of all values, on a scale of nines as HdrHistogram's."""
    deepest = 1.0
    for outcome in report.outcomes:
        histogram = LatencyHistogram(outcome.main.histogram)
        total = histogram.total
        if not total:
            continue
        # No value is above the last one, and log 0 cannot be drawn: it stands at half a value.
        points = [
            (-math.log10(max(1 - share, 0.5 / total)), value)
            for share, value in histogram.distribution()
        ]
        deepest = max(deepest, points[-1][0])
        axes.plot(*zip(*points, strict=True), label=_label(outcome))
    ticks = [nine for nine in NINES if nine <= math.ceil(deepest)]
    axes.set_xticks(ticks, [NINES[nine] for nine in ticks])
    axes.set_yscale("log")
    axes.set_xlabel("per cent of all at or below")
    axes.set_ylabel("ms from the intended time")
    axes.set_title(f"bench.{report.scenario}: {report.outcomes[0].event}")


def _climbs(report: Report, axes: Axes) -> None:
    """Draw p50 and p99 against the rate that arrived, step by step."""
    for number, (server, steps) in enumerate(report.climbs.items()):
        color = f"C{number}"
        # Sorted by rate, since the last step goes back to find the limit.
        points = sorted(
            (step for step in steps if step.main.latency_ms), key=lambda step: step.intended or 0
        )
        rates = [step.main.per_s for step in points]
        for key, style in (("p99", "o-"), ("p50", "o:")):
            axes.plot(
                rates, [step.main.latency_ms[key] for step in points], style, color=color,
                label=f"{server} {key}",
            )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel(f"{report.outcomes[0].event} a second that arrived")
    axes.set_ylabel("ms from the intended time")
    axes.set_title(f"bench.{report.scenario}: the rate climbs until the server no longer keeps up")


def _timeline(report: Report, axes: Axes) -> None:
    """Draw resident memory and p99 over time."""
    beside = axes.twinx()
    for number, outcome in enumerate(report.outcomes):
        times = [sample.at_s / 60 for sample in outcome.samples]
        memory = [sample.rss_mib for sample in outcome.samples]
        if any(memory):
            axes.plot(times, memory, color=f"C{number}", label=f"{outcome.server}: RSS MiB")
        p99 = [sample.p99_ms for sample in outcome.samples]
        axes.plot([], [], ":", color=f"C{number}", label=f"{outcome.server}: p99 ms")
        beside.plot(times, p99, ":", color=f"C{number}")
    axes.set_ylim(bottom=0)
    beside.set_yscale("log")
    beside.set_ylabel("p99 of the last second, ms")
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident memory, MiB")
    axes.set_title(f"bench.{report.scenario}")
