"""The routes of clients' requests to inboxes.

Every session reaches the inbox of its own user only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.edge.identity import Identity
from actors.edge.routes import AskOwner, JoinTopic, LeaveTopic, Route
from actors.inbox.messages import MarkRead, ReadHistory, user_topic
from protocol.messages.envelope import Request
from protocol.messages.inbox import InboxHistory, InboxJoin, InboxLeave, InboxRead


def _topic(who: Identity, _: Request) -> str:
    return user_topic(who.user)


ROUTES: Final[Mapping[type[Request], Route]] = {
    InboxJoin: JoinTopic(_topic),
    InboxLeave: LeaveTopic(_topic),
    InboxHistory: AskOwner(
        _topic, lambda who, request: ReadHistory(who, request.before, request.limit)
    ),
    InboxRead: AskOwner(_topic, lambda who, request: MarkRead(who, request.offset), outlives=True),
}
