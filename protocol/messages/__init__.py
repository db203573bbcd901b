"""Every message of the wire, one module per area, and the one table from op name to type."""

from __future__ import annotations

import msgspec

from protocol.messages.envelope import ErrorReply, Ok, Position, Push, Request
from protocol.messages.match import (
    InputTaken,
    MatchCreate,
    MatchCreated,
    MatchEnded,
    Matches,
    MatchEvent,
    MatchInput,
    MatchJoin,
    MatchLeave,
    MatchList,
    MatchRecovered,
    MatchRestarted,
    MatchState,
    MatchStatePush,
    MatchSummary,
)
from protocol.messages.room import (
    History,
    Member,
    Members,
    Message,
    RoomHistory,
    RoomJoin,
    RoomJoined,
    RoomLeave,
    RoomLeft,
    RoomMembers,
    RoomMessage,
    RoomRecovered,
    RoomRestarted,
    RoomSend,
    RoomState,
    Sent,
)
from protocol.messages.session import (
    Ping,
    Pong,
    SessionClose,
    SessionOpen,
    SessionOpened,
    SessionResume,
    TopicLost,
)

REQUESTS: dict[str, type[Request]] = {
    str(request.__struct_config__.tag): request
    for request in (
        SessionOpen, SessionResume, SessionClose, Ping,
        RoomJoin, RoomLeave, RoomSend, RoomHistory, RoomMembers,
        MatchCreate, MatchList, MatchJoin, MatchLeave, MatchInput,
    )
}  # fmt: skip
"""What a client may send: op -> type."""

PUSHES: dict[str, type[Push]] = {
    str(push.__struct_config__.tag): push
    for push in (
        TopicLost,
        RoomMessage, RoomJoined, RoomLeft, RoomRecovered, RoomRestarted,
        MatchStatePush, MatchEvent, MatchEnded, MatchRecovered, MatchRestarted,
    )
}  # fmt: skip
"""What the server may send on its own account: op -> type."""

DATA: dict[str, type[msgspec.Struct] | None] = {
    "session.open": SessionOpened,
    "session.resume": SessionOpened,
    "session.close": None,
    "ping": Pong,
    "room.join": RoomState,
    "room.leave": None,
    "room.send": Sent,
    "room.history": History,
    "room.members": Members,
    "match.create": MatchCreated,
    "match.list": Matches,
    "match.join": MatchState,
    "match.leave": None,
    "match.input": InputTaken,
}
"""What `ok` carries as `data`: op of the request -> type."""

COSTS: dict[type[Request], int] = {
    SessionOpen: 1, SessionResume: 1, SessionClose: 1, Ping: 1,
    RoomJoin: 2, RoomLeave: 1, RoomSend: 1, RoomHistory: 2, RoomMembers: 2,
    MatchCreate: 5, MatchList: 2, MatchJoin: 2, MatchLeave: 1, MatchInput: 1,
}  # fmt: skip
"""What a request counts towards its session's rate: about what it costs the server, a plain one
being 1. What it has pushed to others is counted apart, by how many they are."""

AnyRequest = (
    SessionOpen | SessionResume | SessionClose | Ping
    | RoomJoin | RoomLeave | RoomSend | RoomHistory | RoomMembers
    | MatchCreate | MatchList | MatchJoin | MatchLeave | MatchInput
)  # fmt: skip
"""The tagged union the decoder takes; a test holds it equal to `REQUESTS`."""

AnyServerMessage = (
    Ok | ErrorReply | TopicLost
    | RoomMessage | RoomJoined | RoomLeft | RoomRecovered | RoomRestarted
    | MatchStatePush | MatchEvent | MatchEnded | MatchRecovered | MatchRestarted
)  # fmt: skip
"""The same for what a client decodes."""

__all__ = [
    "COSTS", "DATA", "PUSHES", "REQUESTS", "AnyRequest", "AnyServerMessage", "ErrorReply",
    "History", "InputTaken", "MatchCreate", "MatchCreated", "MatchEnded", "MatchEvent",
    "MatchInput", "MatchJoin", "MatchLeave", "MatchList", "MatchRecovered", "MatchRestarted",
    "MatchState", "MatchStatePush", "MatchSummary", "Matches", "Member", "Members", "Message",
    "Ok", "Ping", "Pong", "Position", "Push", "Request", "RoomHistory", "RoomJoin", "RoomJoined",
    "RoomLeave", "RoomLeft", "RoomMembers", "RoomMessage", "RoomRecovered", "RoomRestarted",
    "RoomSend", "RoomState", "Sent", "SessionClose", "SessionOpen", "SessionOpened",
    "SessionResume", "TopicLost",
]  # fmt: skip
