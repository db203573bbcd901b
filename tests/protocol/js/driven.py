"""The TypeScript client behind the face of the Python client, so that it has to pass its tests.

`connect` starts Node.js with driver.mjs, which does with the client what it is told. What comes
back is turned into the types of the Python client: messages, gaps, errors.
"""

from __future__ import annotations

import itertools
import math
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import msgspec
import trio

from protocol.client import (
    CannotConnect,
    ClientError,
    ClientSettings,
    Connected,
    ConnectionLost,
    Disconnected,
    Gap,
    Reconnecting,
    RequestFailed,
    RequestTimedOut,
    TopicGone,
)
from protocol.errors import CloseCode
from protocol.messages import EVERY_OP
from protocol.messages.envelope import Position, Request
from protocol.messages.inbox import Entry, InboxEntry, InboxMark, InboxPage
from protocol.messages.match import InputTaken, MatchEnded, MatchSummary
from protocol.messages.room import History, Member, Message, RoomMessage, Sent
from protocol.messages.session import SessionOpened
from protocol.remote.errors import close_row
from protocol.remote.settings import Status
from tests.protocol.js.tools import node

DRIVER: Final = Path(__file__).with_name("driver.mjs")
LIMIT_S = 60.0
T = TypeVar("T")


class Driver:
    """One Node.js process, and what it is asked."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._reading = trio.CancelScope(shield=True)
        self._sending = trio.Lock()
        self._ids = itertools.count()
        self._over = False
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self.sessions = itertools.count()
        self.connected: dict[int, bool] = {}
        """Of sessions whose connection broke or came back."""

    async def read(self) -> None:
        """Take what the process says until `stop`: also of a program that is cancelled."""
        with self._reading:
            await self._read()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._reading.cancel()
        self._ended()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                said = msgspec.json.decode(line)
                if "id" in said:
                    waiting = self._answers.pop(said["id"], None)
                    if waiting is not None:
                        waiting.send_nowait(said)
                else:
                    self.connected[said["session"]] = said["connected"]
        self._ended()

    def _ended(self) -> None:
        self._over = True
        for waiting in self._answers.values():
            waiting.close()

    async def ask(self, command: str, **fields: Any) -> Any:
        """Have a command done; returns its answer, or raises its error."""
        if self._over:
            raise Disconnected("the client's process has ended")
        number = next(self._ids)
        give, take = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[number] = give
        assert self._process.stdin is not None
        line = msgspec.json.encode({"id": number, "command": command, **fields})
        async with self._sending:
            await self._process.stdin.send_all(line + b"\n")
        said = await take.receive()
        if "error" in said:
            raise _raised(said["error"])
        return said["answer"]


class Counted(msgspec.Struct):
    """What a feed counts."""

    dropped: int
    conflated: int


class DrivenTopic:
    """A room, match or inbox."""

    def __init__(self, driver: Driver, kept: dict[str, Any]) -> None:
        self._driver = driver
        self._handle = kept["handle"]
        self.seen: dict[str, Any] = kept["seen"]

    @property
    def position(self) -> Position:
        return msgspec.convert(self.seen["position"], Position)

    @property
    def feed(self) -> Counted:
        return msgspec.convert(self.seen["feed"], Counted)

    async def act(self, what: str, *given: Any) -> Any:
        done = await self._driver.ask("act", handle=self._handle, what=what, given=given)
        self.seen = done["seen"]
        return done.get("answer")

    async def leave(self) -> None:
        await self.act("leave")

    async def next(self) -> Any:
        done = await self._driver.ask("next", handle=self._handle)
        self.seen = done["seen"]
        if done["done"]:
            raise StopAsyncIteration
        return _update(done["update"])

    def updates(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self.next()


class DrivenRoom(DrivenTopic):
    """A room; iterating it yields messages and gaps, reading `updates()` everything."""

    @property
    def members(self) -> list[Member]:
        return msgspec.convert(self.seen["members"], list[Member])

    @property
    def members_total(self) -> int:
        return int(self.seen["membersTotal"])

    @property
    def backlog(self) -> Sequence[Message]:
        return msgspec.convert(self.seen["backlog"], tuple[Message, ...])

    async def send(self, body: str, *, key: str | None = "") -> Sent:
        return msgspec.convert(await self.act("send", body, _keyed(key)), Sent)

    async def history(self, *, before: int = 0, limit: int = 50) -> History:
        page = await self.act("history", {"before": before, "limit": limit})
        return msgspec.convert(page, History)

    async def refresh_members(self) -> list[Member]:
        return msgspec.convert(await self.act("refreshMembers"), list[Member])

    def updates(self) -> Any:
        return _Updates(self)

    async def __anext__(self) -> Message | Gap:
        while True:
            update = await self.next()
            if isinstance(update, Message | Gap):
                return update


class _Updates:
    def __init__(self, room: DrivenRoom) -> None:
        self._room = room

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self._room.next()


class DrivenMatch(DrivenTopic):
    """A match."""

    @property
    def ended(self) -> MatchEnded | None:
        found = self.seen.get("ended")
        return None if found is None else msgspec.convert(found, MatchEnded)

    @property
    def last_seq(self) -> int:
        return int(self.seen["lastSeq"])

    @property
    def tick_hz(self) -> float:
        return float(self.seen["tickHz"])

    def __getattr__(self, name: str) -> Any:
        return self.seen[name]

    async def input(self, value: Any) -> InputTaken:
        return msgspec.convert(await self.act("input", value), InputTaken)


class DrivenInbox(DrivenTopic):
    """The inbox."""

    def __getattr__(self, name: str) -> Any:
        return self.seen[name]

    async def mark_read(self, offset: int | None = None) -> InboxMark:
        given = () if offset is None else (offset,)
        return msgspec.convert(await self.act("markRead", *given), InboxMark)

    async def history(self, *, before: int = 0, limit: int = 50) -> InboxPage:
        page = await self.act("history", {"before": before, "limit": limit})
        return msgspec.convert(page, InboxPage)


class DrivenSession:
    """A session."""

    def __init__(self, driver: Driver, number: int, opened: SessionOpened) -> None:
        self._driver = driver
        self._number = number
        self._topics: dict[int, DrivenTopic] = {}
        self.opened = opened

    @property
    def connected(self) -> bool:
        return self._driver.connected.get(self._number, True)

    async def ask(self, command: str, **fields: Any) -> Any:
        return await self._driver.ask(command, session=self._number, **fields)

    def _kept(self, kind: type[DrivenTopic], kept: dict[str, Any]) -> Any:
        topic = self._topics.setdefault(kept["handle"], kind(self._driver, kept))
        topic.seen = kept["seen"]
        return topic

    async def join(self, room: str) -> DrivenRoom:
        found: DrivenRoom = self._kept(DrivenRoom, await self.ask("join", room=room))
        return found

    async def join_match(self, match: str) -> DrivenMatch:
        found: DrivenMatch = self._kept(DrivenMatch, await self.ask("joinMatch", match=match))
        return found

    async def create_match(
        self, game: str, params: dict[str, Any] | None = None, *, key: str | None = ""
    ) -> DrivenMatch:
        given = {"game": game, "params": params or {}, **_keyed(key)}
        found: DrivenMatch = self._kept(DrivenMatch, await self.ask("createMatch", **given))
        return found

    async def inbox(self) -> DrivenInbox:
        found: DrivenInbox = self._kept(DrivenInbox, await self.ask("inbox"))
        return found

    async def matches(self, game: str | None = None, *, limit: int = 50) -> list[MatchSummary]:
        found = await self.ask("matches", game=game, limit=limit)
        return msgspec.convert(found, list[MatchSummary])

    async def ping(self) -> float:
        return float(await self.ask("ping")) / 1000

    async def request(
        self, request: Request, answer: type[T], *, timeout_s: float | None = None
    ) -> T:
        fields = msgspec.to_builtins(request)
        op = fields.pop("op")
        options = {} if timeout_s is None else {"timeoutMs": timeout_s * 1000}
        found = await self.ask("request", op=op, fields=fields, options=options)
        return msgspec.convert(found, answer)

    def statuses(self) -> _Statuses:
        return _Statuses(self)


class _Statuses:
    def __init__(self, session: DrivenSession) -> None:
        self._session = session

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Status:
        found = await self._session.ask("status")
        if found.get("done"):
            raise StopAsyncIteration
        if found["status"] == "connected":
            return Connected(found["resumed"])
        error = ClientError(found["why"])
        return Reconnecting(found["why"], found["attempt"], found["waitMs"] / 1000, error)


@asynccontextmanager
async def driver(program: Path = DRIVER) -> AsyncIterator[Driver]:
    """A Node.js process for the time of the block."""
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            node(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        running = Driver(process)
        try:
            nursery.start_soon(running.read)
            yield running
        finally:
            running.stop()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await process.wait()


@asynccontextmanager
async def connect(
    url: str,
    *,
    name: str | None = None,
    resume: str | None = None,
    encoding: Literal["msgpack", "json"] = "msgpack",
    settings: ClientSettings | None = None,
    rng: object = None,
) -> AsyncIterator[DrivenSession]:
    """As `protocol.client.connect`, by the TypeScript client in a process of its own."""
    del rng  # it draws its own
    given: dict[str, Any] = {
        "encoding": encoding,
        "settings": _settings(settings or ClientSettings()),
    }
    given |= {"name": name} if resume is None else {"resume": resume}
    raised: BaseException | None = None
    async with driver() as running:
        number = next(running.sessions)
        try:
            opened = await running.ask("connect", session=number, url=url, options=given)
            session = DrivenSession(running, number, msgspec.convert(opened, SessionOpened))
            try:
                yield session
            finally:
                with trio.move_on_after(LIMIT_S, shield=True):
                    await session.ask("close")
        except Exception as error:
            raised = error  # as it is, not in a group
    if raised is not None:
        raise raised


def _settings(settings: ClientSettings) -> dict[str, Any]:
    backoff = settings.backoff
    found = {
        "connectTimeoutMs": settings.connect_timeout_s * 1000,
        "requestTimeoutMs": settings.request_timeout_s * 1000,
        "closeTimeoutMs": settings.close_timeout_s * 1000,
        "stableAfterMs": settings.stable_after_s * 1000,
        "inFlight": settings.in_flight,
        "buffer": settings.buffer,
        "backoff": {
            "firstMs": backoff.first_s * 1000,
            "factor": backoff.factor,
            "maxMs": backoff.max_s * 1000,
            "drainedMs": backoff.drained_s * 1000,
        },
    }
    if settings.give_up_after_s < math.inf:
        found["giveUpAfterMs"] = settings.give_up_after_s * 1000
    return found


def _keyed(key: str | None) -> dict[str, Any]:
    return {} if key == "" else {"key": key}


def _update(update: dict[str, Any]) -> Any:
    if update["op"] == "gap":
        return Gap(update["cause"], update["first"], update["last"])
    push = msgspec.convert(update, EVERY_OP.server_union)
    if isinstance(push, RoomMessage):
        return Message(push.offset, push.user, push.name, push.body, push.at)
    if isinstance(push, InboxEntry):
        return Entry(push.offset, push.type, push.payload, push.at)
    return push


def _raised(error: dict[str, Any]) -> Exception:
    message = error["message"]
    match error["name"]:
        case "RequestFailed":
            in_ms = error.get("retryInMs")
            text = message.split(": ", 2)[2]
            return RequestFailed(
                error["op"],
                error["code"],
                text,
                retry=error["retry"],
                retry_in_s=None if in_ms is None else in_ms / 1000,
            )
        case "RequestTimedOut":
            return RequestTimedOut(error["op"], error["timeoutMs"] / 1000, sent=error["sent"])
        case "ConnectionLost":
            return ConnectionLost(error["op"])
        case "Disconnected":
            return Disconnected(message, _close(error.get("close")), code=error["code"])
        case "TopicGone":
            return TopicGone(error["topic"], error["code"])
        case "CannotConnect":
            why = message.partition(f"{error['url']}: ")[2]
            return CannotConnect(error["url"], why, permanent=error["permanent"])
        case "ClientError":
            return ClientError(message)
        case name:
            return {"TypeError": TypeError, "RangeError": RecursionError}.get(name, ValueError)(
                message
            )


def _close(close: dict[str, Any] | None) -> CloseCode | None:
    return None if close is None else close_row(close["code"])
