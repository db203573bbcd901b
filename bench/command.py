"""The command line of every scenario, made from its plan; and what the command does."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from bench import machine, pictures, report, stage
from bench.child import ROOT, check_realtime
from bench.climb import climb, held_by_generator, kept_up, sustained
from bench.crew import GeneratorError
from bench.report import Report
from bench.result import Options, ServerResult
from bench.scenario import Plan, Scenario
from bench.stage import progress

RESULTS = ROOT / "bench" / "results"


def bounded(field: inspect.IntType | inspect.FloatType) -> Callable[[str], float]:
    """Return a parser of an option that enforces the bounds of a plan's field."""
    kind = int if isinstance(field, inspect.IntType) else float
    low = -(10**18) if field.ge is None else field.ge
    high = 10**18 if field.le is None else field.le

    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {low:,} to {high:,}")
        return value

    parse.__name__ = kind.__name__
    return parse


def add_plan(parser: argparse.ArgumentParser, plan: type[Plan]) -> None:
    """Add an option for each field of a plan."""
    described = inspect.type_info(plan)
    assert isinstance(described, inspect.StructType)
    group = parser.add_argument_group("load")
    for field in described.fields:
        kind, text = field.type, ""
        if isinstance(kind, inspect.Metadata):
            text = (kind.extra_json_schema or {}).get("description", "")
            kind = kind.type
        flag = "--" + field.name.replace("_", "-")
        default: Any = field.default
        if isinstance(kind, inspect.BoolType):
            group.add_argument(flag, action="store_true", default=default, help=text)
        elif isinstance(kind, inspect.IntType | inspect.FloatType):
            group.add_argument(flag, type=bounded(kind), default=default, help=text, metavar="N")
        else:
            group.add_argument(flag, default=default, help=text)


def parser_of(name: str, text: str, scenario: Scenario) -> argparse.ArgumentParser:
    """Return the command line of a scenario, with `text` as its description."""
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{name}", description=text, formatter_class=_Formatter
    )
    add_plan(parser, scenario.plan)
    add = parser.add_argument_group("how it is run").add_argument
    add("--url", default="", help="address of a server that already runs; else one is started")
    add("--core", type=int, default=0, help="core that servers are pinned to; -1: not pinned")
    if scenario.measure is None:
        add("--realtime", action="store_true",
            help="give server and load real-time priority during the measurement, so that neither"
            " other programs nor the stores take their cores; for loads that leave a part of a"
            " core free; needs root")  # fmt: skip
    add("--generators", type=int, default=1, help="processes that make the load, 1 to 16")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
        help="a setting for the server that is started; may be repeated")  # fmt: skip
    if scenario.peers:
        add("--against", action="append", default=[], choices=scenario.peers,
            help="measure this server too, under the same load; may be repeated")  # fmt: skip
        add(
            "--peer-url",
            default="",
            help="address of an --against server that already runs; else one is started",
        )
    if scenario.climbs:
        add("--climb", action="store_true", help="raise the rate until a server no longer keeps up")
        add("--under-ms", type=float, default=50.0, metavar="N",
            help="highest p99, in ms, with which a server counts as keeping up")  # fmt: skip
    add("--repeat", type=int, default=1, help="runs of each server, in turns")
    add("--out", type=Path, default=RESULTS, help="folder for JSON and pictures")
    add("--save", default=f"latest-{name}", metavar="NAME", help="how their file names begin")
    add("--no-pictures", action="store_true", help="write JSON only")
    add("--no-files", action="store_true", help="print the table only")
    return parser


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the lines of the description as they are, and shows the defaults."""


def main(name: str) -> None:
    """Run a scenario as its command line says. Exits with a message if something goes wrong."""
    module = importlib.import_module(f"bench.{name}")
    scenario: Scenario = module.SCENARIO
    given = parser_of(name, module.__doc__ or "", scenario).parse_args()
    fields = {field: getattr(given, field) for field in scenario.plan.__struct_fields__}
    try:
        plan = scenario.plan(**fields)
    except ValueError as error:
        sys.exit(f"bench.{name}: {error}")
    options = Options(
        url=given.url,
        peer_url=getattr(given, "peer_url", ""),
        core=given.core,
        realtime=getattr(given, "realtime", False),
        generators=max(1, min(16, given.generators)),
        settings=given.set,
    )
    # SIGTERM then ends the bench as Ctrl-C does, which stops its servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(given, "climb") and given.climb and not fields["rate"]:
        sys.exit(f"bench.{name}: --climb begins at --rate, which must not be 0")
    try:
        if options.realtime:
            check_realtime()
        result = run(name, scenario, plan, options, given)
    except (GeneratorError, RuntimeError, OSError) as error:
        sys.exit(f"bench.{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print("\n" + report.table(result))
    if not given.no_files:
        file = report.write(result, given.out, given.save)
        drawn = [] if given.no_pictures else pictures.draw(result, given.out, given.save)
        for written in (file, *drawn):
            print(written)


def run(
    name: str, scenario: Scenario, plan: Plan, options: Options, given: argparse.Namespace
) -> Report:
    """Measure every server that was asked for, one after the other."""
    shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in fields_of(plan).items())
    progress(f"bench.{name}: {shown}")
    servers = ("", *getattr(given, "against", ()))
    measure = partial(scenario.measure or stage.measure, scenario, f"bench.{name}")
    result = Report(
        scenario=name,
        command=sys.argv[1:],
        plan=plan,
        options=options,
        about=machine.about(),
        outcomes=[],
    )
    for peer in servers * max(1, given.repeat):
        if not getattr(given, "climb", False):
            result.outcomes.append(measure(plan, options, peer))
            continue
        steps = climb_with(measure, plan, options, peer, given.under_ms)
        server = steps[0][1].server
        result.climbs[server] = [outcome for _, outcome in steps]
        kept = [outcome for rate, outcome in steps if kept_up(outcome, rate, given.under_ms)]
        # The report's main figures are those of the highest rate that the server kept up with.
        best = max(kept or [steps[0][1]], key=lambda outcome: outcome.main.per_s)
        result.outcomes.append(best)
        most = sustained(steps, given.under_ms)
        best.notes.append(
            f"sustained {most:,.0f} {scenario.event}/s with p99 under {given.under_ms:g} ms"
            if most
            else f"not even the first rate was kept up with, p99 under {given.under_ms:g} ms"
        )
        if held_by_generator(steps):
            best.notes.append("the load generator, not the server, may have ended the climb")
    return result


def climb_with(
    measure: Callable[[Plan, Options, str], ServerResult],
    plan: Plan,
    options: Options,
    peer: str,
    under_ms: float,
) -> list[tuple[float, ServerResult]]:
    """Raise the rate of a plan step by step, and report each step; return (rate, result)s."""
    steps = []
    first = float(fields_of(plan)["rate"])
    for rate, outcome in climb(
        lambda rate: measure(plan.at_rate(rate), options, peer), first, p99_ms=under_ms
    ):
        steps.append((rate, outcome))
        main = outcome.main
        verdict = "kept up" if kept_up(outcome, rate, under_ms) else "did not keep up"
        progress(
            f"{outcome.server}: {rate:,.0f}/s intended, {main.per_s:,.0f}/s came, p99"
            f" {main.latency_ms.get('p99', float('nan')):,.1f} ms: {verdict}"
        )
    return steps


def fields_of(plan: Plan) -> dict[str, Any]:
    """Return the settings of a plan: name -> value."""
    return msgspec.structs.asdict(plan)
