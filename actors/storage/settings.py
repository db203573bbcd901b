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
    """The greatest size of a value, in bytes of UTF-8. `wire.max_message_bytes` must allow it."""
    batch: Count = 32
    """How many objects one request may name."""
    list_limit: Count = 100
    """How many objects one storage.list may ask for."""
    answer_bytes: Count = 131_072
    """The greatest size of the objects in one answer, as their values and names.

    An answer has fewer objects than were asked for if they are long. JSON may take two bytes for
    one.
    """
    user_objects: Count = 1000
    """How many objects one user may have."""
    user_bytes: Count = 4_194_304
    """How many bytes all objects of one user may have, including their names."""
    waiting_bytes: Count = 67_108_864
    """The greatest size of all values, of all sessions, that wait for their commit.

    Writes beyond that are answered `busy`.
    """
