"""Players' inputs. Each acts once, and gets the same answer however often it is sent."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from actors.edge.failures import Refused, with_others
from actors.matches.attendance import Attendance
from actors.matches.host import MatchCounters
from actors.matches.match_log import MatchLog, Outcome
from actors.matches.messages import Input, Repeat
from actors.matches.pending import Pending
from actors.matches.playthrough import Playthrough
from actors.matches.referee import Referee
from actors.matches.rules.record import Moved, PlayerPlace
from actors.runtime.future import Future
from protocol.errors import ERRORS, MATCH_ENDED, NOT_JOINED, REJECTED, SEQ_TOO_OLD
from protocol.messages.match import InputTaken


class Persisting(Protocol):
    """What inputs need of their match."""

    def check_capacity(self, event: msgspec.Struct) -> None:
        """See `PersistentActor.check_capacity`."""

    def persist(self, event: msgspec.Struct) -> Future[Any]:
        """See `PersistentActor.persist`."""

    def mark_dirty(self) -> None:
        """See `PersistentActor.mark_dirty`."""

    def follow_up(self, outcome: Outcome) -> None:
        """See `Match.follow_up`."""


class Inputs:
    """Gives inputs to the game, and keeps the answer to each in the match's record."""

    def __init__(
        self,
        match: Persisting,
        play: Playthrough,
        here: Attendance,
        counters: MatchCounters,
        match_log: MatchLog,
    ) -> None:
        self._match = match
        self._play = play
        self._here = here
        self._counters = counters
        self._match_log = match_log
        self._moves = Pending()

    def answered(self, message: Input) -> InputTaken | Future[InputTaken] | None:
        """Return the answer to an input that was taken before, or None if the input is new.

        It is known by its `seq`, and answered also when it has ended the match. Raises `Refused` if
        the first answer was an error, or is not known any more.
        """
        place = self._play.record.places.get(message.who.user)
        if place is None or message.seq > place.seq:
            return None
        return self._first_answer(place, message)

    def accept(self, message: Input) -> InputTaken | Future[InputTaken]:
        """Let a new input act and return the answer, or a future of it if it must become durable
        first.

        Raises `Refused`, and StoreBusy or Fenced if it cannot be logged. Nothing has changed then.
        """
        play, match, player = self._play, self._match, message.who.user
        referee, record = play.playing(), play.record
        if player not in record.places:
            raise Refused(NOT_JOINED)
        if record.started and not play.tick_hz:  # each input is shown to everyone
            self._here.charge(message.who)
        taken = InputTaken(record.tick + 1, play.durable_inputs)
        if play.durable_inputs:
            event = Moved(player, message.seq, message.input, taken.tick)
            match.check_capacity(event)
            outcome = self._let_act(referee, message)
            self._moves.put(player, match.persist(event))
        else:
            outcome = self._let_act(referee, message)
            record.answer(player, message.seq, message.input, taken.tick)
            if not play.tick_hz:
                record.tick = taken.tick
            match.mark_dirty()
        if outcome is not None:
            match.follow_up(outcome)
        self._counters.inputs += 1
        return self._once_durable(player, taken)

    def repeat(self, message: Repeat) -> InputTaken | Future[InputTaken]:
        """Return the answer to an input that was taken before, without ever letting it act.

        Raises `Refused` if it was not taken, if the first answer was an error, or, while the match
        goes on, if the session is not here.
        """
        record = self._play.record
        place = record.places.get(message.who.user)
        if place is None or (record.ended is None and message.who.session not in self._here):
            raise Refused(NOT_JOINED)
        if message.seq > place.seq:
            raise Refused(NOT_JOINED if record.ended is None else MATCH_ENDED)
        return self._first_answer(place, message)

    def _let_act(self, referee: Referee, message: Input) -> Outcome | None:
        """Give the game the input. Return what came of it, or None if the next tick will act on it.

        Raises `Refused` and `GameCrashed`. After a GameCrashed the input counts as not taken, and
        its seq can be used again.
        """
        self._judge(referee, message)
        if not self._play.tick_hz:
            return self._match_log.hear_out(show_to=self._play.record.places)
        if self._play.durable_inputs:
            self._match_log.try_out(referee)
        return None

    def _judge(self, referee: Referee, message: Input) -> None:
        # The game judges an input once; whether it accepts or rejects it, the seq is used up. If
        # something else keeps the input from the game, such as a full log, the seq can be used
        # again.
        record, player = self._play.record, message.who.user
        try:
            if not record.started:
                raise Refused(REJECTED, "the match waits for players")
            referee.input(player, message.input)
        except Refused as refused:
            record.answer(player, message.seq, message.input, refused.error.code)
            self._match.mark_dirty()
            raise

    def _first_answer(
        self, place: PlayerPlace, message: Input | Repeat
    ) -> InputTaken | Future[InputTaken]:
        said = place.answered(message.seq, message.input)
        if said is None:
            raise Refused(SEQ_TOO_OLD, f"seq: must be above {place.seq}")
        if isinstance(said, str):
            raise Refused(ERRORS[said])
        taken = InputTaken(said, self._play.durable_inputs)
        return self._once_durable(message.who.user, taken)

    def _once_durable(self, player: str, taken: InputTaken) -> InputTaken | Future[InputTaken]:
        """Return `taken`, or a future of it if the player's last input is not committed yet."""
        durable = self._moves.get(player)
        return taken if durable is None else with_others(durable).map(lambda _: taken)
