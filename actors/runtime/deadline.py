"""A time by which a message must be acted on, as a field of the message."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

IS_DEADLINE: Final = "deadline"

Deadline = Annotated[float, msgspec.Meta(extra={IS_DEADLINE: True})]
"""Seconds on the clock of the system (`ActorSystem.now`). Each node has a clock of its own, so on
the way to another node it is the seconds that remain."""
