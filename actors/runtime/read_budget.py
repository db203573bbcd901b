"""How much of the stores' contents recoveries may hold in memory at once."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from .checks import check_count


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """Bounds to what recoveries read, in bytes of events and snapshots.

    Attributes:
        page_bytes: of events, one read; at least one event.
        held_bytes: of what all recoveries of a node have read and not yet taken over, or may get
            from a read that is under way. So many pages are read at once, and a snapshot counts
            beside its page from when its size is known.

    Raises ValueError or TypeError for what makes no sense.
    """

    page_bytes: int = 1024 * 1024
    held_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        check_count("page_bytes", self.page_bytes, least=1)
        check_count("held_bytes", self.held_bytes, least=1)


class ReadBudget:
    """Lets recoveries read as long as there is room for what comes; the others wait in line.

    One recovery at least has its way, however large its snapshot. Home thread only.

    Attributes:
        used: bytes that are held, or set aside for reads under way.
        peak: the most it ever was.
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
        """Wait for room for a page; returns its bytes, which are to be given back."""
        page = self.settings.page_bytes
        if self._line or not self._has_room():
            await self._line.park()  # whoever gave room has added ours
        else:
            self.add(page)
        return page

    def add(self, count: int) -> None:
        """Count what is there already."""
        self.used += count
        self.peak = max(self.peak, self.used)

    def give_back(self, count: int) -> None:
        """Let others have it."""
        self.used -= count
        while self._line and self._has_room():
            self.add(self.settings.page_bytes)
            self._line.unpark()

    def _has_room(self) -> bool:
        settings = self.settings
        return not self.used or self.used + settings.page_bytes <= settings.held_bytes
