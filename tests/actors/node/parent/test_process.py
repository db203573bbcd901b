"""One process of a node: what it reports, and each way in which it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.node.exits import Exit
from actors.node.line import Assignment
from actors.node.parent.ended import ProcessEnd
from actors.node.parent.process import NodeProcess
from tests.actors.node.parent.nodes import DIES, HANGS, SERVES, process
from tests.server_process import ROOT, alive, wait_until_gone

LIMIT_S = 60.0


class Run:
    def __init__(self, program: str, hung_after_s: float) -> None:
        self.lines: list[str] = []
        self.up = trio.Event()
        self.process: NodeProcess = process(
            program, self.lines, hung_after_s=hung_after_s, changed=self._changed
        )

    def _changed(self) -> None:
        if self.process.up_at is not None:
            self.up.set()


@asynccontextmanager
async def running(
    program: str, *, hung_after_s: float = 60.0, begin: bool = True
) -> AsyncIterator[Run]:
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            run = Run(program, hung_after_s)
            nursery.start_soon(run.process.run)
            if begin:
                run.process.begin()
            yield run
            nursery.cancel_scope.cancel()
    assert alive({run.process.pid}) == set()


async def ended(program: str, *, hung_after_s: float = 60.0) -> tuple[ProcessEnd, list[str]]:
    async with running(program, hung_after_s=hung_after_s) as run:
        await run.process.over.wait()
        assert run.process.ended is not None
        return run.process.ended, run.lines


async def test_it_is_up_when_it_says_so_and_its_pulse_is_known() -> None:
    async with running(SERVES) as run:
        assert run.process.up_at is None
        await run.up.wait()
        assert run.process.version == "test"
        assert (run.process.pulse.connections, run.process.pulse.actors) == (1, 3)
        found = await run.process.look()
        assert found is not None
        assert found.ready


async def test_it_gets_what_it_is_lent_and_no_descriptor_more() -> None:
    program = "print(given['name'], sorted(map(int, os.listdir('/proc/self/fd'))))"
    _, lines = await ended(program)
    ((_, _, name, *descriptors),) = map(str.split, lines)
    assert name == "n-1"
    assert len(descriptors) == 6  # 0, 1, 2, the line, the page, and the one of the listing itself


async def test_one_that_waits_for_its_turn_is_not_hurried() -> None:
    async with running(SERVES, hung_after_s=0.1, begin=False) as run:
        await run.process.waiting.wait()
        await trio.sleep(0.5)
        assert not run.process.over.is_set()
        run.process.begin()
        await run.up.wait()


async def test_one_of_a_newer_version_may_say_what_is_not_known_yet() -> None:
    newer = 'say("dance", steps=3)\nsay("up", version="2", colour="red")\nbeat()\n'
    async with running(newer) as run:
        await run.up.wait()
        assert run.process.version == "2"


async def test_both_outputs_are_read_to_the_last_word() -> None:
    _, lines = await ended("print('out'); sys.stderr.write('err'); sys.exit(0)")
    assert sorted(lines) == ["n-1 | err\n", "n-1 | out\n"]


async def test_no_line_of_many_is_lost_and_none_blocks_it() -> None:
    program = "for n in range(100_000):\n    print('line', n)\n"
    how, lines = await ended(program)
    assert how.exit == Exit.OK
    assert lines == [f"n-1 | line {n}\n" for n in range(100_000)]


async def test_one_that_dies_says_how() -> None:
    how, _ = await ended(DIES)
    assert (how.code, how.up_s) == (3, 0.0)


async def test_a_loop_that_stands_still_is_ended_by_force_and_says_where() -> None:
    hangs = f"import faulthandler\nfaulthandler.register(signal.SIGUSR1)\n{HANGS}"
    how, lines = await ended(hangs, hung_after_s=0.3)
    assert how.code == -signal.SIGKILL
    assert how.why == "its loop stood still for 0.3 s"
    assert how.up_s > 0
    assert "most recent call first" in "".join(lines)


async def test_one_that_is_frozen_is_ended_by_force() -> None:
    async with running(SERVES, hung_after_s=0.3) as run:
        await run.up.wait()
        os.kill(run.process.pid, signal.SIGSTOP)
        await run.process.over.wait()
        assert run.process.ended is not None
        assert run.process.ended.code == -signal.SIGKILL


async def test_a_long_start_is_not_taken_for_a_loop_that_hangs() -> None:
    how, _ = await ended("time.sleep(1)", hung_after_s=0.1)
    assert how.code == 0


async def test_without_a_limit_it_may_stand_still() -> None:
    how, _ = await ended("up()\ntime.sleep(1)", hung_after_s=0.0)
    assert how.code == 0


async def test_one_that_is_asked_to_stop_may_take_its_time() -> None:
    drains = (
        "def drain(*_):\n    print('draining', flush=True)\n    sys.exit(11)\n"
        "signal.signal(signal.SIGTERM, drain)\n"
    )
    async with running(drains + SERVES) as run:
        await run.up.wait()
        run.process.ask_to_stop()
        assert run.process.asked
        await run.process.over.wait()
        assert run.process.ended is not None
        assert run.process.ended.exit == Exit.UNSAVED
        assert run.lines == ["n-1 | draining\n"]


async def test_a_question_to_one_that_ends_is_answered() -> None:
    async with running("up()\nend.recv(65536)\nsys.exit(1)") as run:
        await run.up.wait()
        assert await run.process.look() is None


async def test_an_output_that_somebody_else_holds_open_does_not_hold_it_up() -> None:
    program = (
        "import subprocess\n"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)\n"
    )
    with trio.fail_after(LIMIT_S):
        how, lines = await ended(program)
    assert how.code == 0
    os.kill(int(lines[0].removeprefix("n-1 | ")), signal.SIGKILL)


async def test_a_program_that_is_not_there_is_an_error_that_leaves_nothing_open() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(FileNotFoundError):
        NodeProcess(
            ["/nowhere"],
            Assignment("n", (), (), "", "", terminal=False, pulse_s=1),
            lambda: pytest.fail("there is nothing to read"),
            hung_after_s=1,
            changed=lambda: None,
        )
    assert set(Path("/proc/self/fd").iterdir()) == before


PARENT = """
import sys, trio
from tests.actors.node.parent.nodes import SERVES, process

async def main():
    one = process(SERVES, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        one.begin()
        while one.up_at is None:
            await trio.sleep(0.01)
        print('pid', one.pid, flush=True)

trio.run(main)
"""


def test_a_parent_that_is_killed_takes_it_along() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        try:
            said = next(line for line in parent.stdout if line.startswith("pid "))
            pid = int(said.split()[1])
            assert alive({pid}) == {pid}
        finally:
            parent.kill()
    assert wait_until_gone({pid}) == set()


async def test_the_line_that_it_ends_with_is_its_words() -> None:
    program = """
sys.stderr.write('{"event": "up"}\\ngreenroom: no\\ngreenroom: n-1.3 lives\\n{"event": "over"}\\n')
sys.exit(10)
"""
    how, _ = await ended(program)
    assert str(how) == "exit code 10: n-1.3 lives"
