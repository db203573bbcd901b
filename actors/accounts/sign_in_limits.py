"""`SignInLimits`: how often people may try to sign in, counted over all nodes.

An attempt is counted before it is decided, so that of many at the same time no more pass than a
limit allows. Attempts that are refused count too.

An attempt is counted against the budget of its network address, then against that of the account
that it names, and then against that of the whole server. If a narrow budget refuses it, it is not
counted against a wider one. So one address cannot use up the budget of an account or of the server.

Others can use up the budget of an account, but they cannot lock its owner out. A device that was
signed in before shows the token that it was given then. Its attempts are counted against a budget
of its own, and against a second one of the server that is kept for such devices.

While Valkey is away, each node counts for itself with the same limits. So nobody gets in uncounted,
and nobody is locked out, but with N nodes an attacker has up to N budgets.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final, NamedTuple

import msgspec

from actors.edge.failures import Refused
from actors.quantities import Limit, PositiveSeconds
from persistence.counters import Counters
from protocol.errors import TOO_MANY_SIGN_INS

BUDGETS: Final = ("device", "address", "account", "server", "known")


class SignInLimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many attempts to sign in there may be in a window, over all nodes. 0: no limit."""

    window_s: PositiveSeconds = 600.0
    """The length of the window, which slides."""
    address: Limit = 300
    """Attempts from one network address: of an IPv6 address, its first `wire.ipv6_prefix` bits."""
    account: Limit = 15
    """Attempts on one account from all devices together on which it was not used before."""
    device: Limit = 15
    """Attempts on one account from one device on which it was used before."""
    server: Limit = 60_000
    """Attempts on the whole server; and as many again from devices that were signed in before."""


class Attempt(NamedTuple):
    """An attempt to sign in, or to show a secret of an account.

    Attributes:
        address: the network address that it comes from; None: it has no limits.
        account: a name for the account; empty: the attempt names no account.
        device: a name for the device, if the account was used on it before; empty: it was not.
    """

    address: str | None = None
    account: str = ""
    device: str = ""


class SignInLimits:
    """Counts attempts, and refuses those beyond a limit.

    Arguments:
        counters: count over all nodes.
        settings: the limits.

    Attributes:
        refused: budget -> how many attempts were refused because it was used up.
    """

    def __init__(self, counters: Counters, settings: SignInLimitSettings) -> None:
        self._counters = counters
        self._settings = settings
        self.refused: Counter[str] = Counter(dict.fromkeys(BUDGETS, 0))

    async def count(self, attempt: Attempt) -> None:
        """Count an attempt.

        Raises Refused: TOO_MANY_SIGN_INS, with the time after which the next attempt may pass.
        """
        limits = self._settings
        if attempt.device:
            await self._count("device", limits.device, f"{attempt.account} {attempt.device}")
            await self._count("known", limits.server, "")
            return
        if attempt.address is not None:
            await self._count("address", limits.address, attempt.address)
        if attempt.account:
            await self._count("account", limits.account, attempt.account)
        await self._count("server", limits.server, "")

    async def _count(self, budget: str, limit: int, whose: str) -> None:
        if not limit:
            return
        # A hash, so that Valkey holds nothing that tells of a person.
        name = hashlib.sha256(whose.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        found = await self._counters.count(
            f"accounts.attempts.{budget}.{name}", window_s=self._settings.window_s
        )
        if found.total > limit:
            self.refused[budget] += 1
            # The attempt that is to pass counts itself.
            raise Refused(TOO_MANY_SIGN_INS, retry_in_s=found.falls_to(limit - 1))
