"""A link between a node and a store can be cut, frozen, and led elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from tests.chaos.links import Change, Links
from tests.chaos.plan import draw_plan
from tests.chaos.proxy import Target

LIMIT_S = 60.0


@asynccontextmanager
async def echoing(word: bytes) -> AsyncIterator[int]:
    """The port of a server that says `word` before what it was told."""

    async def answer(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # it was cut
            async with stream:
                async for told in stream:
                    await stream.send_all(word + told)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def heard(stream: trio.SocketStream, told: bytes, size: int) -> bytes:
    """What comes back; less than `size` if the connection is broken."""
    got = b""
    try:
        if told:
            await stream.send_all(told)
        while len(got) < size and (more := await stream.receive_some()):
            got += more
    except trio.BrokenResourceError:
        pass
    return got


async def test_a_link_is_cut_frozen_and_led_elsewhere() -> None:
    with trio.fail_after(LIMIT_S):
        async with echoing(b"a:") as a, echoing(b"b:") as b:
            targets: dict[str, Target] = {"one": ("127.0.0.1", a), "two": ("127.0.0.1", a)}
            async with AsyncExitStack() as streams:
                links = streams.enter_context(Links(targets))

                async def change(*changes: Change) -> None:
                    await trio.to_thread.run_sync(links.change, *changes)

                async def connect(link: str) -> trio.SocketStream:
                    port = links.ports[link]
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    return await streams.enter_async_context(stream)

                one, two = await connect("one"), await connect("two")
                assert await heard(one, b"x", 3) == b"a:x"
                await change(Change("one", cut=True))
                assert await heard(one, b"x", 3) == b""
                assert await heard(await connect("one"), b"x", 3) == b""
                assert await heard(two, b"x", 3) == b"a:x"
                await change(Change("one", cut=False, target=("127.0.0.1", b)))
                assert await heard(await connect("one"), b"x", 3) == b"b:x"
                await change(Change("two", frozen=True))
                await two.send_all(b"late")
                with trio.move_on_after(0.2) as silent:
                    await two.receive_some()
                assert silent.cancelled_caught
                await change(Change("two", frozen=False))
                assert await heard(two, b"", 6) == b"a:late"


def test_a_plan_for_several_nodes_breaks_their_links_and_their_valkey() -> None:
    faults = draw_plan(7, faults=200, nodes=3).faults()
    assert {"cut link", "slow link", "fail over Valkey", "break a hook", "kill node"} <= set(faults)
    assert "usurp server" not in faults
    with pytest.raises(ValueError, match="no fault is called like 'cut link'"):
        draw_plan(7, faults=1, only="cut link")  # of a server of one node
