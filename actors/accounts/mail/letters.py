"""What mail says. A letter is chosen by its name, which is what the queue keeps."""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32: no letter looks like a digit."""
CODE_CHARACTERS: Final = 12
"""60 bits. What the database has of a code is a plain hash, and it is valid for minutes."""
_ALIKE: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


class Letter(NamedTuple):
    """A subject and a text. `{product}`, `{code}` and `{minutes}` are filled in."""

    subject: str
    text: str


LETTERS: Final[dict[str, Letter]] = {
    "sign_up": Letter(
        "Your code for {product}",
        "Enter this code to finish your registration:\n\n    {code}\n\n"
        "It is valid for {minutes} minutes. If you have not asked for it, ignore this letter.\n",
    ),
    "sign_up_known": Letter(
        "You have an account at {product}",
        "Somebody, perhaps you, wants to register this address. It has an account already.\n"
        "If it was you: sign in, or ask for a new password.\n",
    ),
    "reset": Letter(
        "A new password for {product}",
        "Enter this code to choose a new password:\n\n    {code}\n\n"
        "It is valid for {minutes} minutes. If you have not asked for it, ignore this letter:\n"
        "your password stays as it is.\n",
    ),
    "password_changed": Letter(
        "Your password for {product} was changed",
        "Your password was changed, and all other devices were signed out.\n"
        "If it was not you, ask for a new password at once.\n",
    ),
    "second_factor_on": Letter(
        "{product} asks for a second factor now",
        "A second factor was added to your account.\nIf it was not you, ask for help at once.\n",
    ),
    "second_factor_off": Letter(
        "{product} asks for no second factor any more",
        "The second factor was removed from your account.\n"
        "If it was not you, change your password at once.\n",
    ),
}


def new_code(characters: int = CODE_CHARACTERS) -> str:
    """Return a new code, in groups of four characters."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(characters))
    return "-".join(code[at : at + 4] for at in range(0, characters, 4))


def plain_code(shown: str) -> str:
    """Return a code as people may have typed it, in the one form that is hashed."""
    return shown.upper().translate(_ALIKE)


def filled_in(name: str, product: str, code: str, minutes: int) -> Letter:
    """Return a letter with everything filled in."""
    letter = LETTERS[name]
    return Letter(
        letter.subject.format(product=product),
        letter.text.format(product=product, code=code, minutes=minutes),
    )
