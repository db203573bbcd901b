"""The actors and operations that bench/actors.py measures, as alike as possible in both systems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import process_time
from typing import Any, Final

import msgspec
import pykka

import actors
from actors.runtime.system import ActorSystem

WINDOW: Final = 1000
"""Messages sent before the sender waits for them. Both mailboxes have room for as many."""
RING: Final = 20
"""Actors in the ring that a message hops around."""


# --- the actors ----------------------------------------------------------------------------------


class Knock(msgspec.Struct, frozen=True, gc=False):
    """The message that is told and asked."""


class Hop(msgspec.Struct, frozen=True, gc=False):
    """A message that hops on `left` more times."""

    left: int


KNOCK: Final = Knock()


class Ours(actors.Actor):
    """An actor of ours with a handler for each type, as an embedder would write it."""

    mailbox = actors.MailboxSpec(capacity=100_000)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.next: Any = None
        self.arrived: actors.Future[None] | None = None

    @actors.handles(Knock)
    def knock(self, message: Knock) -> int:  # noqa: ARG002 -- the type says it all
        self.count += 1
        return self.count

    @actors.handles(Hop)
    def hop(self, message: Hop) -> None:
        if message.left:
            self.next.tell(Hop(message.left - 1))
        elif self.arrived is not None:
            self.arrived.set()

    @actors.handles(list)
    def join_ring(self, message: list[Any]) -> None:
        self.next, self.arrived = message

    @actors.handles(float)
    async def wait(self, message: float) -> float:
        return message


class Pykkas(pykka.ThreadingActor):
    """The same actor in Pykka, where `on_receive` tells the types apart."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.next: Any = None
        self.arrived: Any = None

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Knock):
            self.count += 1
            return self.count
        if isinstance(message, Hop):
            if message.left:
                self.next.tell(Hop(message.left - 1))
            else:
                self.arrived.set()
        elif isinstance(message, list):
            self.next, self.arrived = message
        return None


# --- the operations: each returns CPU seconds for `n` of them ------------------------------------


async def tell_ours(system: ActorSystem, n: int) -> float:
    """Tell one actor `n` messages, waiting after each `WINDOW` of them."""
    ref = system.start(Ours)
    await ref.ask(KNOCK)
    began = process_time()
    for _ in range(n // WINDOW):
        for _ in range(WINDOW):
            ref.tell(KNOCK)
        await ref.ask(KNOCK)
    spent = process_time() - began
    await ref.stop()
    return spent


def tell_pykka(n: int) -> float:
    """Tell one Pykka actor `n` messages, waiting after each `WINDOW` of them."""
    ref = Pykkas.start()
    ref.ask(KNOCK)
    began = process_time()
    for _ in range(n // WINDOW):
        for _ in range(WINDOW):
            ref.tell(KNOCK)
        ref.ask(KNOCK)
    spent = process_time() - began
    ref.stop()
    return spent


async def ask_ours(system: ActorSystem, n: int) -> float:
    """Ask an idle actor `n` times, one after the other; it answers on the spot."""
    ref = system.start(Ours)
    await ref.ask(KNOCK)
    began = process_time()
    for _ in range(n):
        await ref.ask(KNOCK)
    spent = process_time() - began
    await ref.stop()
    return spent


def ask_pykka(n: int) -> float:
    """Ask an idle Pykka actor `n` times; each time takes two switches of threads."""
    ref = Pykkas.start()
    ref.ask(KNOCK)
    began = process_time()
    for _ in range(n):
        ref.ask(KNOCK)
    spent = process_time() - began
    ref.stop()
    return spent


async def ask_queued(system: ActorSystem, n: int) -> float:
    """Ask `n` times while another actor has a message, so that none is answered on the spot."""
    ref, other = system.start(Ours), system.start(Ours)
    await ref.ask(KNOCK)
    await other.ask(KNOCK)
    began = process_time()
    for _ in range(n):
        other.tell(KNOCK)
        await ref.ask(KNOCK)
    spent = process_time() - began
    await ref.stop()
    await other.stop()
    return spent


async def ask_async(system: ActorSystem, n: int) -> float:
    """Ask `n` times for an `async def` handler, which a worker runs."""
    ref = system.start(Ours)
    await ref.ask(KNOCK)
    began = process_time()
    for _ in range(n):
        await ref.ask(1.0)
    spent = process_time() - began
    await ref.stop()
    return spent


async def hop_ours(system: ActorSystem, n: int) -> float:
    """Send one message around a ring of actors, `n` hops."""
    refs = [system.start(Ours) for _ in range(RING)]
    arrived: actors.Future[None] = actors.Future()
    for index, ref in enumerate(refs):
        await ref.ask([refs[(index + 1) % RING], arrived])
    began = process_time()
    refs[0].tell(Hop(n))
    await arrived
    spent = process_time() - began
    for ref in refs:
        await ref.stop()
    return spent


def hop_pykka(n: int) -> float:
    """Send one message around a ring of Pykka actors, `n` hops."""
    refs = [Pykkas.start() for _ in range(RING)]
    arrived: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
    for index, ref in enumerate(refs):
        ref.ask([refs[(index + 1) % RING], arrived])
    began = process_time()
    refs[0].tell(Hop(n))
    arrived.get()
    spent = process_time() - began
    for ref in refs:
        ref.stop()
    return spent


async def spawn_ours(system: ActorSystem, n: int) -> float:
    """Start `n` actors and ask each once."""
    began = process_time()
    refs = [system.start(Ours) for _ in range(n)]
    for ref in refs:
        await ref.ask(KNOCK)
    spent = process_time() - began
    stopped = [ref.stop() for ref in refs]
    for each in stopped:
        await each
    return spent


def spawn_pykka(n: int) -> float:
    """Start `n` Pykka actors, but at most 500, and ask each once."""
    n = min(n, 500)  # each is a thread, and an entry in Pykka's list of actors
    began = process_time()
    refs = [Pykkas.start() for _ in range(n)]
    for ref in refs:
        ref.ask(KNOCK)
    spent = process_time() - began
    for ref in refs:
        ref.stop()
    return spent


OursMeasure = Callable[[ActorSystem, int], Awaitable[float]]
PykkaMeasure = Callable[[int], float]

OPERATIONS: Final[list[tuple[str, int, OursMeasure, PykkaMeasure | None]]] = [
    ("tell", 200_000, tell_ours, tell_pykka),
    ("ask", 50_000, ask_ours, ask_pykka),
    ("ask, queued", 50_000, ask_queued, None),
    ("ask, async handler", 20_000, ask_async, None),
    ("hop", 100_000, hop_ours, hop_pykka),
    ("spawn", 5_000, spawn_ours, spawn_pykka),
]
"""Name, operations in a round of ours (Pykka does a tenth), function for ours and for Pykka."""
