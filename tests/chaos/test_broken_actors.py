"""Actors that fail again and again on a real server: what clients and operators are told."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.chaos.faults import CAUSE
from tests.chaos.faulty import SITES, SOCKET_VARIABLE, Order, give
from tests.server_process import Server

LIMIT_S = 20.0
ALWAYS = 10**9


class Broken:
    """A server whose hooks can be broken."""

    def __init__(self, server: Server, orders: str) -> None:
        self.server = server
        self._orders = orders

    async def order(self, *orders: Order) -> None:
        await trio.to_thread.run_sync(give, self._orders, *orders)

    async def logged(self, event: str) -> dict[str, Any]:
        """The first line of the log about `event`, once there is one."""
        with trio.fail_after(LIMIT_S):
            while True:
                for line in self.server.events():
                    if line["event"] == event:
                        return line
                await trio.sleep(0.02)


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    folder = Path(tempfile.gettempdir()) / f"greenroom-broken-{secrets.token_hex(8)}"
    orders = f"{folder}-orders"
    entry, variables = ("-m", "tests.chaos.faulty"), {SOCKET_VARIABLE: orders}
    try:
        with Server(folder, "log.format=json", entry=entry, variables=variables) as server:
            yield Broken(server, orders)
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(orders).unlink(missing_ok=True)


async def _ask(client: WebSocketConnection, **fields: Any) -> dict[str, Any]:
    """The answer to a request; pushes that come before it are dropped."""
    await client.send_message(msgpack.packb({**fields, "ref": 1}))
    with trio.fail_after(LIMIT_S):
        while True:
            message: dict[str, Any] = msgpack.unpackb(await client.get_message())
            if message.get("ref") == 1:
                return message


async def _push(client: WebSocketConnection, op: str) -> dict[str, Any]:
    with trio.fail_after(LIMIT_S):
        while True:
            message: dict[str, Any] = msgpack.unpackb(await client.get_message())
            if message["op"] == op:
                return message


@pytest.mark.parametrize("name", SITES)
def test_every_hook_that_can_be_broken_is_one(name: str) -> None:
    owner, hooks = SITES[name]
    assert [hook for hook in hooks if not hasattr(owner, hook)] == []
    kind, _, hook = CAUSE[name].partition(".")
    assert (kind, hasattr(SITES[kind][0], hook)) == (name, True)


def test_every_kind_that_can_be_broken_has_a_cause() -> None:
    assert set(CAUSE) == set(SITES)


async def test_a_poison_message_is_quarantined_after_the_second_crash_and_seen(
    broken: Broken,
) -> None:
    before = broken.server.metric("greenroom_quarantined_total")
    await broken.order(Order("room.post", times=2, key="poisoned"))
    async with open_websocket_url(
        broken.server.ws, subprotocols=["greenroom.v1.msgpack"]
    ) as client:
        await _ask(client, op="session.open", name="ada")
        await _ask(client, op="room.join", room="poisoned")
        poison = {"op": "room.send", "room": "poisoned", "body": "poison"}
        for _ in range(3):  # two crash it, and the third is refused without a try
            answer = await _ask(client, **poison)
            assert (answer["op"], answer["code"], answer["retry"]) == ("error", "internal", False)
        healthy = await _ask(client, op="room.send", room="poisoned", body="healthy")
        assert healthy["op"] == "ok"
    assert broken.server.metric("greenroom_quarantined_total") == before + 1
    line = await broken.logged("quarantined")
    assert (line["kind"], line["key"], line["message"]) == ("room", "poisoned", "Post")


async def test_a_room_that_fails_at_every_start_rests_as_failed_and_its_members_are_told(
    broken: Broken,
) -> None:
    async with open_websocket_url(
        broken.server.ws, subprotocols=["greenroom.v1.msgpack"]
    ) as client:
        await _ask(client, op="session.open", name="ada")
        await _ask(client, op="room.join", room="hopeless")
        await broken.order(
            Order("room.on_start", times=ALWAYS, key="hopeless"),
            Order("room.post", key="hopeless"),
        )
        send = {"op": "room.send", "room": "hopeless", "body": "crash"}
        await client.send_message(msgpack.packb(send))
        lost = await _push(client, "topic.lost")
        assert (lost["topic"], lost["code"]) == ("room:hopeless", "failed")
        again = await _ask(client, op="room.join", room="hopeless")
        assert (again["code"], again["retry"]) == ("failed", True)
        restarts = broken.server.metric("greenroom_restarts_total")
        await trio.sleep(0.5)
        assert broken.server.metric("greenroom_restarts_total") == restarts, "it is in a loop"
    await broken.order(Order("", times=0))


async def test_an_actor_that_blocks_the_loop_is_named_with_its_handler_and_counted(
    broken: Broken,
) -> None:
    slow = broken.server.metric("greenroom_slow_handlers_total")
    await broken.order(Order("room.post", "hang", key="stuck"))
    async with open_websocket_url(
        broken.server.ws, subprotocols=["greenroom.v1.msgpack"]
    ) as client:
        await _ask(client, op="session.open", name="ada")
        await _ask(client, op="room.join", room="stuck")
        assert (await _ask(client, op="room.send", room="stuck", body="x"))["op"] == "ok"
    assert broken.server.metric("greenroom_slow_handlers_total") == slow + 1
    line = await broken.logged("slow_handler")
    assert (line["kind"], line["key"], line["message"]) == ("room", "stuck", "Post")
    assert line["seconds"] > 1
    while_stuck = await broken.logged("loop_blocked")  # logged by the watchdog, with the stack
    assert (while_stuck["kind"], while_stuck["key"]) == ("room", "stuck")
    assert "in post" in while_stuck["stack"] or "wrapped" in while_stuck["stack"]
