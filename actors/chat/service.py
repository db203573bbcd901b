"""Chat as a service: rooms that clients join, their messages, and their history."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from actors.chat.history import KIND as HISTORY
from actors.chat.history import reader_specs
from actors.chat.posts import PostsOfUsers
from actors.chat.room import KIND as ROOM
from actors.chat.room import Room, room_kind
from actors.chat.routes import ROUTES
from actors.chat.settings import RoomSettings
from actors.retention import ALL, EVENTS, NAMES, Did, Retention, before_us
from actors.runtime.child import ChildSpec
from actors.runtime.future import Future
from actors.runtime.journal import unix_us
from actors.service import Frame, Running, Service
from persistence.keeping import Keeping
from protocol.messages import room


def start(frame: Frame) -> Running:
    """Start the readers of history, register rooms, and start the deletion of old messages."""
    settings = frame.settings.section("rooms", RoomSettings)
    frame.system.supervise(reader_specs(frame.events), key=HISTORY)
    frame.system.register(room_kind(frame.topics, settings, frame.clock_ms))
    if settings.forgets:
        make = partial(Retention, "rooms", trimming(frame.keeping, settings))
        frame.system.supervise([ChildSpec(id="0", factory=make)], key="room-retention")
    posts = PostsOfUsers(frame.system, frame.keeping)
    return Running(routes=ROUTES, export=posts.export, erase=posts.erase)


def trimming(
    keeping: Keeping, settings: RoomSettings, now_us: Callable[[], int] = unix_us
) -> Callable[[str], Future[Did]]:
    """Return a step of `Retention`: it deletes messages that rooms need not keep any longer."""

    def step(after: str) -> Future[Did]:
        future: Future[Did] = keeping.trim_logs(
            ROOM,
            after=after,
            names=NAMES,
            kept=settings.history_messages or ALL,
            before_us=before_us(settings.history_s, now_us()),
            most=EVENTS,
        )
        return future

    return step


CHAT: Final = Service(
    name="chat",
    area=room.AREA,
    sections={"rooms": RoomSettings},
    kinds={ROOM: Room.events},
    start=start,
)
