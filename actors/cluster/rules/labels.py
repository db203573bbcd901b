"""Labels: what a node is for, and which kinds of actors are kept to such nodes.

A node with labels holds the actors that are kept to its labels, and no others. So what goes wrong
there does not disturb the other actors, which are on nodes without labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from zlib import crc32

ANY: Final = "any"
"""With this label a node also holds the actors that are kept to no label."""


def pool_of_label(label: str) -> int:
    """Return the pool of the slots of kinds that are kept to a label; "": of all other kinds.

    A checksum makes the number, so that nobody has to give out numbers.
    """
    return 1 + crc32(label.encode()) if label else 0


def serves(labels: Sequence[str], label: str) -> bool:
    """Whether a node with these labels holds actors kept to `label`; "": those kept to none."""
    if label:
        return label in labels
    return not labels or ANY in labels


def pools_of(labels: Sequence[str]) -> tuple[int, ...]:
    """Return the pools whose slots a node with these labels holds."""
    own = [pool_of_label(label) for label in labels if label != ANY]
    return (0, *own) if serves(labels, "") else tuple(own)


def kept_differently(here: Mapping[str, str], there: Mapping[str, str]) -> str | None:
    """Return a kind that two nodes do not keep to the same label; None: there is none.

    An actor of such a kind would have two places in the cluster.
    """
    for kind in sorted(here.keys() | there.keys()):
        if here.get(kind) != there.get(kind):
            return kind
    return None
