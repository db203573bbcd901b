"""What a client of version 1 knows: the messages of commit 495577338c62, word for word.

There are clients of that age that nobody rebuilds. This is their decoder: it is never changed, and
what the server sends today must pass it. It is apart from `protocol.messages` on purpose.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

# --- envelope ---

MAX_REF = 2**53 - 1

Ref = Annotated[int, Meta(ge=0, le=MAX_REF)]

Key = Annotated[str, Meta(min_length=1, max_length=64)]

Name = Annotated[str, Meta(min_length=1, max_length=64)]

Ident = Annotated[str, Meta(pattern="^[A-Za-z0-9_.:\\-]{1,64}\\Z")]


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", gc=False):
    ref: Ref | None = None


class Push(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", gc=False, omit_defaults=True):
    pass


class Ok(msgspec.Struct, frozen=True, tag_field="op", tag="ok", gc=False):
    ref: int
    data: Any = None


class ErrorReply(msgspec.Struct, frozen=True, tag_field="op", tag="error", gc=False):
    ref: int | None
    code: str
    message: str
    retry: bool = False
    refs: list[int] | msgspec.UnsetType = msgspec.UNSET


class Position(msgspec.Struct, frozen=True, gc=False):
    epoch: int
    offset: Annotated[int, Meta(ge=0)]


# --- session ---

Token = Annotated[str, Meta(min_length=1, max_length=1024)]

Topic = Annotated[str, Meta(pattern="^(room|match):[A-Za-z0-9_.:\\-]{1,64}\\Z")]


class SessionOpen(Request, frozen=True, kw_only=True, tag="session.open", gc=False):
    name: Name


class SessionResume(Request, frozen=True, kw_only=True, tag="session.resume", gc=False):
    token: Token
    positions: Annotated[dict[Topic, Position], Meta(max_length=1024)] = msgspec.field(
        default_factory=dict
    )


class SessionClose(Request, frozen=True, kw_only=True, tag="session.close", gc=False):
    pass


class Ping(Request, frozen=True, kw_only=True, tag="ping", gc=False):
    pass


class SessionOpened(msgspec.Struct, frozen=True, gc=False):
    session: str
    user: str
    name: str
    token: str
    resumed: bool
    resume_within_s: float
    keepalive_s: float
    max_message_bytes: int


class Pong(msgspec.Struct, frozen=True, gc=False):
    time: int


class TopicLost(Push, frozen=True, kw_only=True, tag="topic.lost", gc=False):
    topic: str
    code: str


# --- room ---

Body = Annotated[str, Meta(min_length=1, max_length=65536)]


class RoomJoin(Request, frozen=True, kw_only=True, tag="room.join", gc=False):
    room: Ident


class RoomLeave(Request, frozen=True, kw_only=True, tag="room.leave", gc=False):
    room: Ident


class RoomSend(Request, frozen=True, kw_only=True, tag="room.send", gc=False):
    room: Ident
    body: Body
    key: Key | None = None


class RoomHistory(Request, frozen=True, kw_only=True, tag="room.history", gc=False):
    room: Ident
    before: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1)] = 50


class RoomMembers(Request, frozen=True, kw_only=True, tag="room.members", gc=False):
    room: Ident


class Member(msgspec.Struct, frozen=True, gc=False):
    user: str
    name: str


class Message(msgspec.Struct, frozen=True, gc=False):
    offset: int
    user: str
    name: str
    body: str
    at: int


class RoomState(msgspec.Struct, frozen=True, gc=False):
    room: str
    epoch: int
    offset: int
    members: list[Member]
    members_total: int
    messages: list[Message]


class Sent(msgspec.Struct, frozen=True, gc=False):
    offset: int
    at: int


class History(msgspec.Struct, frozen=True, gc=False):
    messages: list[Message]
    more: bool


class Members(msgspec.Struct, frozen=True, gc=False):
    members: list[Member]
    members_total: int


class RoomMessage(Push, frozen=True, kw_only=True, tag="room.message", gc=False):
    room: str
    offset: int
    user: str
    name: str
    body: str
    at: int


class RoomJoined(Push, frozen=True, kw_only=True, tag="room.joined", gc=False):
    room: str
    offset: int
    member: Member


class RoomLeft(Push, frozen=True, kw_only=True, tag="room.left", gc=False):
    room: str
    offset: int
    member: Member


class RoomRecovered(Push, frozen=True, kw_only=True, tag="room.recovered", gc=False):
    room: str
    recovered: bool
    epoch: int
    offset: int
    members: list[Member]
    members_total: int
    messages: list[Message]


class RoomRestarted(Push, frozen=True, kw_only=True, tag="room.restarted", gc=False):
    room: str
    epoch: int
    offset: int


# --- match ---


class MatchCreate(Request, frozen=True, kw_only=True, tag="match.create", gc=False):
    game: Ident
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    key: Key | None = None


class MatchList(Request, frozen=True, kw_only=True, tag="match.list", gc=False):
    game: Ident | None = None
    limit: Annotated[int, Meta(ge=1)] = 50


class MatchJoin(Request, frozen=True, kw_only=True, tag="match.join", gc=False):
    match: Ident


class MatchLeave(Request, frozen=True, kw_only=True, tag="match.leave", gc=False):
    match: Ident


class MatchInput(Request, frozen=True, kw_only=True, tag="match.input", gc=False):
    match: Ident
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    input: Any


class MatchSummary(msgspec.Struct, frozen=True, gc=False):
    match: str
    game: str
    players: int
    max_players: int
    created: int


class MatchCreated(msgspec.Struct, frozen=True, gc=False):
    match: str


class Matches(msgspec.Struct, frozen=True, gc=False):
    matches: list[MatchSummary]


class MatchState(msgspec.Struct, frozen=True, gc=False):
    match: str
    game: str
    epoch: int
    offset: int
    tick: int
    tick_hz: float
    players: list[str]
    state: Any
    names: dict[str, str] = msgspec.field(default_factory=dict)
    acks: dict[str, int] = msgspec.field(default_factory=dict)


class InputTaken(msgspec.Struct, frozen=True, gc=False):
    tick: int
    durable: bool


class MatchStatePush(Push, frozen=True, kw_only=True, tag="match.state", gc=False):
    match: str
    offset: int
    tick: int
    state: Any
    acks: dict[str, int]


class MatchEvent(Push, frozen=True, kw_only=True, tag="match.event", gc=False):
    match: str
    offset: int
    kind: str
    player: str | None = None
    data: Any = None


class MatchEnded(Push, frozen=True, kw_only=True, tag="match.ended", gc=False):
    match: str
    offset: int
    result: Any
    failed: bool = False


class MatchRecovered(Push, frozen=True, kw_only=True, tag="match.recovered", gc=False):
    match: str
    recovered: bool
    epoch: int
    offset: int
    tick: int
    players: list[str]
    state: Any
    events: list[MatchEvent]
    names: dict[str, str] = msgspec.field(default_factory=dict)
    acks: dict[str, int] = msgspec.field(default_factory=dict)


class MatchRestarted(Push, frozen=True, kw_only=True, tag="match.restarted", gc=False):
    match: str
    epoch: int
    offset: int
    tick: int
    state: Any


# --- the tables ---

PUSHES = {
    str(push.__struct_config__.tag): push
    for push in (
        TopicLost,
        RoomMessage, RoomJoined, RoomLeft, RoomRecovered, RoomRestarted,
        MatchStatePush, MatchEvent, MatchEnded, MatchRecovered, MatchRestarted,
    )
}  # fmt: skip

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

AnyRequest = (
    SessionOpen | SessionResume | SessionClose | Ping
    | RoomJoin | RoomLeave | RoomSend | RoomHistory | RoomMembers
    | MatchCreate | MatchList | MatchJoin | MatchLeave | MatchInput
)  # fmt: skip

AnyServerMessage = (
    Ok | ErrorReply | TopicLost
    | RoomMessage | RoomJoined | RoomLeft | RoomRecovered | RoomRestarted
    | MatchStatePush | MatchEvent | MatchEnded | MatchRecovered | MatchRestarted
)  # fmt: skip

# --- as the client of then used them ---

DECODE_SERVER = {
    "msgpack": msgspec.msgpack.Decoder(AnyServerMessage).decode,
    "json": msgspec.json.Decoder(AnyServerMessage).decode,
}
DECODE_REQUEST = {
    "msgpack": msgspec.msgpack.Decoder(AnyRequest).decode,
    "json": msgspec.json.Decoder(AnyRequest).decode,
}
