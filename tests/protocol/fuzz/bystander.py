"""A client that chats throughout the attack, and must not notice it."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import trio
import trio_websocket

from tests.protocol.fuzz.messages import SHARED_ROOM
from tests.protocol.fuzz.tally import Tally

PAUSE_S = 0.02
PATIENCE_S = 20.0
IN_FLIGHT = 32
"""How many sends wait for their acknowledgement at most. The server's limit is 64."""


class Bystander:
    """Sends numbered messages to a room that attackers are in, too, and holds the server to it:
    each is acknowledged, and pushed once, in order, without a gap in the room's offsets.

    `latencies_s`: from each send to its acknowledgement.
    """

    def __init__(self, url: str, name: str, tally: Tally, *, json_text: bool) -> None:
        self.name = name
        self.sent = 0
        self.pushed = 0
        self.latencies_s: list[float] = []
        self._url = url
        self._tally = tally
        self._json = json_text
        self._asked: dict[int, float] = {}
        self._offset = 0
        self._seen = 0
        self._user = ""

    async def chat(
        self, done: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Chat until `done`, then wait for the answers and pushes that are still to come."""
        subprotocol = "greenroom.v1.json" if self._json else "greenroom.v1.msgpack"
        try:
            async with trio_websocket.open_websocket_url(
                self._url, subprotocols=[subprotocol]
            ) as websocket:
                opened = await self._ask(websocket, {"op": "session.open", "name": self.name})
                self._user = opened["user"]
                joined = await self._ask(websocket, {"op": "room.join", "room": SHARED_ROOM})
                self._offset = joined["offset"]
                task_status.started()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen, websocket)
                    while not done.is_set():
                        if len(self._asked) < IN_FLIGHT:
                            await self._say(websocket)
                        with trio.move_on_after(PAUSE_S):
                            await done.wait()
                    with trio.move_on_after(PATIENCE_S):
                        while self._asked:
                            await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()
        except trio_websocket.ConnectionClosed as closed:
            self._tally.violation(f"bystander {self.name} was closed: {closed.reason}")
        if self._asked:
            self._tally.violation(f"bystander {self.name}: no answer to {sorted(self._asked)[:9]}")
        if self._seen != self.sent:
            self._tally.violation(
                f"bystander {self.name} sent {self.sent} and saw {self._seen} of them"
            )

    async def _say(self, websocket: Any) -> None:
        self.sent += 1
        self._asked[self.sent] = trio.current_time()
        body = f"{self.name} {self.sent}"
        await self._send(
            websocket, {"op": "room.send", "ref": self.sent, "room": SHARED_ROOM, "body": body}
        )

    async def _listen(self, websocket: Any) -> None:
        while True:
            message = await self._receive(websocket)
            match message["op"]:
                case "ok":
                    self.latencies_s.append(trio.current_time() - self._asked.pop(message["ref"]))
                case "room.message":
                    self._heard(message)
                case "room.joined" | "room.left":
                    if message["offset"] != self._offset:
                        self._tally.violation(f"{self.name} at {self._offset} was told {message}")
                case _:
                    self._tally.violation(f"bystander {self.name} was told {message}")

    def _heard(self, message: dict[str, Any]) -> None:
        self.pushed += 1
        if message["offset"] != self._offset + 1:
            self._tally.violation(
                f"bystander {self.name}: after {self._offset} came {message['offset']}"
            )
        self._offset = message["offset"]
        if message["user"] == self._user:
            self._seen += 1
            if message["body"] != f"{self.name} {self._seen}":
                self._tally.violation(f"{self.name} expected {self._seen}, got {message['body']!r}")

    async def _ask(self, websocket: Any, request: dict[str, Any]) -> dict[str, Any]:
        await self._send(websocket, {**request, "ref": 0})
        with trio.fail_after(PATIENCE_S):
            while True:
                message = await self._receive(websocket)
                if message["op"] in ("ok", "error"):
                    data: dict[str, Any] = message["data"]
                    return data

    async def _send(self, websocket: Any, message: dict[str, Any]) -> None:
        payload = json.dumps(message) if self._json else msgpack.packb(message)
        await websocket.send_message(payload)

    async def _receive(self, websocket: Any) -> dict[str, Any]:
        data = await websocket.get_message()
        message: dict[str, Any] = json.loads(data) if self._json else msgpack.unpackb(data)
        return message
