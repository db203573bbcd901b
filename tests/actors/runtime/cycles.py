"""Finds the reference cycles that something leaves behind when it comes and goes often."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable

TIMES = 50


async def cycles_of(act: Callable[[], Awaitable[None]]) -> Counter[str]:
    """Call the function often, with the collector off.

    Return what the collector then finds, by type.
    """
    await act()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(TIMES):
            await act()
        gc.collect()
        return Counter(type(one).__name__ for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
