"""Who of a match's players is here, and for how long the others' places are kept."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

from pykka import ActorDeadError

from actors.edge.identity import Identity
from actors.edge.topic_messages import RemovedFromTopic
from actors.edge.topics import Topics
from actors.edge.warden import SESSION_KIND
from actors.matches.messages import Abandoned, AwayTooLong
from actors.matches.settings import MatchSettings
from actors.runtime.ref import ActorRef
from actors.runtime.system_view import SystemView


class Watching(Protocol):
    """What attendance needs of its match."""

    epoch: int

    @property
    def system(self) -> SystemView:
        """Where the sessions live."""

    def watch(self, ref: ActorRef) -> None:
        """See `Actor.watch`."""

    def unwatch(self, ref: ActorRef) -> None:
        """See `Actor.unwatch`."""

    def start_timer(self, delay_s: float, message: Any, *, name: str | None = None) -> object:
        """See `Actor.start_timer`."""

    def cancel_timer(self, timer: str) -> None:
        """See `Actor.cancel_timer`."""


class Attendance:
    """The sessions of a match: whose they are, and what they are to the hub.

    A session is here from its join on, though it hears nothing until that is durable, and until it
    ends or is let go. It is watched meanwhile. A player without a session is away, and after a
    while `AwayTooLong`; a match without any session is alone, and after a while `Abandoned`.
    """

    def __init__(
        self, match: Watching, topic: str, topics: Topics, settings: MatchSettings
    ) -> None:
        self._match = match
        self._topic = topic
        self._topics = topics
        self._settings = settings
        self._players: dict[str, str] = {}  # session -> player
        self._alone = False  # the timer until the match is abandoned runs

    def __contains__(self, session: str) -> bool:
        return session in self._players

    def __len__(self) -> int:
        return len(self._players)

    def player(self, session: str) -> str | None:
        """Whose session it is; None: it is not here."""
        return self._players.get(session)

    def sessions_of(self, player: str) -> list[str]:
        """The player's sessions that are here."""
        return [session for session, whose in self._players.items() if whose == player]

    def is_connected(self, who: Identity, connection: int) -> bool:
        """Whether that connection is the session's now."""
        return self._topics.is_current(who.session, connection)

    def charge(self, who: Identity, pushes: int = 1) -> None:
        """Have the session pay for pushes to everyone who is here. Raises `Refused`."""
        self._topics.charge(self._topic, who.session, pushes)

    # --- coming ----------------------------------------------------------------------------------

    def take_up(self) -> int:
        """Count those as here whom the hub knows; returns which incarnation they last heard."""
        for listener in self._topics.members(self._topic):
            self.attend(listener.who)
        return self._topics.take_over(self._topic, self._match.epoch)

    def attend(self, who: Identity) -> None:
        """The session is here."""
        self._players[who.session] = who.user
        self._match.watch(self._ref(who.session))
        self._match.cancel_timer(_away(who.user))

    def hear(self, who: Identity, connection: int) -> bool:
        """Let the session, which is here, hear the match; False: that connection is gone, and
        nothing has changed.
        """
        session, epoch = who.session, self._match.epoch
        if not self._topics.subscribe(self._topic, session, connection, epoch):
            return False
        self.attend(who)
        return True

    def hears(self, session: str) -> bool:
        """Whether the session hears the match, or would if it had a connection."""
        return self._topics.is_member(self._topic, session)

    # --- going -----------------------------------------------------------------------------------

    def forget(self, session: str) -> str | None:
        """The session is here no more; returns its player."""
        self._topics.unsubscribe(self._topic, session)
        player = self._players.pop(session, None)
        if player is not None:
            self._match.unwatch(self._ref(session))
        return player

    def dismiss(self, session: str) -> None:
        """Let go a session that has not asked for it; its client is told by the topic."""
        self.forget(session)
        self._tell_gone(session)

    def dismiss_all(self) -> None:
        """The match is over: nobody is here any more."""
        for listener in self._topics.dissolve(self._topic):
            self._tell_gone(listener.who.session)
        for session in list(self._players):
            self.forget(session)

    def expect(self, player: str, within_s: float | None = None) -> None:
        """Have a player without a session come back within `rejoin_within_s`, or that."""
        if player not in self._players.values():
            delay_s = self._settings.rejoin_within_s if within_s is None else within_s
            away = AwayTooLong(self._match.epoch, player)
            self._match.start_timer(delay_s, away, name=_away(player))

    def expect_no_more(self, player: str) -> None:
        """The place is given up."""
        self._match.cancel_timer(_away(player))

    def expect_anyone(self, *, unjoined: bool) -> None:
        """While nobody is here, have somebody come in time; `unjoined`: nobody ever was."""
        alone = not self._players
        if alone and not self._alone:
            settings = self._settings
            delay_s = settings.abandon_after_s
            if unjoined:
                delay_s = min(delay_s, settings.unjoined_after_s)
            self._match.start_timer(delay_s, Abandoned(self._match.epoch), name=_ABANDONED)
        elif self._alone and not alone:
            self._match.cancel_timer(_ABANDONED)
        self._alone = alone

    def expect_nobody(self) -> None:
        """It is over: whether somebody comes does not matter any more."""
        if self._alone:
            self._alone = False
            self._match.cancel_timer(_ABANDONED)

    def _tell_gone(self, session: str) -> None:
        with contextlib.suppress(ActorDeadError):
            self._ref(session).notify(RemovedFromTopic(self._topic))

    def _ref(self, session: str) -> ActorRef:
        return self._match.system.ref(SESSION_KIND, session)


_ABANDONED = "abandoned"


def _away(player: str) -> str:
    return f"away:{player}"
