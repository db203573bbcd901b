"""The minder of a node that has no parent: it ends a node that hangs, and holds back the actor.

It is a process of its own, as no thread of the node runs then: `python -m actors.node.minder`. Of
several nodes of one server their parent does the same.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from time import perf_counter
from typing import Final

import msgspec
import structlog

from actors.node import logs
from actors.node.logs import LogSettings
from actors.node.parent.caught import is_running, log_held, log_not_held
from actors.runtime.running_page import PAGE_BYTES, RunningBlock, RunningPage
from actors.runtime.watchdog import show_running
from persistence import PostgresSettings, StoreUnavailable
from persistence.embedded.server_process import die_with_parent
from persistence.postgres.held import hold_actor

log = structlog.get_logger("actors.node.minder")

LOOK_S: Final = 0.2


class Charge(msgspec.Struct, frozen=True):
    """What a minder looks after.

    Attributes:
        pid: the process.
        node: its name.
        page: the descriptor of the page on which it notes what it runs.
        postgres: where actors are held.
        log: how lines are written.
        caught_after_s: how long a block has run when its actor is held.
        hold_s: for how long it is at first.
        hung_after_s: how long a block has run when the process is killed; 0: never.
    """

    pid: int
    node: str
    page: int
    postgres: PostgresSettings
    log: LogSettings
    caught_after_s: float
    hold_s: float
    hung_after_s: float


@contextmanager
def minded(charge: Charge) -> Iterator[None]:
    """Have this process minded. `charge.page` is filled in."""
    with tempfile.TemporaryFile() as memory:
        memory.truncate(PAGE_BYTES)
        page = RunningPage(memory.fileno())
        minder = subprocess.Popen(
            [sys.executable, "-m", "actors.node.minder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(memory.fileno(),),
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - no lock is taken
        )
        assert minder.stdin is not None
        told = msgspec.structs.replace(charge, page=memory.fileno())
        with suppress(BrokenPipeError):
            minder.stdin.write(msgspec.json.encode(told) + b"\n")
            minder.stdin.flush()
    show_running(page)
    try:
        yield
    finally:
        show_running(None)
        page.close()
        minder.stdin.close()
        minder.kill()
        minder.wait()


def mind(charge: Charge, last_words: Callable[[], object]) -> None:
    """Look after the process until the end of standard input, or that of the process.

    `last_words` is called before it is killed. The kernel ends this process with it, and what the
    log's thread has not written by then is lost.
    """
    page = RunningPage(charge.page)
    seen: RunningBlock | None = None
    held: RunningBlock | None = None
    while not select.select([0], [], [], LOOK_S)[0]:
        block = page.running()
        if block is None or not is_running(charge.pid):
            seen = None
            continue
        for_s = perf_counter() - block.began_s
        # Found twice, since this process may have been stopped together with the node.
        if block == seen and block != held and for_s >= charge.caught_after_s and charge.hold_s:
            held = block if _hold(charge, block) else held
        if block == seen and charge.hung_after_s and for_s >= charge.hung_after_s:
            log.error("node is killed", node=charge.node, why=f"it hangs for {for_s:.0f} s")
            last_words()
            os.kill(charge.pid, signal.SIGKILL)
            return
        seen = block


def _hold(charge: Charge, block: RunningBlock) -> bool:
    try:
        count = hold_actor(
            charge.postgres, block.kind, block.key, node=charge.node, first_s=charge.hold_s
        )
    except StoreUnavailable as error:
        log_not_held(log, block, error)
        return False
    log_held(log, charge.node, block, count)
    return True


if __name__ == "__main__":
    _charge = msgspec.json.decode(sys.stdin.buffer.readline(), type=Charge)
    _writer = logs.configure(_charge.log)
    mind(_charge, partial(_writer.drain, logs.LAST_WORDS_S))
