"""Limits on attempts to sign in: over the wire on two nodes, and without Valkey."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

from actors.accounts.sign_in_limits import Attempt, SignInLimits, SignInLimitSettings
from actors.edge.failures import Refused
from persistence import PostgresSettings, RedisSettings
from persistence.counters import Counters
from persistence.errors import StoreUnavailable
from tests.actors.apis import ApiAnswer, hosted, on_a_port, post

WITHIN_S = 30.0
GUEST, DEVICE = "/v1/sign-in/guest", "/v1/sign-in/device"


class Nodes:
    """Two nodes, which take turns."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports

    async def sign_in(self, path: str, address: str, **body: Any) -> ApiAnswer:
        self.ports.reverse()
        with trio.fail_after(WITHIN_S):
            while True:
                found = await post(self.ports[0], path, {"name": "Ada", **body}, address=address)
                if found.status != 503:  # the node has not read the keys yet
                    return found
                await trio.sleep(0.01)


async def test_limits_hold_over_two_nodes_for_an_address_an_account_and_the_server(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    limits = ("address=4", "account=3", "server=12", "window_s=3600")
    overrides = [f"sign_in_limits.{one}" for one in limits]
    async with (
        hosted(postgres, redis, overrides) as one,
        hosted(postgres, redis, overrides) as two,
        on_a_port(one) as first,
        on_a_port(two) as second,
    ):
        nodes = Nodes([first, second])
        # An address. Of IPv6 the first 64 bits count as one.
        for host in range(4):
            assert (await nodes.sign_in(GUEST, f"2001:db8:0:1::{host + 1}")).status == 200
        for host in range(2):
            refused = await nodes.sign_in(GUEST, f"2001:db8:0:1:{host}:7:8:9")
            assert (refused.status, refused.code) == (429, "too_many_sign_ins")
            # What was counted in the present window counts until the end of the next one.
            assert 0 < refused.body["retry_in_s"] <= 7200
            assert 1 <= int(refused.headers["retry-after"]) <= 7201
        assert (await nodes.sign_in(GUEST, "2001:db8:0:2::1")).status == 200
        # An account: from many addresses, and no further than its own limit.
        for host in range(3):
            found = await nodes.sign_in(DEVICE, f"192.0.2.{host}", device=unique)
            assert found.status == 200
        refused = await nodes.sign_in(DEVICE, "192.0.2.9", device=unique)
        assert refused.code == "too_many_sign_ins"
        # The server: 8 of 12 attempts have come as far as that.
        for host in range(4):
            assert (await nodes.sign_in(GUEST, f"198.51.100.{host}")).status == 200
        refused = await nodes.sign_in(GUEST, "198.51.100.9")
        assert (refused.status, refused.code) == (429, "too_many_sign_ins")


class Away:
    """A counter worker whose store is away."""

    async def ask(self, message: Any, *, timeout: float | None = None) -> Any:
        raise StoreUnavailable("redis", "away")


def limits_of(**settings: Any) -> SignInLimits:
    return SignInLimits(Counters(Away(), lambda: 0.0), SignInLimitSettings(**settings))


async def tried(limits: SignInLimits, attempt: Attempt) -> None:
    """Have an attempt counted, whatever comes of it."""
    with suppress(Refused):
        await limits.count(attempt)


async def test_without_valkey_a_node_counts_for_itself() -> None:
    limits = limits_of(account=2)
    for _ in range(2):
        await limits.count(Attempt("192.0.2.1", "ada"))
    with pytest.raises(Refused):
        await limits.count(Attempt("192.0.2.1", "ada"))
    assert limits.refused["account"] == 1
    await limits.count(Attempt("192.0.2.1", "bob"))


async def test_an_attacker_does_not_use_up_the_budget_of_a_device_of_the_owner() -> None:
    limits = limits_of(address=3, account=2, device=2, server=4)
    for address in ("a", "b", "c", "a", "a", "d"):
        for _ in range(9):
            await tried(limits, Attempt(address, "ada"))
    for user in "uvwxyz":
        await tried(limits, Attempt(user, user))
    assert all(limits.refused[which] for which in ("address", "account", "server"))
    for _ in range(2):
        await limits.count(Attempt("a", "ada", "phone"))
    with pytest.raises(Refused):
        await limits.count(Attempt("a", "ada", "phone"))
    assert limits.refused["device"] == 1


async def test_what_a_narrow_budget_refuses_does_not_count_for_a_wider_one() -> None:
    limits = limits_of(address=1, account=2, server=3)
    await limits.count(Attempt("a", "ada"))
    for _ in range(9):
        with pytest.raises(Refused):
            await limits.count(Attempt("a", "ada"))
    await limits.count(Attempt("b", "ada"))
    for address in "cdefg":
        with pytest.raises(Refused):
            await limits.count(Attempt(address, "ada"))
    await limits.count(Attempt("h", "bob"))
    assert limits.refused["server"] == 0


async def test_no_limit_counts_nothing() -> None:
    limits = limits_of(address=0, account=0, server=0, device=0)
    for _ in range(1000):
        await limits.count(Attempt("a", "ada"))
        await limits.count(Attempt("a", "ada", "phone"))
