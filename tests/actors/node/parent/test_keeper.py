"""A node is kept running, and restarted when asked."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from actors.node.exits import Exit
from actors.node.parent.backoff import HOPELESS
from actors.node.parent.ended import ProcessEnd
from actors.node.parent.keeper import NodeKeeper, RestartFailed
from actors.node.parent.overview import Overview, overview_table, row
from actors.node.parent.process import NodeProcess
from tests.actors.node.parent.nodes import BROKEN, DIES, HANGS, SERVES, process
from tests.server_process import alive

LIMIT_S = 60.0
DRAINS = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + SERVES
REFUSES = "up()\nbeat(answer=False)\n"


class House:
    """A keeper.

    Its processes run the given programs in order, and then the last one again and again.
    """

    def __init__(self, *programs: str | OSError, hung_after_s: float = 60.0) -> None:
        self.programs = list(programs)
        self.pids: list[int] = []
        self.failures: list[ProcessEnd] = []
        self.hung_after_s = hung_after_s
        self.keeper = NodeKeeper("n-1", self._start, self._failed)

    def _start(self, changed: Callable[[], None]) -> NodeProcess:
        program = self.programs.pop(0) if len(self.programs) > 1 else self.programs[0]
        if isinstance(program, OSError):
            raise program
        started = process(program, [], hung_after_s=self.hung_after_s, changed=changed)
        self.pids.append(started.pid)
        return started

    def _failed(self, keeper: NodeKeeper, ended: ProcessEnd) -> None:
        assert keeper is self.keeper
        self.failures.append(ended)


@asynccontextmanager
async def keeping(house: House) -> AsyncIterator[NodeKeeper]:
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.keeper.run)
            yield house.keeper
            nursery.cancel_scope.cancel()
    assert alive(set(house.pids)) == set()


async def test_a_node_that_is_killed_is_back() -> None:
    house = House(DRAINS)
    async with keeping(house) as keeper:
        await keeper.until_up()
        os.kill(house.pids[0], signal.SIGKILL)
        await keeper.until(lambda: keeper.restarts >= 1)
        await keeper.until_up()
        assert (keeper.restarts, str(keeper.last)) == (1, "killed by SIGKILL")
    assert len(house.failures) == 1


async def test_a_node_that_keeps_dying_is_started_again_after_longer_and_longer_pauses() -> None:
    house = House(DIES)
    began = trio.current_time()
    async with keeping(house) as keeper:
        await keeper.until(lambda: len(house.failures) >= HOPELESS)
        assert keeper.backoff.hopeless
        assert {one.code for one in house.failures} == {3}
    # At least half of 0.1 + 0.2 + 0.4 + 0.8 s, which sleeping itself guarantees.
    assert trio.current_time() - began >= 0.75


async def test_one_that_cannot_even_be_started_is_tried_again() -> None:
    house = House(OSError("no more processes"), SERVES)
    async with keeping(house) as keeper:
        await keeper.until_up()
        assert str(house.failures[0]) == "could not be started: no more processes"


async def test_one_that_hangs_is_replaced() -> None:
    house = House(HANGS, SERVES, hung_after_s=0.3)
    async with keeping(house) as keeper:
        await keeper.until(lambda: bool(house.failures))
        assert "stood still" in str(house.failures[0])
        await keeper.until_up()


async def test_a_node_that_is_down_when_it_is_stopped_has_ended_well() -> None:
    house = House(DIES)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.keeper.run)
            await house.keeper.until(lambda: len(house.failures) >= HOPELESS)
            house.keeper.stop()
    assert house.keeper.stopped_as == Exit.OK
    assert len(house.pids) == HOPELESS


@pytest.mark.parametrize("code", [Exit.OK, Exit.UNSAVED, Exit.CUT_SHORT])
async def test_a_stop_tells_how_the_node_ended(code: Exit) -> None:
    house = House(f"signal.signal(signal.SIGTERM, lambda *_: sys.exit({int(code)}))\n{SERVES}")
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.keeper.run)
            await house.keeper.until_up()
            house.keeper.stop()
            assert house.keeper.state == "draining"
    assert house.keeper.stopped_as == code
    assert house.failures == []


async def test_a_restart_ends_when_the_new_process_is_ready() -> None:
    house = House(DRAINS)
    async with keeping(house) as keeper:
        await keeper.until_up()
        await keeper.restart()
        assert keeper.state == "up"
        assert (len(house.pids), keeper.restarts, house.failures) == (2, 1, [])
        found = await keeper.look()
        assert found is not None
        assert found.ready


async def test_the_old_process_is_left_alone_if_the_new_one_cannot_start() -> None:
    house = House(DRAINS, BROKEN)
    async with keeping(house) as keeper:
        await keeper.until_up()
        with pytest.raises(RestartFailed, match="exit code 3"):
            await keeper.restart()
        assert keeper.state == "up"
        assert alive({house.pids[0]}) == {house.pids[0]}


async def test_a_restart_fails_if_the_new_process_ends_again() -> None:
    house = House(DRAINS, DIES)
    async with keeping(house) as keeper:
        await keeper.until_up()
        with pytest.raises(RestartFailed, match="n-1: exit code 3"):
            await keeper.restart()
        house.programs = [SERVES]
        await keeper.until_up()


async def test_a_restart_waits_until_the_node_is_ready_and_a_stop_ends_the_wait() -> None:
    house = House(DRAINS, REFUSES)
    said: list[str] = []

    async def restart(keeper: NodeKeeper) -> None:
        try:
            await keeper.restart()
        except RestartFailed as error:
            said.append(str(error))

    async with keeping(house) as keeper:
        await keeper.until_up()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart, keeper)
            await keeper.until(lambda: keeper.restarts >= 1)
            await keeper.until_up()
            keeper.stop()
    assert said == ["n-1: the server is being stopped"]


async def test_a_node_that_is_down_is_restarted_without_a_pause() -> None:
    house = House(DIES)
    async with keeping(house) as keeper:
        await keeper.until(lambda: len(house.failures) > HOPELESS)
        house.programs = [SERVES]
        await keeper.restart()
        assert (keeper.state, keeper.backoff.failures) == ("up", 0)


async def test_one_that_is_frozen_is_shown_as_silent_until_it_goes_on() -> None:
    house = House(SERVES)
    async with keeping(house) as keeper:
        await keeper.until_up()

        async def shown(state: str) -> None:
            while row(keeper).state != state:
                await trio.sleep(0.02)

        await shown("up")
        os.kill(house.pids[0], signal.SIGSTOP)
        await shown("silent")
        (_, _, line) = overview_table(Overview("0.1.0", (row(keeper),)))
        assert line.split()[5:9] == ["-"] * 4  # how much is there, nobody knows
        os.kill(house.pids[0], signal.SIGCONT)
        await shown("up")
