"""The entry of a running match in the directory."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actors.matches.messages import RollCall, StartMatch


class MatchStart(msgspec.Struct, frozen=True, array_like=True):
    """What a match is made of, besides its game."""

    seed: int
    params: dict[str, Any]

    def packed(self) -> bytes:
        """Return it as the row holds it."""
        return _packed(self)


_packed: Final = msgspec.msgpack.Encoder().encode
_unpacked: Final = msgspec.msgpack.Decoder(MatchStart).decode


class MatchEntry(msgspec.Struct, frozen=True, gc=False):
    """The row of a match. `at` is the time of its creation, in milliseconds since 1970, UTC.

    `start` is a packed `MatchStart`, from which the match is to be made. None: the match was made,
    and its own log has everything.
    """

    match: str
    game: str
    at: int
    start: bytes | None

    def call(self) -> StartMatch | RollCall:
        """Return the message that makes the match or brings it back, and makes it report."""
        if self.start is None:
            return RollCall()
        start = _unpacked(self.start)
        return StartMatch(self.game, start.params, start.seed, self.at)
