"""The referee: calls a game on behalf of its match, and gives what goes wrong there a name."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, TypeVar

import msgspec

from actors.edge.failures import Refused
from actors.matches.rules.game import Game, Happening, Rejected
from actors.runtime.errors import HandlerHung
from actors.runtime.watchdog import interruptible
from protocol.errors import BAD_INPUT, REJECTED

T = TypeVar("T")

_BYTES: Final = (bytes, bytearray, memoryview)
_JSON_AT_MOST: Final = 6
"""A byte of msgpack is at most so many of JSON: a control character in a string, or `false,`."""

MAX_REASON: Final = 500
"""Characters of what a game says when it rejects something; the rest is cut off."""


class GameCrashed(Exception):  # noqa: N818 - named like the runtime's: what happened
    """A call of a game raised, hung, or returned what cannot be encoded. The cause is chained.

    `returned`: it is only what it returned that is wrong.
    """

    def __init__(
        self, game: str, call: str, error: BaseException | str, *, returned: bool = False
    ) -> None:
        super().__init__(game, call, error)
        self.returned = returned
        self.game = game
        self.call = call
        self.error = error

    def __str__(self) -> str:
        what = self.error if isinstance(self.error, str) else repr(self.error)
        return f"{self.call}() of game {self.game}: {what}"


class Referee:
    """One game and everything that may be asked of it.

    Every method may raise `GameCrashed`, after which the game's state is worth nothing. Those that
    say so raise `Refused` with what the player did wrong, and then nothing has changed.

    Arguments:
        name: of the game, for messages.
        match: whose game it is, for the log.
        call_limit_s: how long one call may take, in seconds.
        max_happenings: of one step.
        value_bytes: of one view, result or happening, in either encoding.
        held_up: is told of each call that took longer, by its name and with the seconds.
    """

    def __init__(
        self,
        name: str,
        game: type[Game],
        *,
        match: str,
        seed: int,
        params: dict[str, Any],
        call_limit_s: float,
        max_happenings: int,
        value_bytes: int,
        held_up: Callable[[str, float], None],
    ) -> None:
        """Make the game. Raises `Refused`: the params do not fit, or the game will not have them.

        Do not use it after that.
        """
        self._name = name
        self._limit_s = call_limit_s
        self._who = {"kind": "match", "key": match, "game": name}
        self._max_happenings = max_happenings
        self._value_bytes = value_bytes
        self._held_up = held_up
        self._game: Game = self._judged(
            "__init__", lambda: game(seed, convert_input(params, game.params_type, "params"))
        )

    # --- calls that players cause ----------------------------------------------------------------

    def join(self, player: str) -> None:
        """Raises `Refused`."""
        self._judged("join", lambda: self._game.join(player))

    def leave(self, player: str) -> None:
        self._called("leave", lambda: self._game.leave(player))

    def input(self, player: str, value: Any) -> None:
        """Raises `Refused`."""
        game = self._game
        self._judged(
            "input", lambda: game.input(player, convert_input(value, game.input_type, "input"))
        )

    # --- time, and what came of it ---------------------------------------------------------------

    def tick(self) -> None:
        self._called("tick", self._game.tick)

    def happenings(self) -> list[Happening]:
        """What the game said since the last call, of plain values."""
        taken = self._game.take_happenings()
        if len(taken) > self._max_happenings:
            raise GameCrashed(self._name, "happened", f"{len(taken)} happenings in one step")
        return [self._heard(one) for one in taken]

    def _heard(self, one: Happening) -> Happening:
        player = None if one.player is None else str(one.player)
        return Happening(*self._plain("happened", [str(one.kind), player, one.data]))

    def result(self) -> Any | None:
        """None while the game goes on, or its result, of plain values."""
        result = self._called("result", self._game.result)
        return None if result is None else self._plain("result", result)

    # --- what is seen and kept -------------------------------------------------------------------

    def view(self) -> Any:
        """What everyone sees, of plain values: to be encoded at once, and not kept."""
        return self._checked("view", self._called("view", self._game.view))[0]

    def view_for(self, player: str) -> Any:
        """What this player sees, the same way."""
        return self._checked("view", self._look(player))[0]

    def shared(self) -> Any:
        """A copy of what everyone sees, to be kept."""
        return self._plain("view", self._called("view", self._game.view))

    def seen_by(self, player: str) -> Any:
        """A copy of what this player sees, to be kept."""
        return self._plain("view", self._look(player))

    def _look(self, player: str) -> Any:
        if self._game.private_views:
            return self._called("view_for", lambda: self._game.view_for(player))
        return self._called("view", self._game.view)

    def snapshot(self) -> bytes:
        """The game's state in msgpack."""
        state = self._called("snapshot", self._game.snapshot)
        try:
            return msgspec.msgpack.encode(state)
        except Exception as error:
            raise GameCrashed(self._name, "snapshot", error, returned=True) from error

    def restore(self, state: bytes) -> None:
        self._called("restore", lambda: self._game.restore(msgspec.msgpack.decode(state)))

    def crashed(self, call: str, error: BaseException) -> GameCrashed:
        """The name for what was found out elsewhere."""
        return GameCrashed(self._name, call, error)

    # --- what may leave it -----------------------------------------------------------------------

    def _plain(self, call: str, value: Any) -> Any:
        """A copy of what `call` returned, as clients will decode it."""
        return msgspec.msgpack.decode(self._checked(call, value)[1])

    def _checked(self, call: str, value: Any) -> tuple[Any, bytes]:
        """What `call` returned as plain values, and in msgpack.

        It is held to what PROTOCOL.md promises to clients of either encoding, whoever is there to
        see it: a match must neither crash as soon as a client of the other one comes, nor send what
        that one cannot read. Costs 2.5 us for a view of 400 bytes.
        """
        try:
            plain = msgspec.to_builtins(value, str_keys=True, builtin_types=_BYTES)
            packed = msgspec.msgpack.encode(plain)  # raises for integers beyond 64 bits
            size = len(packed)
            if size * _JSON_AT_MOST > self._value_bytes:
                size = max(size, len(msgspec.json.encode(plain)))
            if size > self._value_bytes:
                raise OverflowError(f"{size} bytes, over matches.value_bytes")
        except Exception as error:  # TypeError, OverflowError, RecursionError, ...: all its fault
            raise GameCrashed(self._name, call, error) from error
        return plain, packed

    # --- the call itself -------------------------------------------------------------------------

    def _judged(self, call: str, function: Callable[[], T]) -> T:
        try:
            return self._called(call, function)
        except Rejected as rejected:
            raise Refused(REJECTED, _for_people(rejected.message)) from None

    def _called(self, call: str, function: Callable[[], T]) -> T:
        block = interruptible(self._limit_s, self._who)
        try:
            with block:
                answer = function()
        except (Rejected, Refused) as refusal:
            if call in {"__init__", "join", "input"}:
                self._check_time(call, block)
                raise
            raise GameCrashed(self._name, call, refusal) from refusal
        except BaseException as error:
            # Also one that exits, or raises KeyboardInterrupt, must not take the server along. The
            # real ones come as signals that the loop handles; nothing of trio's is raised in here.
            if isinstance(error, HandlerHung):
                self._held_up(call, perf_counter() - block.began)
            raise GameCrashed(self._name, call, error) from error
        self._check_time(call, block)
        return answer

    def _check_time(self, call: str, block: interruptible) -> None:
        # A call into C is not interrupted, and may be over before a look at the clock: what hangs
        # is a crash, in whatever it is written, or a player could have it hang again and again.
        seconds = perf_counter() - block.began
        if seconds > self._limit_s and block.began:
            self._held_up(call, seconds)
            raise GameCrashed(self._name, call, f"it took {seconds:.3f} s")


def _for_people(text: object) -> str:
    """A game's word to a player, fit for the wire."""
    return str(text)[:MAX_REASON].encode(errors="replace").decode()


def convert_input(value: Any, wanted: Any, what: str) -> Any:
    """`value` as the type a game declared. Raises `Refused` (BAD_INPUT), with the field."""
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise Refused(BAD_INPUT, f"{what}: {error}") from None
