"""Settings of storage.

Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Players' objects."""

    object_bytes: Annotated[int, Meta(ge=1, le=1_048_576)] = 65_536
    """The longest value, in bytes of UTF-8. `wire.max_message_bytes` must let it through."""
    batch: Count = 32
    """Objects of one request, at most."""
    list_limit: Count = 100
    """Objects that one storage.list may ask for."""
    answer_bytes: Count = 131_072
    """Objects in one answer, in bytes of their values and names: fewer than were asked for when
    they are long. JSON may write a byte as two."""
    user_objects: Count = 1000
    """Objects of one user."""
    user_bytes: Count = 4_194_304
    """Bytes of all objects of one user, their names included."""
    waiting_bytes: Count = 67_108_864
    """Values that wait for their commit, those of all sessions; beyond it writes are answered
    `busy`."""
