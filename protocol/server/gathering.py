"""For how long what is pushed to a client is gathered: not at all while nothing is gained by it.

To gather saves sends, and costs latency: half the window, on average. At 200 messages/s in a room
of 100 nearly nothing is saved, and p50 was 3.0 ms in place of 0.3; at 6,000 a send for each of them
is more than a core can do. So the window is 0 as long as the loop has time to spare, or as the next
push to a client is not to be expected within it; while the loop is busy with clients that get much
it grows until the loop is not, and shrinks again as there is less to do.
"""

from __future__ import annotations

from typing import Final

LOOK_S: Final = 0.02
"""How often the window is looked at."""
BUSY: Final = 0.4
"""Above this part of the loop's time the window grows. A node that has more than half of its time
left can send at once."""
IDLE: Final = 0.3
"""Below this part it shrinks. What counts is not the load, which may be low because of the window,
but what the load would be if each push were a send. That is a guess on the safe side: not all of
the load is sending."""
CALM_LOOKS: Final = 10
"""It shrinks when so many looks in a row have said so: load comes in bursts, and what was learnt in
one is not to be learnt again in the next."""
_STEPS: Final = 8  # the first window is this part of the longest


class Window:
    """How long a push may wait for others.

    Args:
        longest_s: at most, in seconds; 0: never.

    Attributes:
        present_s: now.
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
        """`count` clients are pushed to, `since_s` after they were sent to last (one of them, as
        those on one topic are much alike). Twice in the longest window is often enough to gain.
        """
        if since_s * 2 < self.longest_s:
            self._close += count
        else:
            self._alone += count

    def due(self, now: float) -> bool:
        """Whether `look` has something to look at."""
        return now - self._looked_at >= LOOK_S

    def look(self, now: float, busy_s: float, sends: int) -> None:
        """Decide anew. Since the last look the loop was busy for `busy_s`, and sent so often."""
        load = busy_s / (now - self._looked_at)
        pushes = self._close + self._alone
        without = load * max(1.0, pushes / max(1, sends))
        shortest_s = self.longest_s / _STEPS
        if load > BUSY and self._close > self._alone:
            self._calm = 0
            self.present_s = min(self.longest_s, max(2 * self.present_s, shortest_s))
        elif without < IDLE or self._alone > self._close:
            self._calm += 1
            if self._calm == CALM_LOOKS:
                self._calm = 0
                self.present_s = self.present_s / 2 if self.present_s > shortest_s else 0.0
        else:
            self._calm = 0
        self._close = self._alone = 0
        self._looked_at = now
