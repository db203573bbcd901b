"""Types for numbers in the configuration, each with the range that it allows."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
Rate = Annotated[float, Meta(ge=0)]
"""A number a second, on average; 0: no limit."""
Limit = Annotated[int, Meta(ge=0)]
"""So many at most; 0: no limit."""
Count = Annotated[int, Meta(ge=1)]
