"""Links between nodes and stores, each of which can be cut, frozen and slowed by itself.

They are proxies in a process of their own, which neither players nor nodes hold up. It is
`python -m tests.chaos.links`, and gets a line of JSON for each change.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import msgspec
import trio

from tests.chaos.proxy import Proxy, Target
from tests.server_process import ROOT


class Opening(msgspec.Struct, frozen=True):
    """The first line: link -> where it leads."""

    targets: dict[str, Target]


class Change(msgspec.Struct, frozen=True):
    """A link's state from now on. None: as before."""

    link: str
    target: Target | None = None
    cut: bool | None = None
    """Connections are reset, and new ones at once."""
    frozen: bool | None = None
    """Nothing passes, and nobody is told. What was sent meanwhile comes late."""
    delay_s: float | None = None
    """Of each chunk, on average, each way."""


class Links:
    """The process, and what it is told. To be made in the main thread.

    Arguments:
        targets: link -> where it leads.

    Attributes:
        ports: link -> its port of 127.0.0.1.
    """

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.links"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.ports = msgspec.json.decode(self._say(Opening(dict(targets))), type=dict[str, int])

    def change(self, *changes: Change) -> None:
        """Change links. Blocks until it is done."""
        for change in changes:
            self._say(change)

    def _say(self, what: Opening | Change) -> bytes:
        talk, listen = self._process.stdin, self._process.stdout
        assert talk is not None
        assert listen is not None
        talk.write(msgspec.json.encode(what) + b"\n")
        talk.flush()
        answer = listen.readline()
        assert answer, "the links have ended"
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


def _apply(change: Change, proxy: Proxy) -> None:
    if change.target is not None:
        proxy.target = change.target
        proxy.reset(1.0)
    if change.delay_s is not None:
        proxy.delay_s = change.delay_s
    if change.frozen is not None:
        proxy.frozen = change.frozen
    if change.cut is not None:
        proxy.cut = change.cut
        if change.cut:
            proxy.reset(1.0)


async def _serve() -> None:
    """Obey what comes on standard input, until it ends."""
    lines = trio.wrap_file(sys.stdin.buffer)
    dice = random.Random(0)
    first = msgspec.json.decode(await lines.readline(), type=Opening)
    proxies = {name: Proxy(target, dice) for name, target in first.targets.items()}
    async with trio.open_nursery() as nursery:
        ports = {name: await nursery.start(proxy.run) for name, proxy in proxies.items()}
        print(msgspec.json.encode(ports).decode(), flush=True)
        while line := await lines.readline():
            change = msgspec.json.decode(line, type=Change)
            _apply(change, proxies[change.link])
            print("done", flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_serve)
