"""Addresses of mail, as people give them and as they are compared."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

_ATOM: Final = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
EmailAddress = Annotated[
    str, Meta(max_length=254, pattern=rf"^{_ATOM}{{1,64}}@{_LABEL}(?:\.{_LABEL})+\Z")
]
"""An address, as browsers check it in a field for one."""


def folded(address: str) -> str:
    """Return an address in the form in which it is compared: no two people share one by case."""
    return address.lower()


def about_words(address: str, name: str) -> list[str]:
    """Return what others know of a user, for the measure of a password."""
    local, _, domain = address.partition("@")
    return [word for word in (address, local, domain, domain.partition(".")[0], name) if word]
