"""The client of the plain broadcasters, which pass bytes on unread. A path names a room."""

from __future__ import annotations

from collections import deque
from urllib.parse import quote

from picows import WSFrame, WSTransport

from bench.client import Client, encode, mark_in, marked
from bench.tally import Series, Tally

ECHO = "/echo"
"""On this path, what a client sends comes back to it alone."""


class PlainClient(Client):
    """Sends the same bytes as Greenroom's client, to a server that does not look at them."""

    def __init__(self, tally: Tally, name: str) -> None:
        super().__init__(tally, name)
        self.ref = 0
        self.echoing: deque[tuple[Series, int]] = deque()

    async def address(self, url: str, room: str | None) -> str:
        return url + (ECHO if room is None else "/room/" + quote(room))

    def echo(self, series: Series, scheduled_ns: int) -> None:
        self.ref += 1
        self.echoing.append((series, scheduled_ns))
        series.expect(scheduled_ns)
        self.send_bytes(encode({"op": "ping", "ref": self.ref}))

    def say(self, room: str, scheduled_ns: int, length: int) -> None:
        self.ref += 1
        body = marked(scheduled_ns, length)
        self.send_bytes(encode({"op": "room.send", "ref": self.ref, "room": room, "body": body}))

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        if self.echoing:  # one connection's echoes come in the order they were asked for
            series, scheduled_ns = self.echoing.popleft()
            series.end(scheduled_ns)
        else:
            due = mark_in(frame.get_payload_as_bytes())
            if due is not None:
                self.delivered.end(due)
