"""The routes of chat's ops: every request goes to the room that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.chat.messages import ListMembers, Post, ReadRoomHistory, room_topic
from actors.edge.identity import Identity
from actors.edge.routes import AskOwner, JoinTopic, LeaveTopic, Route
from protocol.messages.envelope import Request
from protocol.messages.room import RoomHistory, RoomJoin, RoomLeave, RoomMembers, RoomSend


def _topic(
    _: Identity, request: RoomJoin | RoomLeave | RoomSend | RoomHistory | RoomMembers
) -> str:
    return room_topic(request.room)


ROUTES: Final[Mapping[type[Request], Route]] = {
    RoomJoin: JoinTopic(_topic),
    RoomLeave: LeaveTopic(_topic),
    RoomSend: AskOwner(
        _topic, lambda who, request: Post(who, request.body, request.key), outlives=True
    ),
    RoomHistory: AskOwner(
        _topic, lambda who, request: ReadRoomHistory(who, request.before, request.limit)
    ),
    RoomMembers: AskOwner(_topic, lambda who, _: ListMembers(who)),
}
