"""Nakama. Its server must already run: give its address with --peer-url ws://host:7350.

The clients are guests with a device id. They speak Nakama's JSON protocol over WebSocket, in chat
channels that are not stored (https://heroiclabs.com/docs/nakama/). The server's key is Nakama's
default.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from picows import WSFrame, WSTransport

from bench.child import ChildServer
from bench.client import Client, RefusedError, mark_in, marked
from bench.peers.web import post
from bench.tally import Series, Tally

AUTHENTICATE = "/v2/account/authenticate/device?create=true"
BASIC = {"Authorization": "Basic " + b64encode(b"defaultkey:").decode()}
ROOM = 1
"""The type of a channel that is a chat room."""


@contextmanager
def serving(_: int | None) -> Iterator[ChildServer]:
    """Raise RuntimeError: no registry of packages has Nakama's binary."""
    raise RuntimeError("start a Nakama yourself and give its address with --peer-url")
    yield


class Driver(Client):
    """Sends envelopes of JSON. One with a `cid` is a request."""

    def __init__(self, tally: Tally, name: str) -> None:
        super().__init__(tally, name)
        self.cid = 0
        self.channel = ""
        self.waiting: dict[str, tuple[Series, int] | asyncio.Future[dict[str, Any]]] = {}

    async def address(self, url: str, room: str | None) -> str:
        del room
        account = await post(url, AUTHENTICATE, {"id": f"greenroom-{self.name}"}, BASIC)
        return f"{url}/ws?lang=en&status=false&format=json&token={account['token']}"

    async def enter(self, room: str | None) -> None:
        if room is not None:
            joined: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            wanted = {"target": room, "type": ROOM, "persistence": False, "hidden": False}
            self.send(joined, channel_join=wanted)
            self.channel = (await joined)["channel"]["id"]

    def send(
        self, waiting: tuple[Series, int] | asyncio.Future[dict[str, Any]], **envelope: Any
    ) -> None:
        """Send a request."""
        self.cid += 1
        self.waiting[str(self.cid)] = waiting
        self.send_text(msgspec.json.encode({"cid": str(self.cid), **envelope}).decode())

    def echo(self, series: Series, scheduled_ns: int) -> None:
        series.expect(scheduled_ns)
        self.send((series, scheduled_ns), ping={})

    def say(self, _: str, scheduled_ns: int, length: int) -> None:
        acks = self.tally["acks"]
        acks.expect(scheduled_ns)
        content = msgspec.json.encode({"m": marked(scheduled_ns, length)}).decode()
        message = {"channel_id": self.channel, "content": content}
        self.send((acks, scheduled_ns), channel_message_send=message)

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        due = mark_in(payload)
        if due is not None:
            self.delivered.end(due)
            return
        envelope = msgspec.json.decode(payload)
        waiting = self.waiting.pop(envelope.get("cid", ""), None)
        if "error" in envelope:
            self.tally.errors[f"nakama {envelope['error'].get('code')}"] += 1
            if isinstance(waiting, asyncio.Future):
                waiting.set_exception(RefusedError(str(envelope["error"])))
        elif isinstance(waiting, tuple):
            waiting[0].end(waiting[1])
        elif waiting is not None:
            waiting.set_result(envelope)
