"""The service of friends: requests, friendships and blocks between users."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from actors.edge.routes import AskService
from actors.friends.commands import COMMANDS, SERVICE
from actors.friends.desk import FriendDesk
from actors.friends.queries import QUERIES, BlocksOf
from actors.friends.settings import FriendSettings
from actors.friends.watch import BlockWatch
from actors.runtime.child import ChildSpec
from actors.service import Frame, Running, Service
from protocol.http.metrics import Reading, counter
from protocol.messages import friend
from protocol.messages.friend import (
    BlockAdd,
    BlockList,
    BlockRemove,
    FriendAccept,
    FriendDecline,
    FriendList,
    FriendMutual,
    FriendPlayed,
    FriendRemove,
    FriendRequest,
    FriendSuggest,
)


def start(frame: Frame) -> Running:
    """Have the hub know of blocks, and on a node of a cluster look for those of other nodes."""
    settings = frame.settings.section(SERVICE, FriendSettings)
    facts, blocks = frame.facts, frame.topics.blocks
    blocks.source = lambda user: facts.ask(BlocksOf(user))
    desk = FriendDesk(settings, facts, frame.topics.users.anywhere, blocks)
    if frame.system.clustered:
        make = partial(BlockWatch, facts, blocks, settings.look_every_s)
        frame.system.supervise([ChildSpec(id="0", factory=make)], key="block-watch")
    return Running(
        routes={
            FriendRequest: AskService(desk.request, outlives=True),
            FriendAccept: AskService(desk.accept, outlives=True),
            FriendDecline: AskService(desk.decline, outlives=True),
            FriendRemove: AskService(desk.remove, outlives=True),
            FriendList: AskService(desk.friends),
            FriendMutual: AskService(desk.mutual),
            FriendSuggest: AskService(desk.suggest),
            FriendPlayed: AskService(desk.played),
            BlockAdd: AskService(desk.block, outlives=True),
            BlockRemove: AskService(desk.unblock, outlives=True),
            BlockList: AskService(desk.blocks),
        },
        readings=partial(readings, desk),
        export=desk.export,
        erase=desk.erase,
    )


def readings(desk: FriendDesk) -> Iterator[Reading]:
    """Yield the metrics of friends."""
    for what, count in desk.changed.items():
        yield counter("friends_changed", "Requests about ties that acted.", count, what=what)
    for code, count in desk.refused.items():
        yield counter("friends_refused", "Those refused, by why.", count, code=code)


FRIENDS: Final = Service(
    name=SERVICE,
    area=friend.AREA,
    sections={SERVICE: FriendSettings},
    kinds={},
    start=start,
    commands=lambda _: COMMANDS,
    queries=lambda _: QUERIES,
)
