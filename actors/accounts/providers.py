"""Providers: services elsewhere that say who somebody is, such as Steam or an issuer of OpenID.

A provider of one's own is a class with the method `subject`, which the configuration names in
[providers]; examples/steam.py is one. The server makes one object of it for each node, with the
options of the configuration, and `Outgoing` to ask others with.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from actors.accounts.outgoing import Outgoing
from actors.edge.failures import Refused
from actors.service import CannotStart
from protocol.errors import BAD_PROOF, PROVIDER_FAILED

PROVIDER: Final = re.compile(r"[a-z][a-z0-9_\-]{0,31}")
RESERVED: Final = frozenset(("guest", "device", "custom", "email", "password", "oidc"))
SUBJECT_CHARACTERS: Final = 255


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody shows.

    Attributes:
        text: a ticket, an ID token, or a code.
        is_code: it is a code, for which a provider of OpenID Connect gives an ID token.
        state, secret: as the begin of the sign-in gave them; empty: it was not begun here.
    """

    text: str
    is_code: bool = False
    state: str = ""
    secret: str = ""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody was shown to be.

    Attributes:
        issuer: who says so; the first half of the identity.
        subject: the second half.
        flow: the sign-in that was begun, which can be ended once; empty: none was.
        flow_until: until when it could be ended, in seconds since 1970.
    """

    issuer: str
    subject: str
    flow: bytes = b""
    flow_until: float = 0.0


class Provider(Protocol):
    """Somebody elsewhere who says who a player is. There is one object of it on each node."""

    async def subject(self, proof: str) -> str:
        """Return the id of the player who has this proof, at most 255 characters.

        It is cut off after `accounts.provider_timeout_s`.

        Raises:
            BadProof: the proof is not valid.
            ProviderFailed: it cannot be told, since somebody else answers nonsense.
        """


class BadProof(Refused):
    """A provider raises it for a proof that is not valid. The text is shown to the player."""

    def __init__(self, why: str = "") -> None:
        super().__init__(BAD_PROOF, why)


class ProviderFailed(Refused):
    """A provider raises it if whoever it asks answers nonsense."""

    def __init__(self, why: str = "") -> None:
        super().__init__(PROVIDER_FAILED, why)


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider of one's own: "package.module:Class", and what its constructor takes."""

    path: str
    options: dict[str, Any] = {}


class NoSuchProvider(CannotStart):
    """A provider of the configuration cannot be used. The text is one line."""


class Ticketed:
    """Shows who somebody is by a provider of one's own."""

    def __init__(self, name: str, provider: Provider) -> None:
        self._name = name
        self._provider = provider

    async def shown(self, proof: Proof) -> Shown:
        """Return who has this proof. Raises Refused."""
        subject: object = await self._provider.subject(proof.text)
        if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARACTERS:
            raise TypeError(f"the provider {self._name} returned no subject")
        return Shown(issuer=self._name, subject=subject)


def load_providers(
    settings: Mapping[str, ProviderSettings], beside: Path, outgoing: Outgoing
) -> dict[str, Ticketed]:
    """Import the providers of [providers]. `beside`: a folder to look in first.

    Raises NoSuchProvider: there is none, or it cannot be made with these options.
    """
    if settings and str(beside) not in sys.path:
        sys.path.insert(0, str(beside))
    return {name: Ticketed(name, _made(name, one, outgoing)) for name, one in settings.items()}


def check_provider_name(name: str, section: str) -> None:
    """Raise NoSuchProvider for a name that no provider can have."""
    if not PROVIDER.fullmatch(name) or name in RESERVED:
        raise NoSuchProvider(f"[{section}] {name}: no such name; small letters, digits, _ and -")


def _made(name: str, settings: ProviderSettings, outgoing: Outgoing) -> Provider:
    check_provider_name(name, "providers")
    module, _, attribute = settings.path.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)(outgoing, **settings.options)
    except Exception as error:
        raise NoSuchProvider(f"[providers] {name}: {settings.path}: {error!r}") from error
    if not callable(getattr(made, "subject", None)):
        raise NoSuchProvider(f"[providers] {name}: {settings.path} has no method subject")
    provider: Provider = made
    return provider
