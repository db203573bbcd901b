"""Sets the window in which pushes to a client are gathered, which is 0 as long as it gains nothing.

Gathering saves sends, and costs latency: half the window, on average. At 200 messages/s in a room
of 100 it saved nearly nothing, and p50 was 3.0 ms in place of 0.3. At 6,000 messages/s a send for
each push is more than a core can do.

So the window is 0 as long as the loop has time to spare, or the next push to a client is unlikely
to come within it. While the loop is busy with clients that get many pushes, the window grows until
the loop is not busy any more. It shrinks again when there is less to do.
"""

from __future__ import annotations

from typing import Final

LOOK_S: Final = 0.02
"""The time between two looks, which set the window anew, in seconds."""
BUSY_SHARE: Final = 0.4
"""The window grows above this load, a part of the loop's time. With less load a node can send each
push at once."""
IDLE_SHARE: Final = 0.3
"""The window shrinks below this load. It is the load that the node would have if each push were a
send, because the real load may be low only thanks to the window. It is estimated too high, since
not all of the load is sending, so the window does not shrink too early."""
CALM_LOOKS: Final = 10
"""How many looks in a row must find a low load before the window shrinks. Load comes in bursts, and
the window should outlast the pauses between them."""
_STEPS: Final = 8  # the first window is the longest one divided by this


class Window:
    """How long a push may wait for others.

    Args:
        longest_s: the longest window, in seconds; 0: pushes never wait.

    Attributes:
        present_s: the present window, in seconds.
    """

    __slots__ = ("_alone", "_calm", "_close", "_looked_at", "longest_s", "present_s")

    def __init__(self, longest_s: float) -> None:
        self.longest_s = longest_s
        self.present_s = 0.0
        self._close = 0
        self._alone = 0
        self._calm = 0
        self._looked_at = 0.0

    def pushed(self, since_s: float, count: int) -> None:
        """Note a push to `count` clients, `since_s` seconds after the last send to one of them.

        One client stands for all, since those on one topic are much alike. Gathering gains
        something if there are at least two pushes in the longest window.
        """
        if since_s * 2 < self.longest_s:
            self._close += count
        else:
            self._alone += count

    def due(self, now: float) -> bool:
        """Whether it is time for a `look`."""
        return now - self._looked_at >= LOOK_S

    def look(self, now: float, busy_s: float, sends: int) -> None:
        """Set the window anew.

        Args:
            now: the time in seconds.
            busy_s: for how long the loop was busy since the last look.
            sends: the number of sends since the last look.
        """
        load = busy_s / (now - self._looked_at)
        pushes = self._close + self._alone
        without = load * max(1.0, pushes / max(1, sends))
        shortest_s = self.longest_s / _STEPS
        if load > BUSY_SHARE and self._close > self._alone:
            self._calm = 0
            self.present_s = min(self.longest_s, max(2 * self.present_s, shortest_s))
        elif without < IDLE_SHARE or self._alone > self._close:
            self._calm += 1
            if self._calm == CALM_LOOKS:
                self._calm = 0
                self.present_s = self.present_s / 2 if self.present_s > shortest_s else 0.0
        else:
            self._calm = 0
        self._close = self._alone = 0
        self._looked_at = now
