"""What an embedder writes: a game as a plain object, without clock, sockets, stores or threads.

A match actor owns one game and calls it, one call at a time. The game keeps its state in memory
and says what changed; time, delivery, durability and recovery are the match's.

```python
class Countdown(Game):
    name = "countdown"
    tick_hz = 10.0

    def __init__(self, seed: int, params: dict[str, Any]) -> None:
        super().__init__(seed, params)
        self.left = 600

    def tick(self) -> None:
        self.left -= 1

    def view(self) -> Any:
        return {"left": self.left}

    def result(self) -> Any | None:
        return {"done": True} if self.left == 0 else None

    def snapshot(self) -> Any:
        return self.left

    def restore(self, state: Any) -> None:
        self.left = state
```
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from actors.matches.rules.dice import Dice


class Rejected(Exception):  # noqa: N818 - an answer to a player, not an error of the program
    """The rules do not allow this now. `message` goes to the player who tried.

    Raise it before changing anything: the match takes it that nothing happened.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Happening(msgspec.Struct, frozen=True, gc=False):
    """Something a game tells its players: `kind` is the game's own word, not `joined` or `left`.

    `data` is as a view is; `player` is whom it is about, if anyone.
    """

    kind: str
    player: str | None = None
    data: Any = None


class Game:
    """Base of all games. A player is a string (the user's id) that is the same in every call.

    Made with a `seed` (64 bits) and `params` (already of `params_type`); may raise `Rejected`.
    It must behave the same for the same seed, params and calls: that is what makes recovery true.
    Any other exception, a call that hangs, or a value that cannot be encoded is a crash of this
    match alone. It goes on as if the step that crashed had not been made, or from its last snapshot
    if its inputs are not durable, and ends as failed if it crashes there again and again.
    While a call runs, nothing else of its node does. At `matches.call_limit_s` Python is
    interrupted; a call into C (a regular expression on what a player sent, say) is not.
    """

    name: ClassVar[str] = ""
    """What the game calls itself. Clients use the name that config.toml gives it."""
    tick_hz: ClassVar[float] = 0.0
    """Calls of `tick` a second; 0 for a game in turns, which moves by its inputs only."""
    min_players: ClassVar[int] = 1
    """The match starts (ticks, takes inputs) when this many have joined."""
    max_players: ClassVar[int] = 2
    durable_inputs: ClassVar[bool] = False
    """True: every accepted input is an event in the log, acknowledged after its commit, and
    recovery is exact. False: inputs live in the running state, which a crash sets back by at most
    one snapshot interval. Right for turns and for fast movement, in this order."""
    private_views: ClassVar[bool] = False
    """True: each player gets `view_for(player)`, for hidden information, at the price of one
    encoding a player. False: all get `view()`, encoded once for everyone."""
    input_type: ClassVar[Any] = Any
    """What an input must be, for `msgspec.convert`; what does not fit never reaches the game."""
    params_type: ClassVar[Any] = dict[str, Any]
    """The same for the `params` of `match.create`."""

    def __init__(self, seed: int, params: Any) -> None:
        self.dice = Dice(seed)
        self.params = params
        self._happenings: list[Happening] = []

    # --- what players do -------------------------------------------------------------------------

    def join(self, player: str) -> None:
        """`player` takes a place. Raises `Rejected` if the rules forbid it.

        Names for display are the match's business: clients get them with the list of players.
        """

    def leave(self, player: str) -> None:
        """`player` gave the place up or was away for too long. Cannot be refused."""

    def input(self, player: str, move: Any) -> None:
        """`move`, of `input_type`, by a player of this match. Raises `Rejected`.

        In a game with ticks this notes what the player wants; the next `tick` acts on it.
        """
        raise NotImplementedError

    # --- time ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One step of 1 / `tick_hz` seconds. Never called while no player is connected."""

    # --- what players see ------------------------------------------------------------------------

    def view(self) -> Any:
        """The state as everyone may see it.

        Of None, booleans, numbers, strings, bytes, lists, tuples, and dicts whose keys are strings
        or numbers, which clients get as strings; or what msgspec makes such of: Structs,
        dataclasses, enums, dates. The same for `view_for`, `result` and the data of `happened`.
        """
        raise NotImplementedError

    def view_for(self, player: str) -> Any:
        """The state as `player` sees it; used in place of `view` where `private_views` is true."""
        raise NotImplementedError

    def result(self) -> Any | None:
        """`None` while the game goes on; then how it ended, which is kept for good."""
        return None

    def happened(self, kind: str, player: str | None = None, data: Any = None) -> None:
        """Tell the players of the match, by a push that is not lost, that something happened."""
        self._happenings.append(Happening(kind, player, data))

    def take_happenings(self) -> list[Happening]:
        """What happened since the last call. For the match."""
        taken, self._happenings = self._happenings, []
        return taken

    # --- coming back -----------------------------------------------------------------------------

    def snapshot(self) -> Any:
        """Everything `restore` needs, `dice.state` included where dice are thrown.

        Anything msgpack can carry, msgspec Structs too.
        """
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        """Go on from `state`: a snapshot after one round trip through msgpack, so Structs and
        tuples have become dicts and lists. Called on a new game of the same seed and params.
        """
        raise NotImplementedError
