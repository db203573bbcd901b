"""What the directory knows about running matches beside its events: players, addresses, first
joins.

It is lost when the directory ends. Each match then reports its players again. The address of the
client that created a match is not recovered: it is personal data, and therefore in no log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.matches.rules.register import Opened


class Standing:
    """The number of players of each running match, its creator's address, and whether anybody
    joined it.

    Arguments:
        unjoined_ms: a match that nobody joins ends so many milliseconds after its creation.
    """

    def __init__(self, unjoined_ms: int) -> None:
        self._unjoined_ms = unjoined_ms
        self._players: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        self._at: Counter[str] = Counter()  # address -> its matches, including those being made
        self._unjoined: dict[str, Opened] = {}  # the oldest first

    def __contains__(self, match: str) -> bool:
        """Return whether the match has reported."""
        return match in self._players

    def players(self, match: str) -> int:
        """Return the number of players in the match's last report."""
        return self._players.get(match, 0)

    def count_at(self, address: str) -> int:
        """Return how many matches of clients of this address run or are being made."""
        return self._at[address]

    def reserve(self, opened: Opened, address: str | None) -> None:
        """Enter a match that is being made. Without an address, no limit of an address applies."""
        self._unjoined[opened.match] = opened
        if address is not None:
            self._addresses[opened.match] = address
            self._at[address] += 1

    def reported(self, match: str, players: int) -> None:
        """Enter the number of players that a match reports."""
        self._players[match] = players
        if players:
            self._unjoined.pop(match, None)

    def silent(self, match: str) -> None:
        """Treat the match as one that has not reported, so that it is asked again."""
        self._players.pop(match, None)

    def gone(self, match: str) -> None:
        """Remove a match that is over, or was not made."""
        self._players.pop(match, None)
        self._unjoined.pop(match, None)
        address = self._addresses.pop(match, None)
        if address is not None:
            self._at[address] -= 1
            if not self._at[address]:
                del self._at[address]

    def address_of(self, match: str) -> str | None:
        """Return the address that the match counts for, or None if it has none or it is not
        known.
        """
        return self._addresses.get(match)

    def frees_in_ms(self, now_ms: int, counts: Callable[[Opened], bool]) -> int | None:
        """Return in how many ms the first unjoined match that `counts` ends; None: not known."""
        first = next((one for one in self._unjoined.values() if counts(one)), None)
        return None if first is None else max(0, first.at + self._unjoined_ms - now_ms)
