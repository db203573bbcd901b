"""The kind of the actors of matches. A match's game decides how its state is kept."""

from __future__ import annotations

from actors.matches.host import MatchHost
from actors.matches.match import Match
from actors.matches.messages import MatchReport
from actors.runtime.kinds import Kind
from actors.runtime.mailbox import MailboxSpec
from protocol.messages.match import InputTaken, MatchState


class MatchFactory:
    """Makes the actor of a match by its name, which contains the name of its game."""

    def __init__(self, host: MatchHost) -> None:
        self._host = host
        spec = MailboxSpec(capacity=host.settings.mailbox)

        class ConfiguredMatch(Match):
            mailbox = spec

        class ConfiguredVolatileMatch(ConfiguredMatch):
            """A match whose game has state that no event holds, so recovery needs a snapshot."""

            needs_snapshot = True
            snapshot_interval_s = host.settings.snapshot_interval_s

        self._durable = ConfiguredMatch
        self._volatile = ConfiguredVolatileMatch

    def __call__(self, name: str) -> Match:
        game = self._host.game_of(name)
        durable = game is None or game.durable_inputs
        return (self._durable if durable else self._volatile)(self._host, name)


def match_kind(host: MatchHost) -> Kind:
    """Return the kind for `ActorSystem.register`."""
    # A match that crashes too often ends itself as failed, before its kind gives it up.
    return Kind(
        name="match",
        factory=MatchFactory(host),
        max_restarts=host.settings.max_crashes + 2,
        shutdown_s=5.0,
        placement="hashed",
        actor=Match,
        answers=(MatchState, MatchReport, InputTaken),
    )
