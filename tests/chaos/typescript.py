"""A chatting client of a chaos run that is the TypeScript client, and records what it yields.

The other players read the wire themselves. This one shows that who uses the client is told the
truth: what it yields, less what it says is void or missing, is what the log holds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import trio

from protocol.client import ClientError, ClientSettings, Gap, ReconnectBackoff, RequestFailed
from protocol.messages.room import Message, RoomJoined, RoomLeft, Sent
from tests.chaos.history import History, Placed, Saw, Send
from tests.protocol.js.driven import DrivenRoom, connect

SETTINGS = ClientSettings(
    backoff=ReconnectBackoff(first_s=0.05, max_s=0.5), request_timeout_s=8.0, connect_timeout_s=2.0
)
ATTEMPTS = 12


class TypeScriptChatter:
    """One client in one room.

    Attributes:
        sessions: how many sessions it has opened; more than one if one was over for good.
        read: how many messages it was given.
    """

    def __init__(
        self, url: str, name: str, room: str, history: History, rng: random.Random
    ) -> None:
        self.name = name
        self.room = room
        self.sessions = 0
        self.read = 0
        self._url = url
        self._history = history
        self._rng = rng
        self._sent = 0

    async def run(self, quiet: Callable[[], bool]) -> None:
        """Talk until it is to be quiet, and listen until cancelled."""
        while True:
            try:
                async with connect(self._url, name=self.name, settings=SETTINGS) as session:
                    self.sessions += 1
                    room = await session.join(self.room)
                    self._joined(room)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._talk, room, session.opened.user, quiet)
                        await self._listen(room)
            except* ClientError:
                self._placed("lost", 0, 0)
            await trio.sleep(self._rng.uniform(0.1, 0.5))

    async def _talk(self, room: DrivenRoom, user: str, quiet: Callable[[], bool]) -> None:
        while not quiet():
            self._sent += 1
            body = f"{self.name}-{self._sent}"
            for _ in range(ATTEMPTS):
                sent = await self._send(room, user, body)
                if sent.outcome == "ok" or (sent.outcome == "error" and not sent.retry):
                    break
                await trio.sleep(self._rng.uniform(0.05, 0.3))
            await trio.sleep(self._rng.uniform(0.0, 0.2))

    async def _send(self, room: DrivenRoom, user: str, body: str) -> Send:
        called_at, answered_at = trio.current_time(), math.inf
        answer: Sent | None = None
        failed: ClientError | None = None
        try:
            answer = await room.send(body, key=body)
        except ClientError as error:
            failed = error
        refused = failed if isinstance(failed, RequestFailed) else None
        if answer is not None or refused is not None:
            answered_at = trio.current_time()
        record = Send(
            self.name, user, self.room, body, body, called_at, answered_at,
            "ok" if answer is not None else "error" if refused is not None else "none",
            offset=0 if answer is None else answer.offset,
            code="" if refused is None else refused.code,
            retry=refused is not None and refused.retry,
        )  # fmt: skip
        self._history.sends.append(record)
        return record

    async def _listen(self, room: DrivenRoom) -> None:
        async for update in room.updates():
            match update:
                case Message(offset=offset, body=body):
                    self.read += 1
                    self._history.stream.append(Saw(self.name, self.room, offset, body))
                case Gap(cause="void", first=first):
                    self._placed("restarted", 0, first - 1)
                case Gap(cause="away", last=last):
                    self._placed("reset", 0, last)
                case Gap():
                    raise AssertionError(f"{self.name}: {update}")
                case RoomJoined() | RoomLeft():
                    pass

    def _joined(self, room: DrivenRoom) -> None:
        held = tuple((message.offset, message.body) for message in room.backlog)
        # Where the room stood at the join; the position may be further by now.
        offset = held[-1][0] if held else 0
        self._placed("joined", room.position.epoch, offset, held)

    def _placed(
        self, how: Any, epoch: int, offset: int, held: tuple[tuple[int, str], ...] = ()
    ) -> None:
        self._history.stream.append(Placed(self.name, self.room, how, epoch, offset, held))
