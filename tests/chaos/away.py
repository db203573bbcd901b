"""`python -m tests.chaos.away`: PostgreSQL is gone for 30 s while 2,000 messages a second come in.

The journal takes what it has room for, then what comes is refused with an error that says it may be
retried; the server's memory stays bounded; and when PostgreSQL is back everything flows again by
itself. The server revives embedded stores at once, so here they are the case's own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from persistence.embedded import EmbeddedServers
from tests.chaos.load import Speaker, open_all, quiet, serving, speak
from tests.chaos.vitals import rss_mib
from tests.server_process import Server

MORE_MIB = 150.0
"""The journal is bounded by 64 MiB of events, and there are requests that wait for them."""
AGAIN_S = 5.0


async def play(server: Server, stores: EmbeddedServers, rate: float, seconds: float) -> bool:
    """Measure; returns whether all was held."""
    speakers: list[Speaker] = await open_all(server.ws, [f"room-{n // 2}" for n in range(200)])
    calm = await speak(speakers, rate, 3.0)
    await quiet(speakers)
    before = rss_mib(server.process.pid)
    os.kill(stores.pids["PostgreSQL"], signal.SIGKILL)
    away = await speak(speakers, rate, seconds)
    during = rss_mib(server.process.pid)
    while len(stores.pids) == 2:  # the postmaster has been dead for long, its children may not
        await asyncio.sleep(0.01)
    stores.revive()
    revived = time.monotonic()
    back_s = float("inf")
    while time.monotonic() - revived < 30:
        probe = await speak(speakers, 200, 0.5)
        await quiet(speakers, 1.0)
        if len(probe.latencies) == probe.sent and probe.percentile(99) < 500:
            back_s = time.monotonic() - revived
            break
    left = await quiet(speakers)
    after = await speak(speakers, rate, 3.0)
    await quiet(speakers)
    print(calm.line("before"))
    print(away.line(f"away for {seconds:g} s"))
    print(after.line("after"))
    print(f"memory {before:.0f} MiB before, {during:.0f} at the end of it, "
          f"{rss_mib(server.process.pid):.0f} after")  # fmt: skip
    held = {
        f"{during - before:+.0f} MiB": during - before <= MORE_MIB,
        f"refusals that must not be retried: {dict(away.final) or 'none'}": not away.final,
        f"connections lost: {sum(s.closed for s in speakers)}": not any(
            speaker.closed for speaker in speakers
        ),
        f"sends without any answer: {left}": left == 0,
        f"flows again {back_s:.1f} s after PostgreSQL was started": back_s <= AGAIN_S,
        f"all acknowledged after it: {len(after.latencies)} of {after.sent}": (
            len(after.latencies) == after.sent
        ),
    }
    for what, holds in held.items():
        print(f"{'held ' if holds else 'BROKEN'}  {what}")
    return all(held.values())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.away", description=__doc__)
    parser.add_argument("--rate", type=float, default=2000.0, help="messages a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="without PostgreSQL")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="greenroom-away-"))
    folder.chmod(0o755)  # PostgreSQL may have to run as another user, who must get in
    try:
        with EmbeddedServers(folder) as stores:
            urls = (f"redis.url={stores.redis_url}", f"postgres.url={stores.postgres_url}")
            with serving(*urls) as server:
                return 0 if asyncio.run(play(server, stores, given.rate, given.seconds)) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
