"""How the running matches stand: what their directory knows of them that no event says.

It is of one incarnation of the directory. A match reports its players anew after a start; whose
address had it made is nobody's business once it runs, and is in no log: an address is a person's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.matches.rules.register import Opened


class Standing:
    """Players, addresses, and which matches nobody has joined yet.

    Arguments:
        unjoined_ms: a match that nobody joins ends so many milliseconds after its creation.
    """

    def __init__(self, unjoined_ms: int) -> None:
        self._unjoined_ms = unjoined_ms
        self._players: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        self._at: Counter[str] = Counter()  # address -> its matches, those that are made included
        self._unjoined: dict[str, Opened] = {}  # oldest first

    def __contains__(self, match: str) -> bool:
        """Whether it has reported."""
        return match in self._players

    def players(self, match: str) -> int:
        """By its last report."""
        return self._players.get(match, 0)

    def count_at(self, address: str) -> int:
        """Matches that clients of this address had made, and that run or are being made."""
        return self._at[address]

    def reserve(self, opened: Opened, address: str | None) -> None:
        """It is being made. Who has no address has no limits."""
        self._unjoined[opened.match] = opened
        if address is not None:
            self._addresses[opened.match] = address
            self._at[address] += 1

    def reported(self, match: str, players: int) -> None:
        """It says how many players it has."""
        self._players[match] = players
        if players:
            self._unjoined.pop(match, None)

    def silent(self, match: str) -> None:
        """It is to be asked again."""
        self._players.pop(match, None)

    def gone(self, match: str) -> None:
        """It is over, or was not made."""
        self._players.pop(match, None)
        self._unjoined.pop(match, None)
        address = self._addresses.pop(match, None)
        if address is not None:
            self._at[address] -= 1
            if not self._at[address]:
                del self._at[address]

    def address_of(self, match: str) -> str | None:
        """Whose clients had it made; None: that has no limits, or is not known any more."""
        return self._addresses.get(match)

    def frees_in_ms(self, now_ms: int, counts: Callable[[Opened], bool]) -> int | None:
        """When the first of those that count ends, if nobody joins it; None: that is not known."""
        first = next((one for one in self._unjoined.values() if counts(one)), None)
        return None if first is None else max(0, first.at + self._unjoined_ms - now_ms)
