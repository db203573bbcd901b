"""`SignInLimits`: how often people may try to sign in, counted over all nodes.

An attempt is counted before it is decided, so that of many at the same time no more pass than a
limit allows. Attempts that are refused count too.

An attempt counts for its network address, then for the account that it names, and then for the
whole server. What a narrow budget refuses does not count for a wider one; so one address cannot use
up what an account or the server has for all. Others can use up an account's budget, but not lock
its owner out: a device that was signed in before shows the token that it was given, and then has a
budget of its own instead of those of the address and the account, and of the server's one that is
kept for such devices.

While Valkey is away each node counts for itself, with the same limits: it lets nobody in uncounted,
and locks nobody out. With N nodes an attacker has up to N budgets in that time.
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
    """From one network address; of IPv6 `wire.ipv6_prefix` bits count as one."""
    account: Limit = 15
    """On one account, from all devices that it was not used on before."""
    device: Limit = 15
    """On one account, from one device that it was used on before."""
    server: Limit = 60_000
    """On the whole server; and as many again from devices that their account was used on before."""


class Attempt(NamedTuple):
    """An attempt to sign in, or to show a secret of an account.

    Attributes:
        address: the network address that it comes from; None: it has no limits.
        account: what the account is known by; empty: the attempt is on no certain account.
        device: what a device is known by that the account was used on before; empty: none is shown.
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
        refused: how many attempts were refused, by the budget that was used up.
    """

    def __init__(self, counters: Counters, settings: SignInLimitSettings) -> None:
        self._counters = counters
        self._settings = settings
        self.refused: Counter[str] = Counter(dict.fromkeys(BUDGETS, 0))

    async def count(self, attempt: Attempt) -> None:
        """Count an attempt. Raises Refused: TOO_MANY_SIGN_INS, and when the next one may pass."""
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
