"""Each device gets every entry once and in order, or is told that it missed some."""

from __future__ import annotations

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.inbox.settings import InboxSettings
from persistence import PostgresSettings
from protocol.messages import AnyRequest
from protocol.messages.envelope import ErrorReply, Ok, Position
from protocol.messages.inbox import (
    EPOCH,
    InboxEntry,
    InboxHistory,
    InboxJoin,
    InboxLeave,
    InboxMarked,
    InboxPage,
    InboxRead,
    InboxRecovered,
    InboxState,
)
from protocol.messages.session import TopicLost
from tests.actors.inbox.mailroom import Mailroom, open_mailroom, user_of
from tests.actors.players import Player
from tests.actors.served import LIMIT_S

DEVICES = ("desk", "phone")
RECENT = 6
MOST_CRASHES = 3
"""How often one inbox crashes at most: the fourth crash in five seconds would end it."""
ACT = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 4)),
    st.tuples(st.just("flood"), st.integers(5, 20)),
    st.tuples(
        st.sampled_from(["join", "leave", "break", "resume", "resume", "mark"]),
        st.sampled_from(DEVICES),
    ),
    st.tuples(st.just("crash"), st.just(0)),
    st.tuples(st.just("quiet"), st.just(0)),
)


class Model:
    """What was put into the inbox, and the offset up to which it is certainly read."""

    def __init__(self) -> None:
        self.put = 0
        self.read = 0


class Device:
    """A client that follows PROTOCOL.md, and checks everything that it is told."""

    def __init__(self, room: Mailroom, player: Player, model: Model) -> None:
        self.room = room
        self.player = player
        self.model = model
        self.connected = True
        self.joined = False
        self.offset = 0
        self.read = 0
        self._joins: set[int] = set()
        self._leaves: set[int] = set()
        self._replied: dict[int, Ok | ErrorReply] = {}
        self._ref = 1000

    async def ask(self, request: AnyRequest) -> Ok | ErrorReply:
        """Send a request, and read everything up to its answer."""
        self._ref += 1
        if isinstance(request, InboxJoin):
            self._joins.add(self._ref)
        if isinstance(request, InboxLeave):
            self._leaves.add(self._ref)
        self.player.tell(msgspec.structs.replace(request, ref=self._ref))
        with trio.fail_after(LIMIT_S):
            while self._ref not in self._replied:
                self.hear()
                await trio.sleep(0.001)
        return self._replied.pop(self._ref)

    def hear(self) -> None:
        self.player.take()
        for message in self.player.heard:
            self._one(message)
        self.player.heard.clear()
        self.player.pushes.clear()

    def _one(self, message: object) -> None:
        match message:
            case Ok(ref=ref):
                self._replied[ref] = message
                if ref in self._joins:
                    state = msgspec.convert(message.data, InboxState)
                    self.joined, self.offset = True, state.offset
                    self._now_read(state.read)
                    last = [entry.offset for entry in state.entries]
                    assert last == list(range(state.offset - len(last) + 1, state.offset + 1))
                elif ref in self._leaves:
                    self.joined = False
            case ErrorReply(ref=int(ref)):
                self._replied[ref] = message
            case InboxEntry():
                assert message.offset == self.offset + 1
                assert message.payload == message.offset
                self.offset = message.offset
            case InboxRecovered():
                found = [entry.offset for entry in message.entries]
                assert all(entry.payload == entry.offset for entry in message.entries)
                if message.recovered:
                    assert found == list(range(self.offset + 1, message.offset + 1))
                else:
                    assert message.offset - self.offset > RECENT
                assert message.offset >= self.offset
                self.joined, self.offset = True, message.offset
                self._now_read(message.read)
            case InboxMarked():
                self._now_read(message.read)
            case TopicLost():
                raise AssertionError(message)
        assert self.offset <= self.model.put

    def _now_read(self, read: int) -> None:
        assert self.read <= read <= self.model.put
        self.read = read

    async def act(self, what: str) -> None:
        if what == "resume":
            await self.resume()
        elif not self.connected:
            pass
        elif what == "break":
            self.hear()
            self.player.leave()
            self.connected = False
        elif what == "join":
            assert isinstance(await self.ask(InboxJoin()), Ok)
        elif what == "leave":
            assert isinstance(await self.ask(InboxLeave()), Ok)
        elif what == "mark" and self.joined:
            offset = self.offset
            reply = await self.ask(InboxRead(offset=offset))
            assert isinstance(reply, Ok), reply
            assert reply.data["read"] >= offset
            self.model.read = max(self.model.read, offset)

    async def resume(self) -> None:
        if self.connected:
            await self.act("break")
        self.player = self.room.house.connect()
        self.connected = True
        assert self._token
        topic, at = f"user:{self.user}", Position(EPOCH, self.offset)
        await self.player.resume(self._token, {topic: at} if self.joined else {})

    def begin(self) -> None:
        assert self.player.opened is not None
        self._token = self.player.opened.token
        self.user = user_of(self.player)


async def play(
    postgres: PostgresSettings, acts: list[tuple[str, int | str]], *, hints: bool
) -> None:
    small = InboxSettings(recent=RECENT, joined_entries=4, look_every_s=0.01)
    async with open_mailroom(postgres, small, hints=hints) as room:
        model = Model()
        desk = await room.house.player("ada")
        phone = await room.house.second_device(desk)
        devices = {
            name: Device(room, player, model)
            for name, player in zip(DEVICES, (desk, phone), strict=True)
        }
        for device in devices.values():
            device.begin()
        user = user_of(desk)

        async def put(count: int) -> None:
            for _ in range(count):
                model.put += 1
                await room.put(user, payload=model.put, by=f"{model.put}")

        async def quiet() -> None:
            with trio.fail_after(LIMIT_S):
                while any(
                    device.joined and device.connected and device.offset < model.put
                    for device in devices.values()
                ):
                    for device in devices.values():
                        device.hear()
                    await trio.sleep(0.001)

        crashes = 0
        for what, how in acts:
            if what in {"put", "flood"}:
                assert isinstance(how, int)
                await put(how)
            elif what == "crash":
                crashes += 1
                if room.inbox(user) is not None and crashes <= MOST_CRASHES:
                    room.house.break_owner("user", user)
                    await trio.sleep(0)
            elif what == "quiet":
                await quiet()
            else:
                await devices[str(how)].act(what)
        for device in devices.values():
            if not device.connected:
                await device.resume()
        await quiet()
        for device in devices.values():
            await device.act("join")
            reply = await device.ask(InboxHistory(limit=200))
            assert isinstance(reply, Ok)
            page = msgspec.convert(reply.data, InboxPage)
            assert [entry.payload for entry in page.entries] == list(range(1, model.put + 1))
            assert (page.offset, page.more) == (model.put, False)
            assert page.read == model.read == device.read


@settings(max_examples=25)
@given(st.lists(ACT, max_size=14), st.booleans())
def test_each_device_gets_every_entry_once_and_in_order(
    inboxes: PostgresSettings, acts: list[tuple[str, int | str]], hints: bool
) -> None:
    trio.run(lambda: play(inboxes, acts, hints=hints))
