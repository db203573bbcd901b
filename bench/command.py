"""The command line of every scenario, made from its plan; and what the command does."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from bench import report, stage
from bench.child import ROOT
from bench.crew import GeneratorError
from bench.scenario import Plan, Scenario
from bench.stage import Options, progress

RESULTS = ROOT / "bench" / "results"


def bounded(field: inspect.IntType | inspect.FloatType) -> Callable[[str], float]:
    """Return a parser of what a field of a plan takes."""
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
    """Make each field of a plan an option."""
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
    """The command line of a scenario."""
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.formatter_class = _Formatter
    add_plan(parser, scenario.plan)
    add = parser.add_argument_group("how it is run").add_argument
    add(
        "--url", default="", help="a server that runs already, maybe elsewhere; else one is started"
    )
    add("--core", type=int, default=0, help="core that servers are pinned to; -1: not pinned")
    add("--generators", type=int, default=1, help="processes that make the load, 1 to 16")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
        help="a setting of the server that is started; may be given again")  # fmt: skip
    if scenario.peers:
        add("--against", action="append", default=[], choices=scenario.peers,
            help="measure this one too, under the same load; may be given again")  # fmt: skip
        add(
            "--peer-url",
            default="",
            help="where the --against server runs, if it is not to be started",
        )
    if scenario.climbs:
        add("--climb", action="store_true", help="raise the rate until it is not kept up with")
    add("--repeat", type=int, default=1, help="runs of each server, in turns")
    add("--out", type=Path, default=RESULTS, help="folder for JSON and pictures")
    add("--save", default=f"latest-{name}", metavar="NAME", help="of these files")
    add("--no-files", action="store_true", help="print the table only")
    return parser


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The module's text as it is, and the defaults."""


def main(name: str) -> None:
    """Run scenario `name`, as its command line says. Ends the process on what goes wrong."""
    module = importlib.import_module(f"bench.{name}")
    scenario: Scenario = module.SCENARIO
    given = parser_of(name, module.__doc__ or "", scenario).parse_args()
    fields = {field: getattr(given, field) for field in scenario.plan.__struct_fields__}
    plan = scenario.plan(**fields)
    options = Options(
        url=given.url,
        peer_url=getattr(given, "peer_url", ""),
        core=given.core,
        generators=max(1, min(16, given.generators)),
        settings=given.set,
    )
    # A bench that is told to stop takes its servers along.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = run(name, scenario, plan, options, given)
    except (GeneratorError, RuntimeError, OSError) as error:
        sys.exit(f"bench.{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print("\n" + report.table(result.outcomes))
    if not given.no_files:
        print(f"\n{report.write(result, given.out, given.save)}")


def run(
    name: str, scenario: Scenario, plan: Plan, options: Options, given: argparse.Namespace
) -> report.Report:
    """Measure all that was asked for, one after the other."""
    shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in fields_of(plan).items())
    progress(f"bench.{name}: {shown}")
    outcomes = [
        stage.measure(scenario, f"bench.{name}", plan, options, peer)
        for _ in range(max(1, given.repeat))
        for peer in ("", *getattr(given, "against", ()))
    ]
    return report.report(name, sys.argv[1:], plan, options, outcomes)


def fields_of(plan: Plan) -> dict[str, Any]:
    """The settings of a plan by name."""
    return msgspec.structs.asdict(plan)
