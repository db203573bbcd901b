"""The sessions of a match's players, and how long the places of absent players are kept."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Protocol

from actors.edge.hub_messages import Adopt
from actors.edge.identity import Identity
from actors.edge.topic_messages import RemovedFromTopic
from actors.edge.topics import Topics
from actors.edge.warden import SESSION_KIND, tell_session
from actors.matches.messages import Abandoned, AwayTooLong
from actors.matches.settings import MatchSettings
from actors.runtime.ref import ActorRef
from actors.runtime.system_view import SystemView


class Watching(Protocol):
    """What attendance needs of its match."""

    epoch: int

    @property
    def system(self) -> SystemView:
        """The system that the sessions are actors of."""

    def watch(self, ref: ActorRef) -> None:
        """See `Actor.watch`."""

    def unwatch(self, ref: ActorRef) -> None:
        """See `Actor.unwatch`."""

    def start_timer(self, delay_s: float, message: Any, *, name: str | None = None) -> object:
        """See `Actor.start_timer`."""

    def cancel_timer(self, timer: str) -> None:
        """See `Actor.cancel_timer`."""


class Attendance:
    """The sessions that are in a match, each with its player.

    A session is in the match (in short, "here") from its join until it leaves, ends or is
    dismissed. It gets the match's pushes from the moment when the join is durable. The match
    watches it meanwhile.

    When a player has no session here, a timer starts that sends the match `AwayTooLong`. When there
    is no session here at all, a timer starts that sends it `Abandoned`.
    """

    def __init__(
        self, match: Watching, topic: str, topics: Topics, settings: MatchSettings
    ) -> None:
        self._match = match
        self._topic = topic
        self._topics = topics
        self._settings = settings
        self._players: dict[str, str] = {}  # session -> player
        self._alone = False  # whether the timer of `Abandoned` runs

    def __contains__(self, session: str) -> bool:
        return session in self._players

    def __len__(self) -> int:
        return len(self._players)

    def player(self, session: str) -> str | None:
        """Return the player of a session, or None if the session is not here."""
        return self._players.get(session)

    def sessions_of(self, player: str) -> list[str]:
        """Return the player's sessions that are here."""
        return [session for session, whose in self._players.items() if whose == player]

    def strangers(self, players: Container[str]) -> list[str]:
        """Return the sessions that are here and are none of these players'."""
        return [session for session, whose in self._players.items() if whose not in players]

    def is_connected(self, who: Identity, connection: int) -> bool:
        """Return whether this is the present connection of the session."""
        return self._topics.is_current(who.session, connection)

    def charge(self, who: Identity, pushes: int = 1) -> None:
        """Charge the session for pushes to everyone who is here.

        Raises `Refused` if the session has used up what it may cause.
        """
        self._topics.charge(self._topic, who, pushes)

    # --- coming ----------------------------------------------------------------------------------

    def take_up(self) -> int:
        """Enter the sessions that the hub knows as members from an incarnation before.

        Returns the epoch of the incarnation whose pushes they got last.
        """
        for listener in self._topics.members(self._topic):
            self.attend(listener.who)
        return self._topics.take_over(self._topic, self._match.epoch)

    def adopt(self, message: Adopt) -> Mapping[str, str]:
        """Count those as here, and let them hear the match, whom another node's hub names; returns
        whose each session is.
        """
        adopted = self._topics.adopt(self._topic, message, self._match.epoch)
        for who in adopted:
            self.attend(who)
        return {who.session: who.user for who in adopted}

    def attend(self, who: Identity) -> None:
        """Enter a session as here."""
        self._players[who.session] = who.user
        self._match.watch(self._ref(who.session))
        self._match.cancel_timer(_away(who.user))

    def hear(self, who: Identity, connection: int) -> bool:
        """Have the session get the match's pushes.

        Returns False, and changes nothing, if that connection is gone.
        """
        if not self._topics.subscribe(self._topic, who, connection, self._match.epoch):
            return False
        self.attend(who)
        return True

    def hears(self, session: str) -> bool:
        """Return whether the session gets the match's pushes, or would if it had a connection."""
        return self._topics.is_member(self._topic, session)

    # --- going -----------------------------------------------------------------------------------

    def forget(self, session: str) -> str | None:
        """Remove a session, and return its player, or None if it was not here."""
        self._topics.unsubscribe(self._topic, session)
        player = self._players.pop(session, None)
        if player is not None:
            self._match.unwatch(self._ref(session))
        return player

    def dismiss(self, session: str) -> None:
        """Remove a session that did not ask to leave. Its client is told by a push of the topic."""
        self.forget(session)
        self._tell_gone(session)

    def dismiss_all(self) -> None:
        """Remove all sessions, since the match is over."""
        for listener in self._topics.dissolve(self._topic):
            self._tell_gone(listener.who.session)
        for session in list(self._players):
            self.forget(session)

    def expect(self, player: str, within_s: float | None = None) -> None:
        """Start the timer of `AwayTooLong` if the player has no session here.

        It runs for `within_s` seconds, by default for the settings' `rejoin_within_s`.
        """
        if player not in self._players.values():
            delay_s = self._settings.rejoin_within_s if within_s is None else within_s
            away = AwayTooLong(self._match.epoch, player)
            self._match.start_timer(delay_s, away, name=_away(player))

    def expect_no_more(self, player: str) -> None:
        """Cancel the timer of `AwayTooLong`, since the player's place is given up."""
        self._match.cancel_timer(_away(player))

    def expect_anyone(self, *, unjoined: bool) -> None:
        """Start the timer of `Abandoned` if nobody is here, and cancel it if somebody is.

        `unjoined` says that nobody has ever joined the match; the time is shorter then.
        """
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
        """Cancel the timer of `Abandoned`, since the match is over."""
        if self._alone:
            self._alone = False
            self._match.cancel_timer(_ABANDONED)

    def _tell_gone(self, session: str) -> None:
        if not self._topics.tell_dismissed(self._topic, session):
            tell_session(self._match.system, session, RemovedFromTopic(self._topic))

    def _ref(self, session: str) -> ActorRef:
        return self._match.system.ref(SESSION_KIND, session)


_ABANDONED = "abandoned"


def _away(player: str) -> str:
    return f"away:{player}"
