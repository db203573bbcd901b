"""`Game`: the base class of games.

A game is a plain object without clock, sockets, stores or threads.

The actor of a match owns one game and calls it, one call at a time. The game keeps its state in
memory and reports what happens. The match takes care of time, delivery, durability and recovery.

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
    """The rules do not allow this now. `message` is sent to the player who tried.

    A game must raise it before it changes anything: the match assumes that nothing has changed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Happening(msgspec.Struct, frozen=True, gc=False):
    """An event that a game tells its players about.

    Attributes:
        kind: a word of the game's own; not `joined` or `left`, which are the match's.
        player: the player whom it is about, if any.
        data: plain values, like a view (see `Game.view`).
    """

    kind: str
    player: str | None = None
    data: Any = None


class Game:
    """The base class of all games. A player is a string, the user's id, the same in every call.

    A game is made with a `seed` of 64 bits and with `params`, which have been converted to
    `params_type`. The constructor may raise `Rejected`.

    A game must behave the same for the same seed, params and calls, because recovery repeats the
    calls.

    Any exception other than `Rejected`, a call that takes too long, and a value that cannot be
    encoded are a crash of this match; no other match notices. The match goes on as if the step that
    crashed had not been made, or, if inputs are not durable, from its last snapshot. If it keeps
    crashing at the same point, it ends as failed.

    While a call runs, nothing else on its node does. A call that takes longer than
    `matches.call_limit_s` is interrupted if it runs Python code. Code in C, such as a regular
    expression on a text that a player sent, cannot be interrupted.
    """

    name: ClassVar[str] = ""
    """The game's own name for itself. Clients use the name that config.toml gives it."""
    tick_hz: ClassVar[float] = 0.0
    """Calls of `tick` a second. 0 is for a game in turns, which changes by its inputs only."""
    min_players: ClassVar[int] = 1
    """The match starts to tick and take inputs when this many players have joined."""
    max_players: ClassVar[int] = 2
    """How many players there can be at once."""
    durable_inputs: ClassVar[bool] = False
    """Whether inputs are logged. This choice decides what a crash can cost.

    True: every accepted input is an event in the log and acknowledged after its commit; nothing is
    lost. This suits games in turns. False: inputs change the running state only, and a crash sets
    that back by one or two snapshot intervals. This suits fast movement.
    """
    private_views: ClassVar[bool] = False
    """Whether players see different states, because some of it is hidden.

    True: each player gets `view_for(player)`, which is encoded for each. False: all get `view()`,
    which is encoded once.
    """
    input_type: ClassVar[Any] = Any
    """The type of an input, for `msgspec.convert`. Inputs of another type do not reach the game."""
    params_type: ClassVar[Any] = dict[str, Any]
    """The type of the `params` of `match.create`, likewise."""

    def __init__(self, seed: int, params: Any) -> None:
        self.dice = Dice(seed)
        self.params = params
        self._happenings: list[Happening] = []

    # --- players ---------------------------------------------------------------------------------

    def join(self, player: str) -> None:
        """Called when `player` takes a place. Raise `Rejected` if the rules forbid it.

        A game need not know names for display: clients get them from the match.
        """

    def leave(self, player: str) -> None:
        """Called when `player` gave the place up or was away for too long.

        It cannot be rejected.
        """

    def input(self, player: str, move: Any) -> None:
        """Called with a `move` of `input_type` by a player of this match.

        Raise `Rejected` to refuse.

        A game with ticks only remembers here what the player wants, and the next `tick` acts on it.
        """
        raise NotImplementedError

    # --- time ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Called for each step of 1 / `tick_hz` seconds, but not while no player is connected."""

    # --- views and results -----------------------------------------------------------------------

    def view(self) -> Any:
        """Return the state as everyone may see it.

        It consists of plain values: None, booleans, numbers, strings, bytes, lists, tuples, and
        dicts whose keys are strings or numbers (clients get the keys as strings). Objects that
        msgspec turns into such values are allowed as well: Structs, dataclasses, enums and dates.
        The same holds for `view_for`, `result` and the data of `happened`.
        """
        raise NotImplementedError

    def view_for(self, player: str) -> Any:
        """Return the state as `player` sees it.

        Used instead of `view` if `private_views` is true.
        """
        raise NotImplementedError

    def result(self) -> Any | None:
        """Return None while the game goes on, and then how it ended.

        The match keeps that for good.
        """
        return None

    def happened(self, kind: str, player: str | None = None, data: Any = None) -> None:
        """Tell all players of the match that something happened, by a push that is not lost."""
        self._happenings.append(Happening(kind, player, data))

    def take_happenings(self) -> list[Happening]:
        """Return what happened since the last call. The match calls this."""
        taken, self._happenings = self._happenings, []
        return taken

    # --- snapshots -------------------------------------------------------------------------------

    def snapshot(self) -> Any:
        """Return everything that `restore` needs, including `dice.state` if the game uses dice.

        It may consist of anything that msgpack can encode, including msgspec Structs.
        """
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        """Set the state of a new game, made with the same seed and params, from a snapshot.

        `state` is the snapshot after a round trip through msgpack: Structs have become dicts, and
        tuples lists.
        """
        raise NotImplementedError
