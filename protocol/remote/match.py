"""A match, for one of its players."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.errors import SEQ_TOO_OLD
from protocol.messages.envelope import Position, Request
from protocol.messages.match import (
    MAX_SEQ,
    InputTaken,
    MatchEnded,
    MatchEvent,
    MatchInput,
    MatchJoin,
    MatchLeave,
    MatchRecovered,
    MatchRestarted,
    MatchState,
    MatchStatePush,
)
from protocol.remote.calls import Caller
from protocol.remote.errors import RequestFailed
from protocol.remote.positions import Gap
from protocol.remote.topic import Topic

MatchUpdate = MatchStatePush | MatchEvent | MatchEnded | Gap
MatchPush = MatchStatePush | MatchEvent | MatchEnded | MatchRecovered | MatchRestarted

_STATE = "state"


class Match(Topic[MatchStatePush | MatchEvent | MatchEnded]):
    """A match that the session has joined. `async for` yields states, events and at last the end.

    Every event is yielded once and in order, also after breaks of the connection. If events had to
    be skipped, a `Gap` stands in their place. States are conflated: a slow reader gets only the
    newest. A state follows each break and each crash of the match, so the last state read is always
    true.
    """

    def __init__(self, caller: Caller, state: MatchState, user: str, buffer: int) -> None:
        super().__init__(caller, Position(state.epoch, state.offset), buffer)
        self.id = state.match
        self.game = state.game
        self.tick_hz = state.tick_hz
        """Ticks a second; 0 for a game in turns."""
        self.players = list(state.players)
        """The users who have a place."""
        self.names = dict(state.names)
        """Player -> the name to show."""
        self.tick = state.tick
        self.state: Any = state.state
        """The newest state received."""
        self.acks = dict(state.acks)
        """For each player the highest `seq` of an input that was answered before `state`."""
        self.ended: MatchEnded | None = None
        self._user = user
        # A player's seq only grows, also when another program comes back to the player's place.
        self._seq = state.acks.get(user, 0)

    def __repr__(self) -> str:
        return f"<Match {self.id} of {self.game} at tick {self.tick}>"

    async def input(self, value: Any) -> InputTaken:
        """Send an input; return the tick at which it acts. It acts once, also after breaks.

        Raises:
            RequestFailed: `rejected`, if the rules do not allow it; `match_ended` or `not_joined`,
                if the match ended before it; `seq_too_old`, if another device of the user was
                ahead, or no seq is left. The input has not acted then.
            RequestTimedOut, Disconnected.
            EncodeError: `value` cannot be encoded.
        """
        if self._seq == MAX_SEQ:
            raise RequestFailed("match.input", SEQ_TOO_OLD.code, "no seq is left", retry=False)
        self._seq += 1
        request = MatchInput(match=self.id, seq=self._seq, input=value)
        return await self._caller.request(request, InputTaken)

    @property
    def last_seq(self) -> int:
        """The `seq` of the last input sent, as in `acks`."""
        return self._seq

    async def leave(self) -> None:
        """Give up the user's place. Iteration ends after the updates that have come.

        On the user's other devices iteration ends with `TopicGone`.

        Raises:
            RequestFailed, RequestTimedOut, Disconnected: as `Room.leave`.
        """
        await self._caller.leave(f"match:{self.id}", MatchLeave(match=self.id))

    def __aiter__(self) -> Match:
        return self

    async def __anext__(self) -> MatchUpdate:
        return await self.feed.next()

    # --- for the session ---------------------------------------------------------------------

    def join_request(self) -> Request:
        """Return the request that joins again after the topic was lost."""
        return MatchJoin(match=self.id)

    def pushed(self, push: MatchPush) -> None:
        """Take a push of this match."""
        if isinstance(push, MatchStatePush):
            self._state(push)
        elif isinstance(push, MatchEvent):
            self._event(push)
        elif isinstance(push, MatchEnded):
            self.ended = push
            self.feed.put(push)
            self.feed.close()
        elif isinstance(push, MatchRestarted):
            self._restart(push.epoch, push.offset)
            self._now(push.tick, push.state, {})
        else:
            now = Position(push.epoch, push.offset)
            self._recover(now, push.events, recovered=push.recovered)
            self._came_back(push)

    def rejoined(self, data: Any) -> None:
        """Take the answer to a join of the match after the topic was lost."""
        state = msgspec.convert(data, MatchState)
        now = Position(state.epoch, state.offset)
        self._recover(now, (), recovered=now == self.position)
        self._came_back(state)

    def _event(self, push: MatchEvent) -> None:
        if not self._take(push.offset):
            return
        if push.player is not None:
            if push.kind == "joined" and push.player not in self.players:
                self.players.append(push.player)
                if isinstance(push.data, dict):
                    self.names[push.player] = str(push.data.get("name", push.player))
            elif push.kind == "left" and push.player in self.players:
                self.players.remove(push.player)
        self.feed.put(push)

    def _came_back(self, state: MatchState | MatchRecovered) -> None:
        self.players = list(state.players)
        self.names = dict(state.names)
        self._now(state.tick, state.state, state.acks)

    def _now(self, tick: int, state: Any, acks: dict[str, int]) -> None:
        """Yield the state that came with a recovery or a restart, like any other state."""
        self._state(
            MatchStatePush(
                match=self.id, offset=self.position.offset, tick=tick, state=state, acks=acks
            )
        )

    def _state(self, push: MatchStatePush) -> None:
        self.tick = push.tick
        self.state = push.state
        self.acks = {**self.acks, **push.acks}
        self._seq = max(self._seq, push.acks.get(self._user, 0))  # another device plays, too
        self.feed.put(push, slot=_STATE)
