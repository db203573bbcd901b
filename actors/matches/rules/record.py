"""The record of a match: its events, and what follows from them apart from the game's state.

The record is a value that events change. It knows no game, no actor and no clock. To recover a
match, a record is given the same events again, or a record from a snapshot is given the later
events.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec

STARTS: Final = 16
"""How many incarnations are remembered. A position of an older one counts as void."""


class Created(msgspec.Struct, frozen=True, gc=False):
    """The match was created. `at` is in milliseconds since 1970, UTC."""

    game: str
    params: dict[str, Any]
    seed: int
    at: int


class Joined(msgspec.Struct, frozen=True, gc=False):
    """A player took a place after `tick`."""

    player: str
    name: str
    tick: int


class Left(msgspec.Struct, frozen=True, gc=False):
    """A player gave the place up, or was away for too long."""

    player: str
    tick: int


class Moved(msgspec.Struct, frozen=True, gc=False):
    """The game accepted an input, which acts at `tick`. Only durable inputs are logged."""

    player: str
    seq: int
    input: Any
    tick: int


class Happened(msgspec.Struct, frozen=True, gc=False):
    """The game reported that something happened."""

    kind: str
    player: str | None
    data: Any
    tick: int


class Crashed(msgspec.Struct, frozen=True, gc=False):
    """The game crashed after `tick`, and the match went back to its last snapshot."""

    tick: int
    error: str


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The match ended. `reason` is `finished`, `abandoned` or `failed`."""

    result: Any
    reason: str
    tick: int
    state: Any = None
    """The last view if all players see the same. With it an ended match needs no snapshot."""

    @property
    def failed(self) -> bool:
        return self.reason == "failed"


NAMELESS: Final = {"name": ""}
"""What a push says of the join of a player whose name was erased."""

MatchEvents: Final = (Created, Joined, Left, Moved, Happened, Crashed, Ended)
AnyEvent = Created | Joined | Left | Moved | Happened | Crashed | Ended


class Said(msgspec.Struct, frozen=True, gc=False):
    """One push of the match's topic, at its offset."""

    offset: int
    kind: str
    player: str | None
    data: Any


class Verdict(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The answer to an input, and a fingerprint to recognize the same input."""

    said: int | str
    """The tick at which the input acts, or the code of the error that it was refused with."""
    fingerprint: int | None = None
    """The fingerprint of the input; None in data from before answers had one."""


class PlayerPlace(msgspec.Struct):
    """A player's place in a match: the name to show, and the answers to the player's inputs."""

    name: str
    seq: int = 0
    """The highest seq that was answered; 0: none yet."""
    answers: dict[int, Verdict] = {}
    """The answers to the last inputs, by their seq."""

    def answer(self, seq: int, value: Any, said: int | str, *, keep: int) -> None:
        """Enter the answer to the input `seq`, which is higher than any before."""
        self.seq = seq
        self.answers[seq] = Verdict(said, _fingerprint(value))
        while len(self.answers) > keep:
            del self.answers[next(iter(self.answers))]

    def answered(self, seq: int, value: Any) -> int | str | None:
        """Return the answer to this very input, or None if it is not known or was another input."""
        answer = self.answers.get(seq)
        if answer is None or answer.fingerprint not in {None, _fingerprint(value)}:
            return None
        return answer.said


def _fingerprint(value: Any) -> int:
    # Two devices of one user may send two inputs with the same seq. The fingerprint keeps the
    # second from getting the first one's answer. It is no defence against forgery: a user who
    # forges an equal one only gets a wrong answer to an input of their own.
    return zlib.crc32(msgspec.msgpack.encode(value))


class Record(msgspec.Struct):
    """What is known of a match.

    `created` is None before the first event, `ended` before the last.
    """

    created: Created | None = None
    ended: Ended | None = None
    started: bool = False
    """Whether there were `min_players` once. The game is played from then on."""
    tick: int = 0
    """How many ticks have run; in a game in turns, how many inputs were taken.

    The match counts it.
    """
    offset: int = 0
    """The topic's offset: how many pushes there were that a resume can repeat, the end included."""
    places: dict[str, PlayerPlace] = {}
    """The players' places, in the order in which they joined."""
    said: list[Said] = []
    """The last pushes, the oldest first, without the end; at most `keep` of them."""
    starts: list[tuple[int, int]] = []
    """(epoch, offset at its start) of the last incarnations that wrote events, the oldest first."""
    crash_tick: int = 0
    """The tick of the last crash."""
    crashes: int = 0
    """How many crashes there were in a row, without the match getting past them."""
    min_players: int = 1
    keep: int = 256
    keep_answers: int = 32
    """How many answers to each player's inputs are kept."""
    past_crash_ticks: int = 0
    """A match has got past a crash once it is more than so many ticks beyond it."""

    @property
    def unjoined(self) -> bool:
        """Whether nobody has ever joined. The first push of a match is that of a join."""
        return not self.offset

    # --- events ----------------------------------------------------------------------------------

    def apply(self, event: AnyEvent, epoch: int) -> None:
        """Enter an event that the incarnation `epoch` wrote."""
        if not self.starts or epoch > self.starts[-1][0]:
            self.starts.append((epoch, self.offset))
            del self.starts[:-STARTS]
        match event:
            case Created():
                self.created = event
            case Joined():
                self.places[event.player] = PlayerPlace(event.name)
                self.started = self.started or len(self.places) >= self.min_players
                self._say("joined", event.player, {"name": event.name})
            case Left():
                self.places.pop(event.player, None)
                self._say("left", event.player, None)
            case Moved():
                self.answer(event.player, event.seq, event.input, event.tick)
            case Happened():
                self._say(event.kind, event.player, event.data)
            case Crashed():
                past = event.tick > self.crash_tick + self.past_crash_ticks
                self.crashes = 1 if past or self.crashes == 0 else self.crashes + 1
                self.crash_tick = event.tick
            case Ended():
                self.ended = event
                self.offset += 1

    def _say(self, kind: str, player: str | None, data: Any) -> None:
        self.offset += 1
        self.said.append(Said(self.offset, kind, player, data))
        if len(self.said) > self.keep:
            del self.said[0]

    def forget_name(self, player: str) -> bool:
        """Take the name of a player out of the record; returns whether it was there."""
        place = self.places.get(player)
        named = place is not None and place.name != ""
        if place is not None:
            place.name = ""
        for at, one in enumerate(self.said):
            if one.kind == "joined" and one.player == player and one.data != NAMELESS:
                self.said[at] = msgspec.structs.replace(one, data=NAMELESS)
                named = True
        return named

    # --- inputs ----------------------------------------------------------------------------------

    def answer(self, player: str, seq: int, value: Any, said: int | str) -> None:
        """Enter the answer to a player's new input: the tick at which it acts, or an error's code.

        A refusal is no event, so it is not known any more after a recovery from events alone.
        """
        self.places[player].answer(seq, value, said, keep=self.keep_answers)

    # --- positions -------------------------------------------------------------------------------

    def missed(self, epoch: int, offset: int) -> list[Said] | None:
        """Return all pushes after a position, without the end.

        Returns None if the position is ahead of the match, if it is void because a crash took back
        pushes that it counts, or if some pushes after it are not kept any more.
        """
        # An incarnation continues from what was durable. If a later incarnation began at a lower
        # offset than the position's, the position counts pushes that a crash took back.
        agreed = self.agreed(epoch)
        if agreed is None or offset > agreed:
            return None
        last = self.offset - (1 if self.ended is not None else 0)
        missed = [one for one in self.said if one.offset > offset]
        if offset > self.offset or len(missed) != max(0, last - offset):
            return None
        return missed

    def agreed(self, epoch: int) -> int | None:
        """Return the last offset up to which the pushes of the incarnation `epoch` are true.

        Returns None if that incarnation is too old to be remembered.
        """
        if len(self.starts) == STARTS and epoch < self.starts[0][0]:
            return None
        return min((base for later, base in self.starts if later > epoch), default=self.offset)

    # --- for clients -----------------------------------------------------------------------------

    def acks(self) -> dict[str, int]:
        """Return the highest seq that was answered, by player, for players who sent an input."""
        return {player: place.seq for player, place in self.places.items() if place.seq}

    def names(self) -> dict[str, str]:
        """Return the name to show, by player, in the order in which they joined."""
        return {player: place.name for player, place in self.places.items()}
