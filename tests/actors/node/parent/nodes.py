"""Small programs that stand for nodes, and speak to their parent as nodes do."""

from __future__ import annotations

import sys
from collections.abc import Callable

from actors.node.line import Assignment
from actors.node.parent.output import NodeOutput
from actors.node.parent.process import NodeProcess

BEGIN = """
import os, signal, socket, sys, time
import msgspec
end = socket.socket(fileno=int(os.environ["GREENROOM_PARENT"]))
def say(tag, **fields):
    end.send(msgspec.msgpack.encode({"type": tag, **fields}))
say("waiting")
given = msgspec.msgpack.decode(end.recv(65536))
def pulse():
    say("pulse", connections=1, sessions=2, actors=3)
def up():
    pulse()
    say("up", version="test")
def beat(answer=True):
    end.settimeout(given["pulse_s"])
    while True:
        pulse()
        try:
            asked = msgspec.msgpack.decode(end.recv(65536))
        except TimeoutError:
            continue
        checks = {"node": "ok" if answer else "not yet"}
        found = {"ready": answer, "degraded": False, "checks": checks}
        say("looked", number=asked["number"], found=found)
"""
"""The beginning of a program. Told to stop, it dies of SIGTERM, as a node does while it starts."""

SERVES = "up()\nbeat()\n"
HANGS = "up()\ntime.sleep(1000)\n"
DIES = "sys.exit(3)\n"
BROKEN = "broken"
"""A program that ends before it waits for its assignment, as with a wrong configuration."""


def process(
    program: str,
    lines: list[str],
    *,
    hung_after_s: float = 60.0,
    changed: Callable[[], None] = lambda: None,
) -> NodeProcess:
    """Start a program after `BEGIN`; what it prints comes into `lines`."""
    text = "raise SystemExit(3)" if program == BROKEN else BEGIN + program
    pulse_s = min(0.1, hung_after_s / 4 or 0.1)
    return NodeProcess(
        [sys.executable, "-c", text],
        Assignment("n-1", (), (), "postgresql:///x", "redis://x", terminal=True, pulse_s=pulse_s),
        lambda: NodeOutput("n-1", lines.append, people=True),
        hung_after_s=hung_after_s,
        changed=changed,
    )
