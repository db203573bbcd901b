"""What goes wrong in a chaos run. Each fault is a coroutine that does it, waits, and mends it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import trio

from actors.node.exits import Exit
from actors.node.parent.control import RestartAll, ask
from actors.node.parent.overview import NodeRow
from tests.chaos.deaf import stop_reading
from tests.chaos.faulty import SITES, How, Order
from tests.chaos.links import Change
from tests.chaos.node_links import STORES, NodeLinks, link
from tests.chaos.stage import Stage

HOWS: tuple[How, ...] = ("raise before", "raise before", "raise after", "hang", "flood")
ALWAYS = 10**9
SLOW_CONSUMER = "slow_consumer"
TRIES = 3
"""Of a client that is to be closed, in one room each."""
CAUSE = {
    "room": "room.post",
    "session": "session.request",
    "match": "match.join",
    "inbox": "inbox.leave",
    "registrar": "registrar.write",
    "waker": "waker.sweep",
    "clockwork": "clockwork.tick",
    "tictactoe": "tictactoe.input",
}
"""Hooks that only a restart calls -> the hook that is broken too, to cause the restart."""


class Fault(NamedTuple):
    """A kind of fault. `weight` is how often it is drawn, relative to the others."""

    name: str
    inject: Callable[[Stage, random.Random], Awaitable[None]]
    weight: int
    ends_server: bool = False


async def kill_server(stage: Stage, _rng: random.Random) -> None:
    """SIGKILL at full load, then start again."""
    await stage.kill()
    await stage.start()


async def restart_server(stage: Stage, _rng: random.Random) -> None:
    """SIGTERM: drain, end, start again."""
    code = await stage.stop()
    # A node that was frozen for longer than its lease just before ends with UNSAVED, although the
    # other nodes have what it held.
    assert code == Exit.OK or (stage.nodes > 1 and code == Exit.UNSAVED), code
    await stage.start()


async def freeze_server(stage: Stage, rng: random.Random) -> None:
    """SIGSTOP for a while."""
    stage.freeze()
    await trio.sleep(rng.uniform(0.2, 2.5))
    stage.thaw()


async def usurp_server(stage: Stage, rng: random.Random) -> None:
    """Freeze the server, start another one in its place, then let the first one wake.

    Some clients may still be connected to the first one, so two incarnations serve clients.
    """
    old = stage.server
    assert old is not None
    stage.servers_ended.append(trio.current_time())
    stage.freeze(old)
    await stage.start()
    stage.proxy.reset(rng.choice((0.5, 1.0)))
    await trio.sleep(rng.uniform(0.2, 1.0))
    stage.thaw(old)
    await trio.sleep(rng.uniform(0.2, 1.0))
    await trio.to_thread.run_sync(old.kill)
    stage.retire(old)


async def _node(stage: Stage, rng: random.Random) -> NodeRow | None:
    """A node that is up; None: no node is up now."""
    rows = await trio.to_thread.run_sync(stage.rows)
    up = [row for row in rows if row.state == "up"]
    return rng.choice(up) if up else None


async def kill_node(stage: Stage, rng: random.Random) -> None:
    """SIGKILL one of several nodes; the parent starts it again."""
    node = await _node(stage, rng)
    if node is not None:
        stage.servers_ended.append(trio.current_time())
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(node.pid, signal.SIGKILL)


async def freeze_node(stage: Stage, rng: random.Random) -> None:
    """SIGSTOP one of several nodes, now and then for longer than its lease."""
    node = await _node(stage, rng)
    if node is not None:
        stage.servers_ended.append(trio.current_time())
        with contextlib.suppress(ProcessLookupError):  # its parent has killed it, as one that hangs
            os.kill(node.pid, signal.SIGSTOP)
            await trio.sleep(rng.uniform(0.2, 8.0))
            os.kill(node.pid, signal.SIGCONT)


async def restart_nodes(stage: Stage, _rng: random.Random) -> None:
    """Restart all nodes, one after the other."""
    server = stage.server
    assert server is not None

    def restart() -> None:
        for _ in ask(server.folder, RestartAll()):
            pass

    stage.servers_ended.append(trio.current_time())
    await trio.to_thread.run_sync(restart)
    stage.servers_ended.append(trio.current_time())


async def kill_postgres(stage: Stage, rng: random.Random) -> None:
    """SIGKILL the event store; it recovers from its own log."""
    with _no_snapshots(stage):
        stage.signal_store("PostgreSQL", signal.SIGKILL)
        await trio.sleep(rng.uniform(0.1, 2.0))
        await stage.revive_stores()


async def freeze_postgres(stage: Stage, rng: random.Random) -> None:
    """SIGSTOP of the postmaster stops new connections; the ones there go on."""
    stage.signal_store("PostgreSQL", signal.SIGSTOP)
    await trio.sleep(rng.uniform(0.2, 1.5))
    stage.signal_store("PostgreSQL", signal.SIGCONT)


async def refuse_writes(stage: Stage, rng: random.Random) -> None:
    """PostgreSQL is there and takes no write, as on a full disk or after a failover."""
    with _no_snapshots(stage):
        await stage.postgres_setting("default_transaction_read_only", "on")
        await trio.sleep(rng.uniform(0.3, 3.0))
        await stage.postgres_setting("default_transaction_read_only", None)


async def slow_commits(stage: Stage, rng: random.Random) -> None:
    """Every commit takes 50 ms more."""
    await stage.postgres_setting("commit_siblings", "0")
    await stage.postgres_setting("commit_delay", "50000")
    await trio.sleep(rng.uniform(0.5, 3.0))
    await stage.postgres_setting("commit_delay", None)
    await stage.postgres_setting("commit_siblings", None)


async def kill_valkey(stage: Stage, rng: random.Random) -> None:
    """SIGKILL the snapshot store."""
    with _no_snapshots(stage):
        stage.signal_store("Valkey", signal.SIGKILL)
        await trio.sleep(rng.uniform(0.1, 2.0))
        await stage.revive_stores()


async def freeze_valkey(stage: Stage, rng: random.Random) -> None:
    """SIGSTOP the snapshot store."""
    with _no_snapshots(stage):
        stage.signal_store("Valkey", signal.SIGSTOP)
        await trio.sleep(rng.uniform(0.2, 2.0))
        stage.signal_store("Valkey", signal.SIGCONT)


@contextmanager
def _no_snapshots(stage: Stage) -> Iterator[None]:
    began = trio.current_time()
    yield
    stage.unwritten.append((began, trio.current_time()))


async def reset_connections(stage: Stage, rng: random.Random) -> None:
    """TCP resets for some of the clients."""
    stage.proxy.reset(rng.uniform(0.2, 1.0))


async def slow_network(stage: Stage, rng: random.Random) -> None:
    """Every chunk is held back for a while, each way."""
    stage.proxy.delay_s = rng.uniform(0.01, 0.2)
    await trio.sleep(rng.uniform(0.5, 2.0))
    stage.proxy.delay_s = 0.0


async def half_open(stage: Stage, rng: random.Random) -> None:
    """Nothing passes and nobody is told; then it all comes, or the line is cut."""
    stage.proxy.frozen = True
    await trio.sleep(rng.uniform(0.5, 2.0))
    if rng.random() < 0.5:
        stage.proxy.reset(0.5)
    stage.proxy.frozen = False


async def away_postgres(stage: Stage, _rng: random.Random) -> None:
    """The event store is gone for 30 s. Commands wait or are refused; nothing is lost."""
    with _no_snapshots(stage):
        stage.signal_store("PostgreSQL", signal.SIGKILL)
        await trio.sleep(30)
        await stage.revive_stores()


async def break_hook(stage: Stage, rng: random.Random) -> None:
    """Some hook of some kind of actor, or of a game, raises, hangs or floods; up to three times."""
    kind = rng.choice(list(SITES))
    site = f"{kind}.{rng.choice(SITES[kind][1])}"
    order = Order(site, rng.choice(HOWS), rng.choice((1, 1, 2, 3)))
    orders = [order] if site == CAUSE[kind] else [order, Order(CAUSE[kind])]
    stage.order(*orders)
    await trio.sleep(rng.uniform(0.5, 2.0))
    stage.order(Order("", times=0))


async def fail_always(stage: Stage, rng: random.Random) -> None:
    """A room crashes, and then at each start: it ends as failed, and rests before the next try."""
    room = rng.choice(stage.rooms)
    stage.order(Order("room.on_start", times=ALWAYS, key=room), Order("room.post", key=room))
    await trio.sleep(2.0)
    stage.order(Order("", times=0))


async def deafen(stage: Stage, rng: random.Random) -> None:
    """A client asks for much and stops reading. It has to leave as a slow consumer."""
    found: list[str] = []
    for room in rng.sample(stage.rooms, len(stage.rooms)):
        deaf = await stop_reading(stage.url(), room, stage.ended)
        if deaf is None:
            continue  # the room rests, after another fault
        if deaf.close == SLOW_CONSUMER:
            return
        found.append(f"a client that stopped reading {room} was {deaf}")
        # After an earlier fault there may be too few answers, or a node that another one misses.
        judged = deaf.held if stage.nodes > 1 else deaf.held or deaf.close
        if judged or len(found) == TRIES:
            stage.wrong += found
            return
    stage.wrong += found or ["no room could be joined by a client that was to stop reading"]


async def cut_link(stage: Stage, rng: random.Random) -> None:
    """One node does not reach one of the stores, or neither, for up to two leases."""
    name = rng.choice(list(_links(stage).of_nodes))
    stores = rng.choice((("Valkey",), ("Valkey",), ("PostgreSQL",), ("PostgreSQL",), STORES))
    refused = rng.random() < 0.5
    lost = _snapshots_away if "Valkey" in stores else _no_snapshots
    with lost(stage):
        for cut in (True, False):
            await _change(
                stage,
                *(
                    Change(link(name, store), cut=cut) if refused
                    else Change(link(name, store), frozen=cut)
                    for store in stores
                ),
            )  # fmt: skip
            await trio.sleep(rng.uniform(0.2, 8.0) if cut else 0.0)


async def slow_link(stage: Stage, rng: random.Random) -> None:
    """What one node and one store say to each other is late, each way."""
    slow = link(rng.choice(list(_links(stage).of_nodes)), rng.choice(STORES))
    await _change(stage, Change(slow, delay_s=rng.uniform(0.005, 0.3)))
    await trio.sleep(rng.uniform(0.5, 6.0))
    await _change(stage, Change(slow, delay_s=0.0))


async def fail_over_valkey(stage: Stage, rng: random.Random) -> None:
    """The replica takes the place of Valkey, and lacks its last second. Nodes are led to it one
    after the other, the last a second after the first.
    """
    links = _links(stage)
    valkeys = links.valkeys
    with _snapshots_away(stage):
        await trio.to_thread.run_sync(valkeys.follow)  # if it is not yet, after another fault
        await trio.to_thread.run_sync(valkeys.lose_what_comes_now)
        await trio.sleep(1.0)
        await trio.to_thread.run_sync(valkeys.fail_over)
        await trio.sleep(rng.uniform(0.0, 3.0))
        names = links.names
        rng.shuffle(names)
        for name in names:
            await trio.to_thread.run_sync(links.lead_to_primary, name)
            await trio.sleep(rng.uniform(0.0, 1.0 / len(names)))
    valkeys.revive_replica()
    await trio.to_thread.run_sync(valkeys.follow)


@contextmanager
def _snapshots_away(stage: Stage) -> Iterator[None]:
    """Snapshots of a node, or of all, are lost, and nodes may end by that and others go on."""
    stage.servers_ended.append(trio.current_time())
    with _no_snapshots(stage):
        yield
    stage.servers_ended.append(trio.current_time())


def _links(stage: Stage) -> NodeLinks:
    assert stage.links is not None, "a server of one node has no links"
    return stage.links


async def _change(stage: Stage, *changes: Change) -> None:
    await trio.to_thread.run_sync(_links(stage).change, *changes)


FAULTS: tuple[Fault, ...] = (
    Fault("kill server", kill_server, 6, ends_server=True),
    Fault("restart server", restart_server, 2, ends_server=True),
    Fault("freeze server", freeze_server, 2),
    Fault("usurp server", usurp_server, 2, ends_server=True),
    Fault("kill PostgreSQL", kill_postgres, 2),
    Fault("freeze PostgreSQL", freeze_postgres, 1),
    Fault("refuse writes", refuse_writes, 2),
    Fault("slow commits", slow_commits, 1),
    Fault("kill Valkey", kill_valkey, 2),
    Fault("freeze Valkey", freeze_valkey, 1),
    Fault("reset connections", reset_connections, 3),
    Fault("slow network", slow_network, 1),
    Fault("half-open network", half_open, 1),
    Fault("break a hook", break_hook, 8),
    Fault("fail at every start", fail_always, 1),
    Fault("stop reading", deafen, 1),
)

ALONE = ("usurp server",)
"""Faults of a server of one node."""
NODE_FAULTS: tuple[Fault, ...] = (
    *(fault for fault in FAULTS if fault.name not in ALONE),
    Fault("kill node", kill_node, 10),
    Fault("freeze node", freeze_node, 5),
    Fault("restart nodes", restart_nodes, 2),
    Fault("cut link", cut_link, 8),
    Fault("slow link", slow_link, 4),
    Fault("fail over Valkey", fail_over_valkey, 4),
)
"""Faults of a server of several nodes."""

AWAY = Fault("PostgreSQL away for 30 s", away_postgres, 0)
KILL = FAULTS[0]


def draw(rng: random.Random, faults: Sequence[Fault] = FAULTS) -> Fault:
    """The next fault, by weight."""
    return rng.choices(faults, [fault.weight for fault in faults])[0]
