"""Checks of settings.

A wrong setting raises where it is given, not later where it is first used.
"""

from __future__ import annotations

import math
from typing import Any, get_args


def check_word(what: str, word: object, allowed: Any) -> None:
    """Raise ValueError unless `word` is one of the strings of the Literal `allowed`."""
    words = get_args(allowed)
    if word not in words:
        raise ValueError(f"{what} is one of {', '.join(words)}, and not {word!r}")


def check_seconds(
    what: str, seconds: float, *, above_zero: bool = False, finite: bool = False
) -> None:
    """Raise ValueError unless `seconds` is a duration of 0 s or more.

    `above_zero` excludes 0, and `finite` excludes infinity. Raises TypeError if it is not a number.
    """
    _check_number(what, seconds)
    least = "above 0" if above_zero else "at least 0"
    if math.isnan(seconds) or seconds < 0 or (above_zero and seconds == 0):
        raise ValueError(f"{what} is {least} s, and not {seconds!r}")
    if finite and math.isinf(seconds):
        raise ValueError(f"{what} is a finite number of seconds, and not {seconds!r}")


def check_count(what: str, count: int, *, least: int = 0) -> None:
    """Raise TypeError unless `count` is an int, and ValueError unless it is `least` or more."""
    given: object = count  # the caller's code may not be type-checked
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{what} is a whole number, and not {count!r}")
    if count < least:
        raise ValueError(f"{what} is at least {least}, and not {count}")


def check_between(what: str, number: float, least: float, most: float) -> None:
    """Raise ValueError unless `least` <= `number` <= `most`, and TypeError if it is no number."""
    _check_number(what, number)
    if not least <= number <= most:
        raise ValueError(f"{what} is from {least:g} to {most:g}, and not {number!r}")


def check_callable(what: str, value: object) -> None:
    """Raise TypeError unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{what} is called, and {value!r} cannot be")


def check_type(what: str, value: object, wanted: type) -> None:
    """Raise TypeError unless `value` is an instance of `wanted`."""
    if not isinstance(value, wanted):
        raise TypeError(f"{what} is a {wanted.__name__}, and not {value!r}")


def check_name(what: str, name: object) -> None:
    """Raise ValueError unless `name` is a string that is not empty."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"{what} is a string that is not empty, and not {name!r}")


def check_key(what: str, key: object) -> None:
    """Raise TypeError unless `key` is a string. 5 and "5" would be two actors with one log."""
    if not isinstance(key, str):
        raise TypeError(f"{what} is a string, and not {key!r}")


def _check_number(what: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{what} is a number, and not {value!r}")
    try:
        float(value)
    except OverflowError:  # an int beyond 1.8e308; the message leaves its 309 digits out
        raise ValueError(f"{what} is a number that a float can hold, and not one larger") from None
