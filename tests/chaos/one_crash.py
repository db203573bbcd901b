"""`python -m tests.chaos.one_crash`: one room crashes while others handle 1,000 messages a second.

It measures the latency of the others with and without the crash, in turns, and how long it takes
until the crashed room acknowledges again. The clients of that room have to stay joined.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time

from tests.chaos.faulty import SOCKET_VARIABLE, Order, give
from tests.chaos.load import Phase, Speaker, open_all, quiet, serving, speak
from tests.server_process import Server

WITHIN_MS = 50.0
MORE_MS = 5.0
"""By how much the p99 of the others may grow: two runs differ on a machine that is never idle."""


async def play(server: Server, orders: str, rate: float, crashes: int) -> bool:
    """Measure; returns whether every bound held."""
    others = await open_all(server.ws, [f"room-{n // 10}" for n in range(100)])
    inside = await open_all(server.ws, ["the-room"] * 10)
    await speak(others, rate, 2.0)  # warm up
    calm, broken, back_ms = Phase(), Phase(), list[float]()
    for _ in range(crashes):
        _add(calm, await speak(others, rate, 1.0))
        loaded = asyncio.create_task(speak(others, rate, 1.0))
        await asyncio.sleep(0.3)
        back_ms.append(await _crash(inside, orders))
        _add(broken, await loaded)
        await asyncio.sleep(2.0)  # only the first restart within 5 s comes without a pause
        await speak(others, rate, 3.0)
    await quiet(others)
    stayed = all(len(speaker.restarts) == crashes and not speaker.closed for speaker in inside)
    print(calm.line("others, no crash"))
    print(broken.line("others, with a crash"))
    middle, worst = statistics.median(back_ms), max(back_ms)
    print(f"until it acknowledges again: p50 {middle:.1f} ms, max {worst:.1f} ms, of {crashes}")
    more = broken.percentile(99) - calm.percentile(99)
    held = {
        f"p99 of the others {more:+.1f} ms": more <= MORE_MS,
        f"again after {middle:.1f} ms": middle <= WITHIN_MS,
        "its clients stayed joined and were told": stayed,
        f"refused to others: {dict(broken.refused) or 'nothing'}": not broken.refused,
    }
    for what, holds in held.items():
        print(f"{'held ' if holds else 'BROKEN'}  {what}")
    return all(held.values())


def _add(total: Phase, part: Phase) -> None:
    total.sent += part.sent
    total.latencies += part.latencies
    total.acknowledged_at += [at - part.began + total.ended for at in part.acknowledged_at]
    total.refused += part.refused
    total.ended += part.ended - part.began


async def _crash(inside: list[Speaker], orders: str) -> float:
    """Crash the room by a send; returns the ms until another send is acknowledged.

    Each send differs, because a message that crashes the room twice is quarantined.
    """
    await asyncio.to_thread(give, orders, Order("room.post", key="the-room"))
    began = time.monotonic()
    first, second = inside[0], inside[1]
    answer = await first.ask(op="room.send", room="the-room", body=f"crash {began}")
    assert answer.code == "internal", answer
    again = await second.ask(op="room.send", room="the-room", body=f"again {began}")
    assert again.op == "ok", again
    return (time.monotonic() - began) * 1000


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.one_crash", description=__doc__)
    parser.add_argument("--rate", type=float, default=1000.0, help="messages a second elsewhere")
    parser.add_argument("--crashes", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="greenroom-orders-") as folder:
        orders = os.path.join(folder, "orders")  # noqa: PTH118 - an address, no file
        entry, variables = ("-m", "tests.chaos.faulty"), {SOCKET_VARIABLE: orders}
        with serving(entry=entry, variables=variables) as server:
            return 0 if asyncio.run(play(server, orders, given.rate, given.crashes)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
