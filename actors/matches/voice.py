"""The pushes and states of a match on the wire, built from its record and its game."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from actors.edge.topic_messages import Resume
from actors.edge.topics import Topics
from actors.matches.messages import match_topic
from actors.matches.referee import Referee
from actors.matches.rules.record import Ended, Record, Said
from protocol.errors import NOT_JOINED
from protocol.messages.envelope import Push
from protocol.messages.match import (
    MatchEnded,
    MatchEvent,
    MatchRecovered,
    MatchRestarted,
    MatchState,
    MatchStatePush,
)
from protocol.messages.session import TopicLost


class MatchVoice:
    """Pushes for one match. It has no state of its own: each method is given what it pushes.

    Arguments:
        topics: the hub of topics.
        name: the name of the match.
        tick_hz: ticks a second, which clients are told; 0: a game in turns.
        private_views: whether each player sees a state of their own.
    """

    def __init__(self, topics: Topics, name: str, *, tick_hz: float, private_views: bool) -> None:
        self.name = name
        self.topic = match_topic(name)
        self._topics = topics
        self._tick_hz = tick_hz
        self._private_views = private_views

    # --- to everyone -----------------------------------------------------------------------------

    def event(self, said: Said) -> None:
        """Push the latest event. The state, or the end of the match, is pushed right after it."""
        self._topics.publish(self.topic, self._event(said), more=True)

    def look(self, referee: Referee, players: Iterable[str]) -> Any:
        """Return what the players see of the game now, as plain values, for `state` to push.

        Raises `GameCrashed` if it cannot be sent.
        """
        if self._private_views:
            return {player: referee.view_for(player) for player in players}
        return referee.view()

    def state(self, record: Record, seen: Any) -> None:
        """Push the state, conflated: `seen` is what `look` returned."""
        acks = record.acks()

        def push(state: Any) -> MatchStatePush:
            return MatchStatePush(
                match=self.name, offset=record.offset, tick=record.tick, state=state, acks=acks
            )

        if self._private_views:
            self._topics.publish_states(self.topic, lambda player: push(seen[player]))
        else:
            self._topics.publish_state(self.topic, push(seen))

    def ended(self, record: Record, ended: Ended) -> None:
        """Push the end of the match."""
        self._topics.publish(self.topic, self._end(record, ended))

    def restarted(
        self,
        record: Record,
        state_of: Callable[[str], Any],
        epoch: int,
        missed: list[Said] | None,
        *,
        only: Mapping[str, str] | None = None,
    ) -> None:
        """Tell the members that the match has recovered, each with the state that they may see.

        `missed` are the last events of the record, which no member has been pushed yet. All pushes
        before these still hold. None: it is not known which events they missed.
        `only` names the sessions to tell, and the player of each; None: all.
        """
        if missed is None:
            self._tell_each(
                lambda player: self._stands(
                    record, state_of(player), epoch, None, end=record.ended
                ),
                only,
            )
        else:
            end = record.ended is not None
            self._tell_each(
                lambda player: MatchRestarted(
                    match=self.name,
                    epoch=epoch,
                    offset=record.offset - end - len(missed),
                    tick=record.tick,
                    state=state_of(player),
                ),
                only,
            )
            for said in missed:
                self._tell(self._event(said), only, more=True)
        if record.ended is not None:
            self._tell(self._end(record, record.ended), only)

    def _tell_each(self, push_for: Callable[[str], Push], only: Mapping[str, str] | None) -> None:
        if only is None:
            self._topics.publish_each(self.topic, push_for)
        else:
            for session, player in only.items():
                self._topics.publish_one(self.topic, session, push_for(player))

    def _tell(self, push: Push, only: Mapping[str, str] | None, *, more: bool = False) -> None:
        if only is None:
            self._topics.publish(self.topic, push, more=more)
        else:
            self._topics.publish_to(self.topic, only, push)

    # --- to one ----------------------------------------------------------------------------------

    def where_it_stands(
        self, record: Record, referee: Referee, epoch: int, player: str
    ) -> MatchState:
        """Return the answer to a join."""
        assert record.created is not None
        return MatchState(
            match=self.name,
            game=record.created.game,
            epoch=epoch,
            offset=record.offset,
            tick=record.tick,
            tick_hz=self._tick_hz,
            players=list(record.places),
            state=referee.seen_by(player),
            names=record.names(),
            acks=record.acks(),
        )

    def recovered(
        self,
        record: Record,
        state: Any,
        epoch: int,
        *,
        missed: list[Said] | None,
        asked: Resume,
    ) -> bool:
        """Push to the session that asked what it missed, and the end as a push of its own.

        `missed` are the events; None if there are too many of them, or if the session's position is
        void.

        Returns False, and pushes nothing, if the outbox of the session has no room for it now.
        """
        end = record.ended
        if end is not None and missed is not None and asked.offset >= record.offset:
            end = None  # the client has seen it
        pushes: list[MatchRecovered | MatchEnded] = [
            self._stands(record, state, epoch, missed, end=end)
        ]
        if end is not None:
            pushes.append(self._end(record, end))
        return self._topics.recover(self.topic, asked, *pushes)

    def _stands(
        self,
        record: Record,
        state: Any,
        epoch: int,
        missed: list[Said] | None,
        *,
        end: Ended | None = None,
    ) -> MatchRecovered:
        """Return the state of the match; if there is an `end`, which is pushed next, before it."""
        return MatchRecovered(
            match=self.name,
            recovered=missed is not None,
            epoch=epoch,
            offset=record.offset if end is None else record.offset - 1,
            tick=record.tick,
            players=list(record.places),
            state=state,
            events=[self._event(said) for said in missed or ()],
            names=record.names(),
            acks=record.acks(),
        )

    def lost(self, session: str) -> None:
        """Tell one session that it has left the match, because its user is not a player."""
        lost = TopicLost(topic=self.topic, code=NOT_JOINED.code)
        self._topics.publish_one(self.topic, session, lost)

    def _event(self, said: Said) -> MatchEvent:
        return MatchEvent(
            match=self.name,
            offset=said.offset,
            kind=said.kind,
            player=said.player,
            data=said.data,
        )

    def _end(self, record: Record, ended: Ended) -> MatchEnded:
        return MatchEnded(
            match=self.name, offset=record.offset, result=ended.result, failed=ended.failed
        )
