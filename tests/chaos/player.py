"""A client that records all it does and sees. After a break it reconnects and resumes.

It is written on trio-websocket and the msgpack package from PROTOCOL.md alone: a second
implementation, which shares no code with the server or with the project's own client.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import msgpack
import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from tests.chaos.history import History, Input, Made, Placed, Saw, Send, State

CONNECT_WITHIN_S = 0.5
"""A time-out is needed because trio-websocket waits on if the stream ends during the handshake. It
doubles with each failure, up to `ANSWER_WITHIN_S`: on a busy machine handshakes take their time."""

ANSWER_WITHIN_S = 8.0
"""Longer than the server's own deadline for a request, so that the server answers first."""


class BrokenError(Exception):
    """The connection ended before the answer came."""


class Player:
    """One client. `run` keeps it connected until cancelled; the rest acts on whatever is open."""

    def __init__(self, url: str, name: str, history: History, rng: random.Random) -> None:
        self.name = name
        self.user = ""
        self.history = history
        self.connections = 0
        self.closes: dict[int, int] = {}
        self._host, self._path = urlsplit(url).netloc, urlsplit(url).path
        self._port = urlsplit(url).port or 80
        self._rng = rng
        self._token: str | None = None
        self._positions: dict[str, tuple[int, int]] = {}
        self._rooms: set[str] = set()
        self._listens = False
        self._matches: set[str] = set()
        self._socket: WebSocketConnection | None = None
        self._stream: trio.SocketStream | None = None  # the one under the WebSocket
        self._open = trio.Event()
        self._refs = 0
        self._waiting: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._sent = 0

    # --- what a test drives ---

    async def join(self, room: str) -> None:
        """Be in a room from now on, across every break."""
        self._rooms.add(room)
        await self._until_done(lambda: self._join_room(room))

    async def listen(self) -> None:
        """Be in one's own inbox from now on, across every break."""
        self._listens = True
        await self._until_done(self._join_inbox)

    async def send(self, room: str, *, attempts: int = 12) -> Send:
        """Send a message with a key, again and again until the answer is final."""
        self._sent += 1
        body = f"{self.name}-{self._sent}"
        attempt = 0
        while True:
            await self._open.wait()
            called_at = trio.current_time()
            try:
                answer = await self._request(op="room.send", room=room, body=body, key=body)
            except (BrokenError, trio.TooSlowError):
                answer = None
            record = self._record_send(room, body, called_at, answer)
            attempt += 1
            if attempt == attempts or not self._again(record):
                return record
            await trio.sleep(self._rng.uniform(0, 0.05 * 2 ** min(attempt, 5)))
            if record.code == "not_joined" and f"room:{room}" not in self._positions:
                with contextlib.suppress(BrokenError, trio.TooSlowError):
                    await self._join_room(room)

    async def request(self, **fields: Any) -> dict[str, Any]:
        """Ask until there is an answer that is not "try again"; return the reply."""
        answers: list[dict[str, Any]] = []

        async def once() -> None:
            answer = await self._request(**fields)
            if answer["op"] == "error" and answer["retry"]:
                raise BrokenError
            answers.append(answer)

        await self._until_done(once)
        return answers[0]

    async def create(self, game: str, key: str) -> str | None:
        """Create a match and return its id; None: it was refused."""
        answer = await self.request(op="match.create", game=game, key=key)
        if answer["op"] == "error":
            return None
        match = str(answer["data"]["match"])
        self.history.made.append(Made(self.name, self.user, key, match))
        return match

    async def play(self, match: str) -> dict[str, Any]:
        """Take a place in a match from now on."""
        self._matches.add(match)
        answer = await self.request(op="match.join", match=match)
        if answer["op"] == "ok":
            data = answer["data"]
            self._positions[f"match:{match}"] = (data["epoch"], data["offset"])
        else:
            self._matches.discard(match)
        return answer

    async def input(self, match: str, seq: int, value: Any) -> dict[str, Any]:
        """Send an input until it is answered. It may be one that was answered before."""
        try:
            answer = await self.request(op="match.input", match=match, seq=seq, input=value)
        except BaseException:
            self.history.inputs.append(Input(self.name, self.user, match, seq, "none"))
            raise
        given = Input(self.name, self.user, match, seq, "error", code=answer.get("code", ""))
        if answer["op"] == "ok":
            tick = answer["data"]["tick"]
            given = msgspec.structs.replace(given, outcome="ok", tick=tick)
            if not answer["data"]["durable"]:
                return answer
        self.history.inputs.append(given)
        return answer

    def in_match(self, match: str) -> bool:
        """Whether a match still goes on, as far as this client was told."""
        return match in self._matches

    def cut(self) -> None:
        """Break the connection without a close frame, as a network would."""
        if self._stream is not None:
            self._stream.socket.close()

    # --- the connection ---

    async def run(self) -> None:
        """Connect, open or resume, read; again after each break, with back-off and jitter."""
        failures = 0
        while True:
            try:
                within_s = min(ANSWER_WITHIN_S, CONNECT_WITHIN_S * 2 ** min(failures, 5))
                with trio.move_on_after(within_s) as connecting:
                    # Opened here, because the library leaves its own stream open when cancelled.
                    stream = await trio.open_tcp_stream("127.0.0.1", self._port)
                    async with stream, trio.open_nursery() as nursery:
                        socket = await wrap_client_stream(
                            nursery, stream, self._host, self._path,
                            subprotocols=["greenroom.v1.msgpack"],
                        )  # fmt: skip
                        connecting.deadline = math.inf
                        self._socket, self._stream = socket, stream
                        self.connections += 1
                        nursery.start_soon(self._introduce)
                        await self._read(socket)
                        failures = 0
                        nursery.cancel_scope.cancel()
                failures += connecting.cancelled_caught
            except* (
                OSError, HandshakeError, ConnectionClosed, BrokenError, trio.TooSlowError,
                trio.BrokenResourceError, trio.ClosedResourceError,
            ):  # fmt: skip
                failures += 1
            finally:
                self._lost()
            await trio.sleep(self._rng.uniform(0, min(1.0, 0.05 * 2 ** min(failures, 5))))

    async def _introduce(self) -> None:
        if self._token is None:
            answer = await self._request(op="session.open", name=self.name)
        else:
            positions = {
                topic: {"epoch": epoch, "offset": offset}
                for topic, (epoch, offset) in self._positions.items()
            }
            answer = await self._request(
                op="session.resume", token=self._token, positions=positions
            )
        if answer["op"] == "error":
            if answer["code"] == "bad_token":
                self._token = None
            raise BrokenError
        self._token = answer["data"]["token"]
        self.user = answer["data"]["user"]
        for room in self._rooms:
            if f"room:{room}" not in self._positions:
                await self._join_room(room)
        if self._listens and f"user:{self.user}" not in self._positions:
            await self._join_inbox()
        self._open.set()

    async def _join_inbox(self) -> None:
        answer = await self._request(op="inbox.join")
        if answer["op"] == "error":
            raise BrokenError

    async def _join_room(self, room: str) -> None:
        answer = await self._request(op="room.join", room=room)
        if answer["op"] == "error":
            raise BrokenError

    async def _read(self, socket: WebSocketConnection) -> None:
        try:
            while True:
                message = msgpack.unpackb(await socket.get_message())
                self._take(message)
        except ConnectionClosed as closed:
            code = closed.reason.code if closed.reason is not None else 1006
            self.closes[int(code)] = self.closes.get(int(code), 0) + 1

    def _lost(self) -> None:
        if self._open.is_set():  # one that is not set is kept: others wait for it
            self._open = trio.Event()
        self._socket = self._stream = None
        waiting, self._waiting = self._waiting, {}
        for channel in waiting.values():
            channel.close()

    async def _request(self, **fields: Any) -> dict[str, Any]:
        socket = self._socket
        if socket is None:
            raise BrokenError
        self._refs += 1
        ref = self._refs
        give, take = trio.open_memory_channel[dict[str, Any]](1)
        self._waiting[ref] = give
        try:
            with trio.fail_after(ANSWER_WITHIN_S):
                await socket.send_message(msgpack.packb({**fields, "ref": ref}))
                answer = await take.receive()
        except (
            ConnectionClosed, trio.EndOfChannel, trio.BrokenResourceError,
            trio.ClosedResourceError, OSError,
        ) as error:  # fmt: skip
            raise BrokenError from error
        finally:
            self._waiting.pop(ref, None)
        return answer

    async def _until_done(self, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._open.wait()
            try:
                await action()
            except (BrokenError, trio.TooSlowError):
                await trio.sleep(self._rng.uniform(0.0, 0.1))
            else:
                return

    # --- what comes in ---

    def _take(self, message: dict[str, Any]) -> None:
        op = message["op"]
        if op in {"ok", "error"}:
            self._answered(message)
        elif op == "room.message":
            self._saw(message["room"], message["offset"], message["body"])
        elif op == "room.recovered":
            how = "recovered" if message["recovered"] else "reset"
            self._placed(message["room"], how, message, message["messages"])
        elif op == "room.restarted":
            self._placed(message["room"], "restarted", message, [])
        elif op == "inbox.entry":
            self._saw(f"user:{message['user']}", message["offset"], _note(message))
        elif op == "inbox.recovered":
            how = "recovered" if message["recovered"] else "reset"
            self._placed(f"user:{message['user']}", how, message, message["entries"])
        elif op == "topic.lost":
            self._lost_topic(message["topic"])
        elif op in {"match.state", "match.recovered", "match.restarted"}:
            self._state(message)
        elif op == "match.event":
            topic = f"match:{message['match']}"
            if topic in self._positions:
                self._positions[topic] = (self._positions[topic][0], message["offset"])
        elif op == "match.ended":
            self._lost_topic(f"match:{message['match']}")

    def _answered(self, message: dict[str, Any]) -> None:
        data = message.get("data")
        if isinstance(data, dict) and "members_total" in data and "room" in data:
            # The answer to a join. It is recorded before whoever waits for it runs, since pushes
            # may follow at once.
            self._placed(data["room"], "joined", data, data["messages"])
        if isinstance(data, dict) and "entries" in data and "user" in data:
            self._placed(f"user:{data['user']}", "joined", data, data["entries"])
        channel = self._waiting.get(message["ref"])
        if channel is not None:
            channel.send_nowait(message)

    def _saw(self, room: str, offset: int, body: str) -> None:
        self.history.stream.append(Saw(self.name, room, offset, body))
        epoch, _ = self._positions.get(_topic(room), (0, 0))
        self._positions[_topic(room)] = (epoch, offset)

    def _lost_topic(self, topic: str) -> None:
        self._positions.pop(topic, None)
        kind, _, key = topic.partition(":")
        if kind in {"room", "user"}:
            room = key if kind == "room" else topic
            self.history.stream.append(Placed(self.name, room, "lost", 0, 0))
        else:
            self._matches.discard(key)

    def _placed(self, room: str, how: Any, at: dict[str, Any], messages: list[Any]) -> None:
        self._positions[_topic(room)] = (at["epoch"], at["offset"])
        held = tuple((each["offset"], each.get("body") or _note(each)) for each in messages)
        self.history.stream.append(Placed(self.name, room, how, at["epoch"], at["offset"], held))

    def _state(self, message: dict[str, Any]) -> None:
        match, back = message["match"], message["op"] != "match.state"
        if back:
            self._positions[f"match:{match}"] = (message["epoch"], message["offset"])
        if not isinstance(message["state"], list):
            return  # a state of another game than the clockwork
        self.history.states.append(
            State(
                self.name,
                match,
                message["state"][0],
                str(message["state"][1]),
                trio.current_time(),
                after_restart=back,
            )
        )

    def _record_send(
        self, room: str, body: str, called_at: float, answer: dict[str, Any] | None
    ) -> Send:
        answered_at = math.inf if answer is None else trio.current_time()
        ok = answer is not None and answer["op"] == "ok"
        record = Send(
            self.name, self.user, room, body, body, called_at, answered_at,
            "none" if answer is None else "ok" if ok else "error",
            offset=answer["data"]["offset"] if ok and answer is not None else 0,
            code="" if ok or answer is None else answer["code"],
            retry=bool(answer is not None and not ok and answer["retry"]),
        )  # fmt: skip
        self.history.sends.append(record)
        return record

    def _again(self, record: Send) -> bool:
        # not_joined: the session is new and its topics are still being recovered.
        return (
            record.outcome == "none" or record.retry or record.code in {"not_joined", "no_session"}
        )


def _topic(room: str) -> str:
    """The topic of a room, or of an inbox, which is recorded by its topic."""
    return room if room.startswith("user:") else f"room:{room}"


def _note(entry: dict[str, Any]) -> str:
    return str(entry["payload"]["note"])
