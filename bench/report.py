"""The report of a run: a table for people, JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.result import Options, ServerResult

LATENCIES = ("p50", "p90", "p99", "p99.9", "max")


class Report(msgspec.Struct, kw_only=True):
    """Everything there is to know about one run of a scenario."""

    scenario: str
    command: list[str]
    plan: Any
    options: Options
    about: dict[str, str]
    outcomes: list[ServerResult]
    climbs: dict[str, list[ServerResult]] = {}
    """Server -> the result of each step, if the rate climbed."""


def number(value: float | None, digits: int = 2) -> str:
    """Return a figure as text for the table; a dash if there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.{digits}f}" if abs(value) < 10_000 else f"{value:,.0f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, the first column aligned left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def latency_table(outcomes: Sequence[ServerResult]) -> list[str]:
    """Return the table with rate and latencies of each series of each server."""
    rows = [["", "per s", "p50 ms", *LATENCIES[1:], "events"]]
    for outcome in outcomes:
        names = sorted(outcome.measures, key=lambda name: (name != outcome.event, name))
        for name in names:
            one = outcome.measures[name]
            if one.expected or one.done or one.per_s:
                rows.append(
                    [
                        f"{outcome.server}: {name}",
                        number(one.per_s, 0),
                        *(number(one.latency_ms.get(key)) for key in LATENCIES),
                        f"{one.done:,}",
                    ]
                )
    return aligned(rows) if len(rows) > 1 else []


def server_table(outcomes: Sequence[ServerResult]) -> list[str]:
    """Return the table with the CPU and memory of each server."""
    extras = list(dict.fromkeys(name for one in outcomes for name in one.extras))
    heads = ["clients", "CPU us each", "in kernel", "CPU %", "RSS MiB", "KiB a client"]
    rows = [["", *heads, *extras, "generator CPU %"]]
    rows += [
        [
            one.server,
            f"{one.clients:,}",
            number(one.cpu_us),
            number(one.kernel_us),
            number(one.cpu_percent, 0 if (one.cpu_percent or 0) >= 10 else 1),
            number(one.rss_mib, 0),
            number(one.kib_a_client, 1),
            *(number(one.extras.get(name)) for name in extras),
            number(one.generator_percent, 0),
        ]
        for one in outcomes
    ]
    return aligned(rows)


def part_lines(outcomes: Sequence[ServerResult]) -> list[str]:
    """Return a line for each server that has nodes or stores, with the CPU of each part."""
    return [
        f"{one.server}, CPU % of each part: "
        + ", ".join(f"{name} {number(percent, 1)}" for name, percent in one.parts_percent.items())
        for one in outcomes
        if len(one.parts_percent) > 1
    ]


def ratios(outcomes: Sequence[ServerResult]) -> list[str]:
    """Return a line for each peer that compares it with the run of Greenroom before it."""
    lines = []
    ours = outcomes[0]
    for other in outcomes[1:]:
        if other.server == ours.server:
            ours = other
            continue
        parts = []
        if ours.cpu_us and other.cpu_us:
            parts.append(f"{other.cpu_us / ours.cpu_us:.2f} times the CPU an event")
        if ours.main.per_s and other.main.per_s:
            parts.append(f"{other.main.per_s / ours.main.per_s:.2f} times the {ours.event}/s")
        if ours.main.latency_ms and other.main.latency_ms:
            p99 = other.main.latency_ms["p99"] / max(ours.main.latency_ms["p99"], 0.001)
            parts.append(f"{p99:.2f} times the p99")
        if parts:
            lines.append(f"{other.server}: {', '.join(parts)} of {ours.server}")
    return lines


def climb_table(climbs: Mapping[str, Sequence[ServerResult]]) -> list[str]:
    """Return the table with the steps of each server's climb."""
    rows = [["", "intended/s", "came/s", "p50 ms", "p99", "CPU us each", "CPU %", "generator %"]]
    rows += [
        [
            server,
            number(step.intended, 0),
            number(step.main.per_s, 0),
            number(step.main.latency_ms.get("p50")),
            number(step.main.latency_ms.get("p99")),
            number(step.cpu_us),
            number(step.cpu_percent, 0),
            number(step.generator_percent, 0),
        ]
        for server, steps in climbs.items()
        for step in steps
    ]
    return aligned(rows)


def table(result: Report) -> str:
    """Return the whole report for people: figures, ratios and notes."""
    outcomes = result.outcomes
    blocks = [climb_table(result.climbs)] if result.climbs else []
    blocks += [
        latency_table(outcomes),
        server_table(outcomes),
        part_lines(outcomes),
        ratios(outcomes),
    ]
    blocks.append([f"{one.server}: {note}" for one in outcomes for note in one.notes])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def write(result: Report, folder: Path, name: str) -> Path:
    """Write the report as JSON; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_bytes(msgspec.json.encode(result) + b"\n")
    return file
