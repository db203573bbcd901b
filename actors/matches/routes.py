"""The routes of clients' requests to matches and their directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.edge.identity import Identity
from actors.edge.routes import AskActor, AskOwner, JoinTopic, LeaveTopic, Route
from actors.matches.messages import DIRECTORY, Create, Input, List, Repeat, match_topic
from protocol.messages.envelope import Request
from protocol.messages.match import MatchCreate, MatchInput, MatchJoin, MatchLeave, MatchList


def _topic(_: Identity, request: MatchJoin | MatchLeave | MatchInput) -> str:
    return match_topic(request.match)


ROUTES: Final[Mapping[type[Request], Route]] = {
    MatchCreate: AskActor(
        DIRECTORY,
        lambda who, request: Create(who, request.game, request.params, request.key),
        activates=True,
    ),
    MatchList: AskActor(DIRECTORY, lambda _, request: List(request.game, request.limit)),
    MatchJoin: JoinTopic(_topic),
    MatchLeave: LeaveTopic(_topic),
    MatchInput: AskOwner(
        _topic,
        lambda who, request: Input(who, request.seq, request.input),
        again=lambda who, request: Repeat(who, request.seq, request.input),
        outlives=True,
    ),
}
