"""`python -m tests.chaos.away`: a store is gone for 30 s while 2,000 messages a second come in.

Without PostgreSQL, the journal takes as much as it has room for. After that, requests are refused
with an error that says they may be retried. When PostgreSQL is back, everything works again without
help.

Without Valkey (`--store valkey`), clients notice nothing. Chat is acknowledged and matches tick as
before, and rooms that were not in memory come from the log. Only snapshots wait, and are saved when
Valkey is back.

In both cases the server's memory stays bounded. A server restarts embedded stores at once, so here
the stores are started by this program.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import redis

from persistence.embedded import EmbeddedServers
from tests.chaos.clockwork import HZ
from tests.chaos.load import Phase, Speaker, open_all, quiet, serving, speak
from tests.chaos.vitals import rss_mib
from tests.server_process import Server

MORE_MIB = {"PostgreSQL": 150.0, "Valkey": 50.0}
"""How much the server may grow while a store is away. PostgreSQL: the journal holds at most 64 MiB
of events, and requests wait for them. Valkey: each actor keeps its newest snapshot, here some
hundred of at most 20 KiB."""
AGAIN_S = 5.0
CALM_MS = 500.0
"""A phase with a p99 below this counts as normal, on a machine that others use too."""
MATCHES = 8
IN_TIME = 0.9
"""The share of the states of the matches that must have been pushed."""
RESTED = 10
"""How many rooms have a log and are not in memory when Valkey goes."""
SAID = 3
"""How many messages each of these rooms has."""


class Given(NamedTuple):
    """A server, its stores, and what to do to them."""

    server: Server
    stores: EmbeddedServers
    rate: float
    seconds: float

    def rss_mib(self) -> float:
        """Resident memory of the server."""
        return rss_mib(self.server.process.pid)

    def kill(self, store: str) -> None:
        """SIGKILL a store."""
        os.kill(self.stores.pids[store], signal.SIGKILL)

    async def revive(self) -> float:
        """Start the killed store again; returns the time of that."""
        while len(self.stores.pids) == 2:  # the store is dead, but its children may not be
            await asyncio.sleep(0.01)
        self.stores.revive()
        return time.monotonic()


class Watcher(Speaker):
    """Plays in a match with a clock, and counts the states that it is pushed."""

    async def enter(self, url: str, match: str = "") -> str:
        """Connect and join `match`, or a new one; returns which."""
        await self.open(url)
        self.pushes = 0
        if not match:
            made = await self.ask(op="match.create", game="clockwork")
            assert made.op == "ok", made
            match = made.held()["match"]
        joined = await self.ask(op="match.join", match=match)
        assert joined.op == "ok", joined
        return match


async def without_postgres(given: Given) -> bool:
    """Measure without PostgreSQL; returns whether every bound held."""
    rate = given.rate
    speakers: list[Speaker] = await _speakers(given)
    calm = await speak(speakers, rate, 3.0)
    await quiet(speakers)
    before = given.rss_mib()
    given.kill("PostgreSQL")
    away = await speak(speakers, rate, given.seconds)
    during = given.rss_mib()
    revived = await given.revive()
    back_s = float("inf")
    while time.monotonic() - revived < 30:
        probe = await speak(speakers, 200, 0.5)
        await quiet(speakers, 1.0)
        if len(probe.latencies) == probe.sent and probe.percentile(99) < CALM_MS:
            back_s = time.monotonic() - revived
            break
    left = await quiet(speakers)
    after = await speak(speakers, rate, 3.0)
    await quiet(speakers)
    _tell(given, calm, away, after, (before, during))
    return _judge(
        {
            f"{during - before:+.0f} MiB": during - before <= MORE_MIB["PostgreSQL"],
            f"refusals that must not be retried: {dict(away.final) or 'none'}": not away.final,
            **_answered(speakers, left),
            f"flows again {back_s:.1f} s after PostgreSQL was started": back_s <= AGAIN_S,
            **_acknowledged("after it", after),
        }
    )


async def without_valkey(given: Given) -> bool:
    """Measure without Valkey; returns whether every bound held."""
    server, rate = given.server, given.rate
    await _let_rest(given)
    speakers = await _speakers(given)
    watchers = [Watcher(f"watcher-{number}", f"aside-{number}") for number in range(MATCHES)]
    matches = [await watcher.enter(server.ws) for watcher in watchers]
    calm = await speak(speakers, rate, 3.0)
    await quiet(speakers)
    before = given.rss_mib()
    held = await asyncio.to_thread(_in_valkey, given.stores.redis_url, matches)
    given.kill("Valkey")
    saved, seen = await _metric(server, "snapshots_saved_total"), _pushes(watchers)
    began = time.monotonic()
    away = await speak(speakers, rate, given.seconds)
    states = (_pushes(watchers) - seen) / ((time.monotonic() - began) * HZ * MATCHES)
    left = await quiet(speakers)
    recovered = await _metric(server, "recovered_total")
    shown, slowest_s = await _wake(given)
    recovered = await _metric(server, "recovered_total") - recovered
    first = await watchers[0].ask(op="match.create", game="clockwork", key="new")
    during, waiting = given.rss_mib(), await _metric(server, "snapshots_waiting")
    meanwhile = await _metric(server, "snapshots_saved_total") - saved
    await given.revive()
    back_s = await _until_saved(given, matches, held)
    again = await watchers[0].ask(op="match.create", game="clockwork", key="new")
    after = await speak(speakers, rate, 3.0)
    left += await quiet(speakers)
    dropped = await _metric(server, "snapshots_dropped_total")
    _tell(given, calm, away, after, (before, during))
    return _judge(
        {
            f"{during - before:+.0f} MiB": during - before <= MORE_MIB["Valkey"],
            **_acknowledged("while it was away", away),
            f"half of them within {away.percentile(50):.1f} ms, 99 % within "
            f"{away.percentile(99):.1f} ms": away.percentile(99) <= CALM_MS,
            f"matches went on: {states:.0%} of the states of {MATCHES} clocks": states >= IN_TIME,
            f"{recovered:.0f} rooms recovered from the log show {shown} of {RESTED * SAID} "
            f"messages, the slowest after {slowest_s * 1000:.0f} ms": (
                recovered >= RESTED and shown == RESTED * SAID and slowest_s <= AGAIN_S
            ),
            f"snapshots that waited: {waiting:.0f}, saved meanwhile {meanwhile:.0f}, "
            f"given up {dropped:.0f}": waiting > 0 and not meanwhile and not dropped,
            f"a new match with a clock: {first.code or 'ok'} while it was away, "
            f"{again.code or 'ok'} after it": (first.op == "ok" or first.retry)
            and again.op == "ok",
            **_answered([*speakers, *watchers], left),
            f"all saved {back_s:.1f} s after Valkey was started": back_s <= AGAIN_S,
            **_acknowledged("after it", after),
        }
    )


async def _speakers(given: Given) -> list[Speaker]:
    return await open_all(given.server.ws, [f"room-{n // 2}" for n in range(200)])


async def _metric(server: Server, name: str) -> float:
    return await asyncio.to_thread(server.metric, f"greenroom_{name}")


def _pushes(watchers: list[Watcher]) -> int:
    return sum(watcher.pushes for watcher in watchers)


async def _let_rest(given: Given) -> None:
    """Speak in rooms and leave them. The server drops them from memory a second later."""
    guest = Speaker("guest", "rested-0")
    await guest.open(given.server.ws)
    for number in range(RESTED):
        room = f"rested-{number}"
        await guest.ask(op="room.join", room=room)
        for body in range(SAID):
            await guest.ask(op="room.send", room=room, body=f"{body}")
        await guest.ask(op="room.leave", room=room)


async def _wake(given: Given) -> tuple[int, float]:
    """Join those rooms; returns how many messages they showed, and the slowest join in seconds."""
    guest, shown, slowest = Speaker("late", "aside"), 0, 0.0
    await guest.open(given.server.ws)
    for number in range(RESTED):
        began = time.monotonic()
        answer = await guest.ask(op="room.join", room=f"rested-{number}")
        slowest = max(slowest, time.monotonic() - began)
        shown += len(answer.held()["messages"]) if answer.op == "ok" else 0
    return shown, slowest


def _in_valkey(url: str, matches: list[str]) -> list[bytes | None]:
    """What Valkey itself holds of these matches; raises `redis.RedisError` while it loads."""
    with redis.Redis.from_url(url, protocol=2) as client:
        held = client.mget([f"greenroom:snapshot:match:{match}" for match in matches])
    assert isinstance(held, list)
    return held


async def _until_saved(given: Given, matches: list[str], old: list[bytes | None]) -> float:
    """Wait until Valkey holds newer states than `old` and nothing waits; returns after how long."""
    began = time.monotonic()
    while (now := time.monotonic() - began) < 30:
        with contextlib.suppress(redis.RedisError):
            new = await asyncio.to_thread(_in_valkey, given.stores.redis_url, matches)
            changed = all(one and one != other for one, other in zip(new, old, strict=True))
            if changed and not await _metric(given.server, "snapshots_waiting"):
                return now
        await asyncio.sleep(0.05)
    return float("inf")


def _answered(speakers: list[Speaker], left: int) -> dict[str, bool]:
    lost = sum(speaker.closed for speaker in speakers)
    return {f"connections lost: {lost}": not lost, f"sends without any answer: {left}": left == 0}


def _acknowledged(when: str, phase: Phase) -> dict[str, bool]:
    acked = len(phase.latencies)
    return {f"all acknowledged {when}: {acked} of {phase.sent}": acked == phase.sent}


def _tell(
    given: Given, calm: Phase, away: Phase, after: Phase, memory: tuple[float, float]
) -> None:
    print(calm.line("before"))
    print(away.line(f"away for {given.seconds:g} s"))
    print(after.line("after"))
    print(
        f"memory {memory[0]:.0f} MiB before, {memory[1]:.0f} at the end of it, "
        f"{given.rss_mib():.0f} after"
    )


def _judge(held: dict[str, bool]) -> bool:
    for what, holds in held.items():
        print(f"{'held ' if holds else 'BROKEN'}  {what}")
    return all(held.values())


CASES: dict[str, Callable[[Given], Coroutine[Any, Any, bool]]] = {
    "postgres": without_postgres,
    "valkey": without_valkey,
}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.away", description=__doc__)
    parser.add_argument("--store", choices=CASES, default="postgres", help="which is gone")
    parser.add_argument("--rate", type=float, default=2000.0, help="messages a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="without it")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="greenroom-away-"))
    folder.chmod(0o755)  # PostgreSQL may have to run as another user, who must get in
    try:
        with EmbeddedServers(folder) as stores:
            settings = (
                f"redis.url={stores.redis_url}",
                f"postgres.url={stores.postgres_url}",
                "games.clockwork=tests.chaos.clockwork:Clockwork",
                "rooms.idle_after_s=1",
            )
            with serving(*settings) as server:
                case = CASES[given.store](Given(server, stores, given.rate, given.seconds))
                return 0 if asyncio.run(case) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
