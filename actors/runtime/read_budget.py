"""Limits how much memory recoveries use for what they read from stores."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from .checks import check_count


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """Limits on what recoveries read, in bytes of events and snapshots.

    Attributes:
        page_bytes: how much one read of events returns. It returns at least one event.
        held_bytes: how much all recoveries of a node may hold together. Each holds a page of
            `page_bytes` while it reads and replays, and its snapshot once its size is known. Others
            wait.

    Raises ValueError or TypeError for a setting that makes no sense.
    """

    page_bytes: int = 1024 * 1024
    held_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        check_count("page_bytes", self.page_bytes, least=1)
        check_count("held_bytes", self.held_bytes, least=1)


class ReadBudget:
    """Lets recoveries read while there is room for a page; the others wait in line.

    At least one recovery goes on, however large its snapshot is. Used in the home thread only.

    Attributes:
        used: the bytes that are held, or reserved for reads under way.
        peak: the highest value that `used` has had.
    """

    def __init__(self, settings: RecoverySettings | None = None) -> None:
        self.settings = settings or RecoverySettings()
        self.used = 0
        self.peak = 0
        self._line = trio.lowlevel.ParkingLot()

    @property
    def waiting(self) -> int:
        """How many recoveries wait in line."""
        return len(self._line)

    async def take_page(self) -> int:
        """Wait for room for a page, reserve it, and return its bytes, to be given back later."""
        page = self.settings.page_bytes
        if self._line or not self._has_room():
            await self._line.park()  # `give_back` has reserved the page
        else:
            self.add(page)
        return page

    def add(self, count: int) -> None:
        """Count bytes that have been read already."""
        self.used += count
        self.peak = max(self.peak, self.used)

    def give_back(self, count: int) -> None:
        """Give back bytes, and let those who wait read if there is room."""
        self.used -= count
        while self._line and self._has_room():
            self.add(self.settings.page_bytes)
            self._line.unpark()

    def _has_room(self) -> bool:
        settings = self.settings
        return not self.used or self.used + settings.page_bytes <= settings.held_bytes
