"""A match's record: its events, and what follows from them, apart from the game itself.

The record is a value that events change; it knows no game, no actor and no clock. A match is
recovered by giving a record the same events again, or by taking one from a snapshot and giving it
those that came after.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec

STARTS: Final = 16
"""Incarnations remembered: a position from before the oldest of so many is not taken for true."""


class Created(msgspec.Struct, frozen=True, gc=False):
    """The match came into being. `at`: milliseconds since 1970, UTC."""

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
    """An input that the game accepted, of a game whose inputs are durable; it acts at `tick`."""

    player: str
    seq: int
    input: Any
    tick: int


class Happened(msgspec.Struct, frozen=True, gc=False):
    """The game said that something happened; kept for players who were away."""

    kind: str
    player: str | None
    data: Any
    tick: int


class Crashed(msgspec.Struct, frozen=True, gc=False):
    """The game failed after `tick`; the match went back to its last snapshot."""

    tick: int
    error: str


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The match is over for good. `reason`: `finished`, `abandoned` or `failed`."""

    result: Any
    reason: str
    tick: int
    state: Any = None
    """The last view, where it is the same for everyone: an ended match needs no snapshot."""

    @property
    def failed(self) -> bool:
        return self.reason == "failed"


MatchEvents: Final = (Created, Joined, Left, Moved, Happened, Crashed, Ended)
AnyEvent = Created | Joined | Left | Moved | Happened | Crashed | Ended


class Said(msgspec.Struct, frozen=True, gc=False):
    """One push of the match's topic, at its offset."""

    offset: int
    kind: str
    player: str | None
    data: Any


class Verdict(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What an input was answered, and enough of it to know it again."""

    said: int | str
    """The tick it acts at, or the code it was refused with."""
    fingerprint: int | None = None
    """The input's; None in what was written before answers had one."""


class Place(msgspec.Struct):
    """A player's place: who sits there, and what the player's inputs were answered."""

    name: str
    seq: int = 0
    """The highest input answered; 0: none yet."""
    answers: dict[int, Verdict] = {}
    """Of the last inputs: their seq -> the answer."""

    def answer(self, seq: int, value: Any, said: int | str, *, keep: int) -> None:
        """Note what the input `seq`, higher than any before, is answered."""
        self.seq = seq
        self.answers[seq] = Verdict(said, _fingerprint(value))
        while len(self.answers) > keep:
            del self.answers[next(iter(self.answers))]

    def answered(self, seq: int, value: Any) -> int | str | None:
        """What this very input was answered; None: that is not known, or it is another one."""
        answer = self.answers.get(seq)
        if answer is None or answer.fingerprint not in {None, _fingerprint(value)}:
            return None
        return answer.said


def _fingerprint(value: Any) -> int:
    # Two devices of one user may give two inputs the same seq, and "ok" would be a lie to one. It
    # is no defence: whoever forges an equal one fools nobody else.
    return zlib.crc32(msgspec.msgpack.encode(value))


class Record(msgspec.Struct):
    """What is known of a match. `created` is None until the first event, `ended` till the last."""

    created: Created | None = None
    ended: Ended | None = None
    started: bool = False
    """Whether `min_players` were there once: from then on the game is played."""
    tick: int = 0
    """Ticks run; in a game in turns, inputs taken. Only the match itself moves it."""
    offset: int = 0
    """Of the topic: pushes that a resume can ask for again, the end included."""
    places: dict[str, Place] = {}
    said: list[Said] = []
    """The last pushes but for the end, oldest first; `keep` of them at most."""
    starts: list[tuple[int, int]] = []
    """(epoch, offset it began at) of the last incarnations that wrote events, oldest first."""
    crash_tick: int = 0
    crashes: int = 0
    """Crashes in a row that the match did not get past."""
    min_players: int = 1
    keep: int = 256
    keep_answers: int = 32
    """Answers remembered of each player's inputs."""
    past_crash_ticks: int = 0
    """A match that came more than so many ticks beyond its last crash has got past it."""

    @property
    def unjoined(self) -> bool:
        """Whether nobody has ever joined: a join is said, and nothing is before the first."""
        return not self.offset

    # --- events ----------------------------------------------------------------------------------

    def apply(self, event: AnyEvent, epoch: int) -> None:
        """Let `event`, written by the incarnation `epoch`, be part of the match."""
        if not self.starts or epoch > self.starts[-1][0]:
            self.starts.append((epoch, self.offset))
            del self.starts[:-STARTS]
        match event:
            case Created():
                self.created = event
            case Joined():
                self.places[event.player] = Place(event.name)
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

    # --- inputs ----------------------------------------------------------------------------------

    def answer(self, player: str, seq: int, value: Any, said: int | str) -> None:
        """Note what a player's new input is answered: the tick it acts at, or the code it is
        refused with. A refusal is no event, so a recovery from events alone does not know it.
        """
        self.places[player].answer(seq, value, said, keep=self.keep_answers)

    # --- positions -------------------------------------------------------------------------------

    def missed(self, epoch: int, offset: int) -> list[Said] | None:
        """Everything said since the position, the end not included.

        None: the position is ahead of the match, or is void because a crash took back what it
        counted, or is so old that some of what was said since is forgotten.
        """
        # An incarnation continues from what was durable. If a later one than the position's began
        # before the position, then the position counts pushes that a crash made undone.
        agreed = self.agreed(epoch)
        if agreed is None or offset > agreed:
            return None
        last = self.offset - (1 if self.ended is not None else 0)
        missed = [one for one in self.said if one.offset > offset]
        if offset > self.offset or len(missed) != max(0, last - offset):
            return None
        return missed

    def agreed(self, epoch: int) -> int | None:
        """The last offset on which the log and what the incarnation `epoch` pushed agree; None: it
        is so old that this is forgotten.
        """
        if len(self.starts) == STARTS and epoch < self.starts[0][0]:
            return None
        return min((base for later, base in self.starts if later > epoch), default=self.offset)

    # --- what others see -------------------------------------------------------------------------

    def acks(self) -> dict[str, int]:
        """Player -> the highest input answered, of those who sent any."""
        return {player: place.seq for player, place in self.places.items() if place.seq}

    def names(self) -> dict[str, str]:
        """Player -> the name to show, in the order they joined."""
        return {player: place.name for player, place in self.places.items()}
