"""The routes of clients' requests to matches and their directory."""

from __future__ import annotations

from collections.abc import Mapping

from actors.edge.identity import Identity
from actors.edge.routes import AskOwner, AskService, JoinTopic, LeaveTopic, Route
from actors.matches.directory import Directory
from actors.matches.messages import Input, Repeat, match_topic
from protocol.messages.envelope import Request
from protocol.messages.match import MatchCreate, MatchInput, MatchJoin, MatchLeave, MatchList


def _topic(_: Identity, request: MatchJoin | MatchLeave | MatchInput) -> str:
    return match_topic(request.match)


def match_routes(directory: Directory) -> Mapping[type[Request], Route]:
    """Return the route of each op."""
    return {
        MatchCreate: AskService(directory.create, activates=True),
        MatchList: AskService(directory.list),
        MatchJoin: JoinTopic(_topic),
        MatchLeave: LeaveTopic(_topic),
        MatchInput: AskOwner(
            _topic,
            lambda who, request: Input(who, request.seq, request.input),
            again=lambda who, request: Repeat(who, request.seq, request.input),
            outlives=True,
        ),
    }
