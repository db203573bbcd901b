"""Owners of topics, sessions and hubs can be on other nodes: all that they take can cross."""

from __future__ import annotations

from typing import Any, cast

import pytest

from actors.chat.room import room_kind
from actors.chat.settings import RoomSettings
from actors.cluster.codec import KindCodec, Names
from actors.edge.hub_actor import hub_kind
from actors.edge.hub_messages import TO_HUBS
from actors.edge.identity import Identity
from actors.edge.session import Session, TakenOver
from actors.edge.topic_messages import Join, Leave, Part, RemovedFromTopic, Resume, Resumed
from actors.edge.topics import Topics
from actors.inbox.host import InboxHost
from actors.inbox.settings import InboxSettings
from actors.inbox.user import user_kind
from actors.matches.host import MatchHost
from actors.matches.match_kind import match_kind
from actors.runtime.kinds import Kind

NOTHING = cast("Any", None)
HOST = InboxHost(
    topics=Topics(), facts=NOTHING, settings=InboxSettings(), online=NOTHING, counters=NOTHING
)
OWNERS = [
    room_kind(Topics(), RoomSettings(), lambda: 0),
    match_kind(MatchHost({}, Topics(), clock_ms=lambda: 0)),
    user_kind(HOST),
]
WHO = Identity("n1.7/s", "u", "Ada", roles=frozenset({"admin"}))


def codec(kind: Kind, now: float = 0.0) -> KindCodec:
    return KindCodec(kind, Names(NOTHING, lambda _: True), lambda: now)


@pytest.mark.parametrize("kind", OWNERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "message",
    [
        Join(WHO, 3, 5.0, 1000),
        Resume(WHO, 3, epoch=2, offset=9, until=5.0),
        Leave(WHO),
        Part(WHO, keep_place=True),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_a_session_asks_of_an_owner_crosses_and_a_deadline_is_kept(
    kind: Kind, message: Any
) -> None:
    name, payload = codec(kind, now=1.0).encode("k", message)
    decoded = codec(kind, now=101.0).decode("k", name, payload)
    if isinstance(message, Join | Resume):
        assert decoded.until == 105.0
        decoded = type(decoded)(**{**_fields(decoded), "until": 5.0})
    assert decoded == message


@pytest.mark.parametrize("kind", OWNERS, ids=lambda kind: kind.name)
def test_whether_a_resume_is_put_off_crosses(kind: Kind) -> None:
    there = codec(kind)
    name, payload = there.encode_answer("Resume", Resumed.LATER)
    assert there.decode_answer(Resume, name, payload) is Resumed.LATER


def test_a_hub_takes_what_hubs_send() -> None:
    there = codec(hub_kind(Topics(), NOTHING))
    assert set(TO_HUBS) == there.taken


def test_a_session_takes_what_other_nodes_tell_it_and_nothing_else() -> None:
    there = codec(Kind("session", lambda _: NOTHING, placement="node", actor=Session))
    assert there.taken == {TakenOver, RemovedFromTopic}


def _fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}
