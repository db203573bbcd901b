"""Usernames: what may be one, and which of them people would take for the same.

A username is kept as its owner wrote it, in the form NFKC. Two are the same if they differ by case
alone, or if one looks like the other by the skeletons of UTS 39. Those are taken of the name as it
is shown and of its folded form, as a capital I looks like an l, and a small i does not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Final, NamedTuple

from actors.accounts.rules.look_alikes import skeleton

JOINERS: Final = "_-."
"""May stand between two others, but not beside one another."""
MARKS: Final = 3
"""So many marks may stand upon one letter. More of them run into the lines around the name."""
RESERVED: Final = (
    "admin", "administrator", "all", "anonymous", "everyone", "guest", "greenroom", "help", "here",
    "me", "mod", "moderator", "nobody", "null", "official", "operator", "owner", "root", "security",
    "self", "server", "staff", "support", "system", "undefined", "unknown", "user",
)  # fmt: skip
"""Names that would speak for the server, or that programs take for something else."""
IDS: Final = ("guest-", "key-")
"""Ids of users begin so."""

_INVISIBLE: Final = frozenset(
    map(
        chr,
        (
            0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),
        ),
    )
)  # fmt: skip
"""Letters and marks that are not seen: Default_Ignorable_Code_Point."""


class BadUsername(ValueError):  # noqa: N818 - what it is
    """A text cannot be a username. The text of the error says why."""


class ReservedUsername(ValueError):  # noqa: N818 - what it is
    """Nobody may have this username."""


class Username(NamedTuple):
    """A username.

    Attributes:
        shown: as others see it.
        folded: by which it is searched.
        keys: what it occupies. Two that share one cannot both be there.
    """

    shown: str
    folded: str
    keys: tuple[str, ...]


def username(text: str, *, least: int, most: int, reserved: Collection[str] = ()) -> Username:
    """Return the username that a text is.

    Arguments:
        text: what the user wrote.
        least: how many characters it has at least.
        most: how many at most.
        reserved: names beside RESERVED that nobody may have.

    Raises:
        BadUsername: it has other characters than letters, digits and JOINERS, or not as many.
        ReservedUsername: it is, or looks like, a reserved one.
    """
    shown = unicodedata.normalize("NFKC", text)
    if not least <= len(shown) <= most:
        raise BadUsername(f"username: {least} to {most} characters")
    _check_characters(shown)
    folded = fold(shown)
    for begin in IDS:
        if _likeness(shown).startswith(_likeness(begin)):
            raise ReservedUsername(f"username: {begin} begins an id")
    without_joiners = "".join(one for one in shown if one not in JOINERS)
    names = {_likeness(name) for name in (*RESERVED, *reserved)}
    if not names.isdisjoint((_likeness(shown), _likeness(without_joiners))):
        raise ReservedUsername("username: nobody may have this one")
    return Username(shown, folded, keys_of(shown))


def fold(text: str) -> str:
    """Return the form of a text in which those that differ by case alone are equal."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def keys_of(shown: str) -> tuple[str, ...]:
    """Return what a name looks like, as it is shown and in small letters."""
    return tuple(sorted({fold(skeleton(shown)), fold(skeleton(fold(shown)))}))


def _likeness(text: str) -> str:
    """Return what a text looks like in any mix of capitals and small letters.

    The skeleton takes a capital I for an l, so a small i is taken for one as well. Two users may
    have names that differ so, but not a user and the server.
    """
    return fold(skeleton(fold(skeleton(text)))).replace("i", "l")


def _check_characters(shown: str) -> None:
    before, marks = JOINERS[0], 0
    for one in (*shown, JOINERS[0]):
        kind = unicodedata.category(one)
        joins = one in JOINERS
        marks = marks + 1 if kind[0] == "M" else 0
        if (joins or marks) and before in JOINERS:
            raise BadUsername(
                "username: begin and end with a letter or a digit, no two of _-. meet"
            )
        if marks > MARKS:
            raise BadUsername(f"username: at most {MARKS} marks on one letter")
        if not (joins or kind[0] in "LM" or kind == "Nd") or one in _INVISIBLE:
            raise BadUsername("username: letters, digits, and _ - . between them")
        before = one
