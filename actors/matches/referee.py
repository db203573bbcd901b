"""The referee calls a game on behalf of its match, and turns its errors into `GameCrashed`."""

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
"""A byte of msgpack becomes at most so many bytes of JSON, for a control character or `false,`."""

MAX_REASON: Final = 500
"""The longest reason of a game for a rejection, in characters; the rest is cut off."""


class GameCrashed(Exception):  # noqa: N818 - named like the runtime's: what happened
    """A call of a game raised, took too long, or returned what cannot be encoded.

    `__cause__` is the exception, if there was one.

    Attributes:
        returned: whether the call itself went well, and only what it returned is wrong.
        game: the name of the game.
        call: the name of the method.
        error: the exception, or a text.
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
    """Makes one game and calls its methods.

    Every method may raise `GameCrashed`. The game's state must not be used after that. Some methods
    say that they raise `Refused`, for a player who did something wrong. The game has changed
    nothing then.

    Arguments:
        name: the name of the game, for error messages.
        game: the game's class.
        match: the name of the match, for the log.
        seed: the seed of the game's dice.
        params: the params that the match was created with.
        call_limit_s: how long one call may take, in seconds.
        max_happenings: how many happenings one step may report.
        value_bytes: the greatest size of a view, result or happening, in either encoding.
        held_up: called with the name of a call that took longer, and its seconds.
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
        """Make the game.

        Raises `Refused` if the game refuses the params, or they have a wrong type.
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
        """Let a player join. Raises `Refused`."""
        self._judged("join", lambda: self._game.join(player))

    def leave(self, player: str) -> None:
        self._called("leave", lambda: self._game.leave(player))

    def input(self, player: str, value: Any) -> None:
        """Give the game a player's input. Raises `Refused`."""
        game = self._game
        self._judged(
            "input", lambda: game.input(player, convert_input(value, game.input_type, "input"))
        )

    # --- ticks, happenings, result ---------------------------------------------------------------

    def tick(self) -> None:
        self._called("tick", self._game.tick)

    def happenings(self) -> list[Happening]:
        """Return what the game has reported since the last call, as plain values."""
        taken = self._game.take_happenings()
        if len(taken) > self._max_happenings:
            raise GameCrashed(self._name, "happened", f"{len(taken)} happenings in one step")
        return [self._heard(one) for one in taken]

    def _heard(self, one: Happening) -> Happening:
        player = None if one.player is None else str(one.player)
        return Happening(*self._plain("happened", [str(one.kind), player, one.data]))

    def result(self) -> Any | None:
        """Return the game's result as plain values, or None while the game goes on."""
        result = self._called("result", self._game.result)
        return None if result is None else self._plain("result", result)

    # --- views and snapshots ---------------------------------------------------------------------

    def view(self) -> Any:
        """Return what all players see, as plain values.

        Encode it at once; the game may change it.
        """
        return self._checked("view", self._called("view", self._game.view))[0]

    def view_for(self, player: str) -> Any:
        """Return what this player sees, like `view`."""
        return self._checked("view", self._look(player))[0]

    def shared(self) -> Any:
        """Return a copy of what all players see, which can be kept."""
        return self._plain("view", self._called("view", self._game.view))

    def seen_by(self, player: str) -> Any:
        """Return a copy of what this player sees, which can be kept."""
        return self._plain("view", self._look(player))

    def _look(self, player: str) -> Any:
        if self._game.private_views:
            return self._called("view_for", lambda: self._game.view_for(player))
        return self._called("view", self._game.view)

    def snapshot(self) -> bytes:
        """Return the game's state in msgpack."""
        state = self._called("snapshot", self._game.snapshot)
        try:
            return msgspec.msgpack.encode(state)
        except Exception as error:
            raise GameCrashed(self._name, "snapshot", error, returned=True) from error

    def restore(self, state: bytes) -> None:
        self._called("restore", lambda: self._game.restore(msgspec.msgpack.decode(state)))

    def crashed(self, call: str, error: BaseException) -> GameCrashed:
        """Return the `GameCrashed` for an error of this game that was found elsewhere."""
        return GameCrashed(self._name, call, error)

    # --- checks of what the game returns ---------------------------------------------------------

    def _plain(self, call: str, value: Any) -> Any:
        """Return a copy of what `call` returned, as clients will decode it."""
        return msgspec.msgpack.decode(self._checked(call, value)[1])

    def _checked(self, call: str, value: Any) -> tuple[Any, bytes]:
        """Return what `call` returned as plain values, and in msgpack.

        It is checked for both encodings, even if all clients use the same one: else a match could
        crash when the first client with the other encoding joins, or send what that client cannot
        read. The check costs 2.5 us for a view of 400 bytes.
        """
        try:
            plain = msgspec.to_builtins(value, str_keys=True, builtin_types=_BYTES)
            packed = msgspec.msgpack.encode(plain)  # raises for integers beyond 64 bits
            size = len(packed)
            if size * _JSON_AT_MOST > self._value_bytes:
                size = max(size, len(msgspec.json.encode(plain)))
            if size > self._value_bytes:
                raise OverflowError(f"{size} bytes, over matches.value_bytes")
        except Exception as error:  # TypeError, OverflowError, ...: all are errors of the game
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
            # A game that raises SystemExit or KeyboardInterrupt must not end the server. Real ones
            # do not come up here: signals are handled by the loop, and trio raises nothing inside a
            # game.
            if isinstance(error, HandlerHung):
                self._held_up(call, perf_counter() - block.began)
            raise GameCrashed(self._name, call, error) from error
        self._check_time(call, block)
        return answer

    def _check_time(self, call: str, block: interruptible) -> None:
        # A call into C is not interrupted, and may return before the watchdog acts. It counts as a
        # crash all the same: else a player could block the node with the same call again and again.
        seconds = perf_counter() - block.began
        if seconds > self._limit_s and block.began:
            self._held_up(call, seconds)
            raise GameCrashed(self._name, call, f"it took {seconds:.3f} s")


def _for_people(text: object) -> str:
    """Return a game's text for a player, cut and cleaned for the wire."""
    return str(text)[:MAX_REASON].encode(errors="replace").decode()


def convert_input(value: Any, wanted: Any, what: str) -> Any:
    """Return `value` converted to the type that a game declared.

    Raises `Refused` with BAD_INPUT and the name of the field.
    """
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise Refused(BAD_INPUT, f"{what}: {error}") from None
