"""One process of the load: picows on uvloop, on cores that the server does not use.

It talks with its parent in lines of JSON. It reads a `GeneratorOrder`, writes `{"ready": n}` when
its clients are in place, and reads the monotonic time at which the load begins. While it works it
writes `{"done": {...}, "p99_ms": x}` every second. It writes `{"over": t}` when it has sent
everything, and `Counts` at the end. If it cannot go on, it writes `{"failed": text}` instead.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import time
import traceback
from operator import sub

import msgspec
import uvloop

from bench.client import BenchSession, Client
from bench.histogram import LatencyHistogram
from bench.scenario import GeneratorOrder, Load, Scenario
from bench.tally import Tally

PROGRESS_S = 1.0


def say(line: object) -> None:
    """Write one line of JSON for the parent."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


async def report_placed(tally: Tally) -> None:
    """Report every second how many clients are in place, while they are being opened."""
    while True:
        await asyncio.sleep(PROGRESS_S)
        say({"done": {"clients": tally.placed}, "p99_ms": 0.0})


async def report(tally: Tally, event: str) -> None:
    """Report every second the events so far, and the p99 of `event` in the last second."""
    before = LatencyHistogram()
    while True:
        await asyncio.sleep(PROGRESS_S)
        done = {name: series.in_window for name, series in tally.series.items()}
        lately = LatencyHistogram()
        now = tally[event].histogram.counts
        lately.counts = list(map(sub, now, before.counts))
        before.counts = now.copy()
        say({"done": done, "p99_ms": lately.percentiles_ms().get("p99", 0.0)})


def loading(order: GeneratorOrder) -> tuple[Load, Tally, str]:
    """Return the load that the order names, its tally and the name of its main series."""
    scenario: Scenario = importlib.import_module(order.scenario).SCENARIO
    driver: type[Client] = BenchSession
    if order.peer:
        driver = importlib.import_module(order.peer).Driver
    tally = Tally()
    plan = msgspec.json.decode(order.plan, type=scenario.plan)
    return scenario.load(order, plan, tally, driver), tally, scenario.event


async def run(order: GeneratorOrder) -> None:
    """Carry out an order, from opening the clients to reporting the counts."""
    load, tally, event = loading(order)
    reporting = asyncio.create_task(report_placed(tally))
    await load.prepare()
    reporting.cancel()
    # Objects that exist now stay until the end, and later ones are freed with their last reference.
    # A collection of the oldest generation would be a pause that looks like the server's.
    gc.collect()
    gc.freeze()
    gc.disable()
    say({"ready": len(load.clients)})
    start_ns = int((await asyncio.to_thread(sys.stdin.readline)).strip())
    from_ns = start_ns + round(load.plan.warmup * 1e9)
    tally.open(from_ns, from_ns + round(load.plan.seconds * 1e9))
    reporting = asyncio.create_task(report(tally, event))
    await load.play(start_ns)
    say({"over": time.monotonic_ns()})
    await load.finish()
    reporting.cancel()
    counts = tally.counts()
    tally.over = True
    say(counts)
    for client in load.clients:
        client.disconnect()
    await asyncio.sleep(0.1)


if __name__ == "__main__":
    try:
        uvloop.run(run(msgspec.json.decode(sys.stdin.readline(), type=GeneratorOrder)))
    except Exception as error:
        # If the server cannot be reached, its message says enough.
        if not isinstance(error, OSError | TimeoutError):
            traceback.print_exc()
        say({"failed": f"{type(error).__name__}: {error}"})
        sys.exit(1)
