"""`python -m tests.chaos.overload`: offer three times as much as the server can do, then stop.

The load is chat sends, which are acknowledged once they are durable. They are sent on a schedule,
so a slow server does not slow the load down. The capacity is measured first: the rate is raised
until no more is acknowledged. The run then checks four things: goodput within 20 % of the capacity,
a bounded latency of what is accepted, refusals with `retry`, and that the server is back to normal
seconds after the surge.
"""

from __future__ import annotations

import argparse
import time

import uvloop

from tests.chaos.load import Phase, Speaker, open_all, quiet, saturate, serving, speak
from tests.chaos.vitals import rss_mib
from tests.server_process import Server

GOOD = 0.8
"""The least goodput, as a share of the capacity."""
BOUND_MS = 5_500.0
"""The highest latency: `sessions.ask_timeout_s`, and some more for the way."""
CALM_MS = 100.0
"""The server is back to normal once the p99 at a third of the capacity is below this."""


async def play(server: Server, clients: int, times: float, seconds: float) -> bool:
    """Measure; returns whether every bound held."""
    speakers = await open_all(server.ws, [f"room-{n // 2}" for n in range(clients)])
    await saturate(speakers, 4, 2.0)  # warm up
    await quiet(speakers)
    capacity = await _capacity(speakers)
    before_mib = rss_mib(server.process.pid)
    surge = await speak(speakers, times * capacity, seconds)
    most_mib = rss_mib(server.process.pid)
    over = time.monotonic()
    recovered_s, calm = float("inf"), Phase()
    while time.monotonic() - over < 20:
        calm = await speak(speakers, capacity / 3, 0.5)
        await quiet(speakers, 2.0)
        if calm.percentile(99) < CALM_MS and not calm.refused:
            recovered_s = time.monotonic() - over
            break
    left = await quiet(speakers)
    print(surge.line(f"surge, {times:g} times that"))
    print(calm.line("after it, a third"))
    print(f"recovered after {recovered_s:.1f} s; memory {before_mib:.0f} MiB, {most_mib:.0f} after")
    held = {
        f"goodput {surge.per_s() / capacity:.0%} of the capacity": surge.per_s() >= GOOD * capacity,
        f"accepted within {surge.percentile(100):.0f} ms": surge.percentile(100) <= BOUND_MS,
        f"refusals that must not be retried: {dict(surge.final) or 'none'}": not surge.final,
        f"sends without any answer: {left}": left == 0,
        f"connections lost: {sum(s.closed for s in speakers)}": all(
            not speaker.closed for speaker in speakers
        ),
        f"itself again after {recovered_s:.1f} s": recovered_s <= 5,
    }
    for what, holds in held.items():
        print(f"{'held ' if holds else 'BROKEN'}  {what}")
    return all(held.values())


async def _capacity(speakers: list[Speaker]) -> float:
    """The most acknowledgements per second, over all rates that are offered."""
    closed = await saturate(speakers, 4, 3.0)
    await quiet(speakers)
    print(closed.line("a closed loop, for a start"))
    best, share = 0.0, 0.5
    while True:
        phase = await speak(speakers, share * closed.per_s(), 3.0)
        await quiet(speakers)
        print(phase.line(f"offered {share:.0%} of that"))
        if phase.per_s() < best:
            return best
        best, share = phase.per_s(), share + 0.1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.overload", description=__doc__)
    parser.add_argument("--clients", type=int, default=400)
    parser.add_argument("--times", type=float, default=3.0, help="the capacity")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the surge")
    given = parser.parse_args()
    with serving() as server:
        return 0 if uvloop.run(play(server, given.clients, given.times, given.seconds)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
