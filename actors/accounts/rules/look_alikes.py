"""What a text looks like, as Unicode Technical Standard #39 says: two that look alike have one
skeleton.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

_DATA: Final = Path(__file__).with_name("confusables.txt")


def skeleton(text: str) -> str:
    """Return the skeleton of a text: each character becomes the one that it could be taken for.

    It is for comparing alone, since it is no text that anybody wrote: an m becomes rn.
    """
    prototypes = _prototypes()
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFD", "".join(prototypes.get(one, one) for one in parts))


@cache
def _prototypes() -> dict[str, str]:
    """Return the prototype of each character that has one."""
    found: dict[str, str] = {}
    for line in _DATA.read_text("ascii").splitlines():
        if line.startswith("#"):
            continue
        prototype, _, ones = line.partition(";")
        shown = "".join(map(_character, prototype.split()))
        found.update(dict.fromkeys(map(_character, ones.split()), shown))
    return found


def _character(code: str) -> str:
    return chr(int(code, 16))
