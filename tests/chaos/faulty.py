"""`python -m tests.chaos.faulty serve ...`: the server as shipped, with hooks that can be broken.

It also has the trial service, which puts notes into inboxes. Before the server starts, the hooks of
rooms, sessions, matches and games, and of the actors that write and wake matches, are wrapped.
Orders come from outside, as datagrams on the unix socket that SABOTAGE_SOCKET names. So the run
decides what goes wrong, never a message that a player sends. A hook that works costs one more read
of a dict.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import structlog

import server
from actors.chat.room import Room
from actors.edge.identity import Identity
from actors.edge.session import Detach, Session
from actors.edge.topic_messages import Leave
from actors.inbox.user import UserInbox
from actors.matches.match import Match
from actors.matches.registrar import Registrar
from actors.matches.waker import Waker
from actors.node import serving
from actors.node.config import Loaded
from actors.node.line import Assignment
from actors.runtime.actor import Actor
from actors.runtime.handlers import HandlerTable
from examples.tictactoe import TicTacToe
from tests.chaos.clockwork import Clockwork

SOCKET_VARIABLE = "SABOTAGE_SOCKET"
WAYS_VARIABLE = "SABOTAGE_WAYS"
"""Node -> its addresses of the stores, as JSON."""
HANG_S = 1.3
"""Long enough for the watchdog, which looks after 1 s."""
FLOOD = 20_000
"""How many messages a flooding actor sends to itself: more than any mailbox holds."""

How = Literal["raise before", "raise after", "hang", "flood"]

SITES: dict[str, tuple[type, tuple[str, ...]]] = {
    "room": (
        Room,
        (
            "join", "resume", "leave", "session_ended", "post", "history", "members",
            "on_start", "on_stop", "on_failure", "apply", "snapshot", "restore",
        ),
    ),
    "session": (
        Session, ("attach", "detach", "request", "on_start", "on_stop", "on_failure"),
    ),
    "match": (
        Match, ("start_match", "join", "resume", "input", "on_start", "on_stop", "on_failure"),
    ),
    # Not its asynchronous hooks: calling one only makes a coroutine, and the wrapper's work would
    # come before it runs.
    "inbox": (UserInbox, ("leave", "session_ended", "on_start", "on_stop", "on_failure")),
    "registrar": (Registrar, ("write", "written", "on_start")),
    "waker": (Waker, ("next", "found", "sweep", "unmade", "on_start")),
    # Not its `restore`: a match whose state cannot be restored ends as failed.
    "clockwork": (Clockwork, ("join", "leave", "input", "tick", "view", "snapshot", "result")),
    "tictactoe": (TicTacToe, ("join", "leave", "input", "view", "snapshot", "restore", "result")),
}  # fmt: skip
"""Name -> class and the hooks of it that can be broken."""


class Order(msgspec.Struct, frozen=True):
    """Break hook `site` ("room.post") the next `times` times; 0: mend all hooks."""

    site: str
    how: How = "raise before"
    times: int = 1
    key: str = ""
    """The key of the actor in which to break it; empty: the first actor that calls it."""
    hang_s: float = HANG_S
    """How long a hook that hangs does so, in seconds."""


class Ways(NamedTuple):
    """The addresses of the stores."""

    postgres: str
    redis: str


class SabotageError(Exception):
    """What a broken hook raises."""


class Saboteur:
    """Holds what is armed, and wraps the hooks."""

    def __init__(self) -> None:
        self.armed: dict[str, Order] = {}
        self.log = structlog.get_logger("chaos")

    def obey(self, order: Order) -> None:
        """Take an order. Any thread may call this, since it is one assignment."""
        if order.times:
            self.armed[order.site] = order
        else:
            self.armed = {}

    def wrap(self, site: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Return the hook with the sabotage before and after it."""

        @functools.wraps(hook)  # keeps the mark of a message handler, too
        def wrapped(this: Any, *args: Any, **kwargs: Any) -> Any:
            order = self.armed.get(site)
            if order is None or (order.key and order.key != _key(this)):
                return hook(this, *args, **kwargs)
            if order.times > 1:
                self.armed[site] = msgspec.structs.replace(order, times=order.times - 1)
            else:
                self.armed.pop(site, None)
            self.log.warning("sabotaged", site=site, how=order.how)
            if order.how == "raise before":
                raise SabotageError(site)
            if order.how == "hang":
                time.sleep(order.hang_s)
            elif order.how == "flood":
                _flood(this)
            result = hook(this, *args, **kwargs)
            if order.how == "raise after":
                raise SabotageError(site)
            return result

        return wrapped

    def listen(self, path: str) -> None:
        """Obey orders that come on a socket, in a thread.

        A sender with an address gets an answer.
        """
        orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        orders.bind(path)

        def obey() -> None:
            while True:
                order, sender = orders.recvfrom(4096)
                self.obey(msgspec.json.decode(order, type=Order))
                if sender:
                    orders.sendto(b"obeyed", sender)

        threading.Thread(target=obey, daemon=True).start()


def orders_of(path: str, node: str) -> str:
    """The socket by which one of several nodes takes orders."""
    return f"{path}-{node}"


def lead(saboteur: Saboteur, path: str, ways: Mapping[str, Ways]) -> None:
    """Have a node, once its parent has named it, take orders and reach the stores its own way."""

    def lent(loaded: Loaded, assignment: Assignment) -> Loaded:
        own = orders_of(path, assignment.name)
        Path(own).unlink(missing_ok=True)  # of the process that this one replaces
        saboteur.listen(own)
        way = ways[assignment.name]
        there = msgspec.structs.replace(assignment, postgres_url=way.postgres, redis_url=way.redis)
        return as_ever(loaded, there)

    as_ever, serving.lent = serving.lent, lent


def give(path: str, *orders: Order) -> None:
    """Give orders to the server that listens at `path`; returns when it has taken them.

    Raises TimeoutError if it does not.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("")  # binds to any free address (unix(7), "autobind"), to get an answer
        line.settimeout(30.0)
        for order in orders:
            line.sendto(msgspec.json.encode(order), path)
            line.recv(64)


def _key(this: Any) -> str:
    return this.actor_ref.key if isinstance(this, Actor) else ""


def _flood(this: Any) -> None:
    message = Detach(0) if isinstance(this, Session) else Leave(Identity("nobody", "nobody", ""))
    if isinstance(this, Actor):
        try:
            for _ in range(FLOOD):
                this.actor_ref.tell(message)
        except Exception as full:  # MailboxFull, which is the aim
            structlog.get_logger("chaos").info("flooded", error=str(full))


def main() -> int:
    """Wrap, listen, serve."""
    saboteur = Saboteur()
    for name, (owner, hooks) in SITES.items():
        for hook in hooks:
            setattr(owner, hook, saboteur.wrap(f"{name}.{hook}", getattr(owner, hook)))
        if issubclass(owner, Actor):  # the table of its handlers holds the unwrapped ones
            owner.actor_handlers = HandlerTable(owner)
    path, ways = os.environ.get(SOCKET_VARIABLE), os.environ.get(WAYS_VARIABLE)
    if path and ways:  # the parent of several nodes, or one of them
        lead(saboteur, path, msgspec.json.decode(ways, type=dict[str, Ways]))
    elif path:
        saboteur.listen(path)
    server.SERVICES = (*server.SERVICES, "tests.actors.trial:TRIAL")
    return server.main()


if __name__ == "__main__":
    sys.exit(main())
