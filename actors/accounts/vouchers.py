"""`Vouchers`: everybody elsewhere who can say who a player is, by name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from actors.accounts.flows import Flows
from actors.accounts.oidc import OidcProvider, OidcSettings
from actors.accounts.outgoing import Outgoing, may_be_asked
from actors.accounts.providers import (
    NoSuchProvider,
    Proof,
    ProviderSettings,
    Shown,
    Ticketed,
    check_provider_name,
    load_providers,
)
from actors.edge.failures import Refused
from protocol.errors import BUSY, PROVIDER_AWAY, UNKNOWN_PROVIDER

SECTION: Final = "oidc"


class Vouchers:
    """Knows the providers of the configuration.

    Arguments:
        issuers: those of OpenID Connect.
        others: those of [providers].
        timeout_s: how long one may take, whatever it asks for meanwhile.
        flow_valid_s: how long a sign-in may take.
        most_waiting: how many may wait for what providers say; more are refused.

    Raises NoSuchProvider: two have the same name.
    """

    def __init__(
        self,
        issuers: Mapping[str, OidcProvider],
        others: Mapping[str, Ticketed],
        *,
        timeout_s: float,
        flow_valid_s: float,
        most_waiting: int = 256,
    ) -> None:
        for name in issuers.keys() & others.keys():
            raise NoSuchProvider(f"[providers] {name} is in [oidc] too")
        self._issuers = dict(issuers)
        self._all: dict[str, OidcProvider | Ticketed] = {**issuers, **others}
        self._names = {one.settings.issuer: name for name, one in issuers.items()}
        self.timeout_s = timeout_s
        self.flow_valid_s = flow_valid_s
        self._most_waiting = most_waiting
        self._waiting = 0

    def __contains__(self, name: str) -> bool:
        return name in self._all

    def issuer(self, name: str) -> OidcProvider:
        """Return an issuer of OpenID Connect. Raises Refused: UNKNOWN_PROVIDER."""
        found = self._issuers.get(name)
        if found is None:
            raise Refused(UNKNOWN_PROVIDER)
        return found

    async def shown(self, name: str, proof: Proof) -> Shown:
        """Return who has this proof, by what a provider says.

        Raises Refused: UNKNOWN_PROVIDER, PROVIDER_AWAY, or why the proof is refused.
        """
        provider = self._all.get(name)
        if provider is None:
            raise Refused(UNKNOWN_PROVIDER)
        with self.waiting(), trio.move_on_after(self.timeout_s):
            return await provider.shown(proof)
        raise Refused(PROVIDER_AWAY, f"{name} has not answered in time")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count somebody who waits for a provider. Raises Refused: BUSY; too many do."""
        if self._waiting >= self._most_waiting:
            raise Refused(BUSY, "too many wait for providers")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def name_of(self, issuer: str) -> str:
        """Return what the configuration calls the first half of an identity."""
        return self._names.get(issuer, issuer)

    def issuer_of(self, name: str) -> str:
        """Return the first half of the identities of a provider."""
        found = self._issuers.get(name)
        return name if found is None else found.settings.issuer


def load_issuers(
    settings: Mapping[str, OidcSettings], folder: Path, flows: Flows, outgoing: Outgoing
) -> dict[str, OidcProvider]:
    """Make the issuers of [oidc]. Raises NoSuchProvider: one cannot be used."""
    issuers: dict[str, OidcProvider] = {}
    seen: set[str] = set()
    for name, one in settings.items():
        check_provider_name(name, SECTION)
        if one.issuer in seen:
            raise NoSuchProvider(f"[oidc] {name}: its issuer is there twice")
        if not may_be_asked(one.issuer):
            raise NoSuchProvider(f"[oidc] {name}: {one.issuer} is not https")
        seen.add(one.issuer)
        secret = None
        if one.client_secret_file:
            try:
                secret = (folder / one.client_secret_file).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise NoSuchProvider(
                    f"[oidc] {name}: client_secret_file cannot be read: {error}"
                ) from error
        issuers[name] = OidcProvider(
            name, one, secret, flows=flows, outgoing=outgoing, clock=time.monotonic
        )
    return issuers


def load_vouchers(
    issuers: Mapping[str, OidcSettings],
    others: Mapping[str, ProviderSettings],
    folder: Path,
    flows: Flows,
    outgoing: Outgoing,
    *,
    most_waiting: int,
) -> Vouchers:
    """Make everybody of [oidc] and [providers]. Raises NoSuchProvider."""
    return Vouchers(
        load_issuers(issuers, folder, flows, outgoing),
        load_providers(others, folder, outgoing),
        timeout_s=outgoing.timeout_s,
        flow_valid_s=flows.valid_s,
        most_waiting=most_waiting,
    )
