"""The address that counts as a client's, with and without proxies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.server.addresses import UNIX, UNKNOWN, Addresses, host_of

PROXIES = ("10.0.0.0/8", "fd00::/8", "::1/128", UNIX)


def head(*lines: str) -> bytes:
    text = "".join(f"{line}\r\n" for line in ("GET /ws HTTP/1.1", "Host: x", *lines))
    return f"{text}\r\n".encode("latin-1")


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.1.2.3:4000", True),
        ("::ffff:10.1.2.3:4000", True),  # IPv4 over a socket for IPv6
        ("192.0.2.1:4000", False),
        ("fd00::1:4000", True),
        ("2001:db8::1:4000", False),
        ("::1:4000", True),
        ("fe80::1%eth0:4000", False),
        (UNIX, True),
        ("nonsense", False),
    ],
)
def test_only_what_is_configured_is_a_proxy(peer: str, trusted: bool) -> None:
    assert Addresses(PROXIES, "x-forwarded-for", 64).trusts(host_of(peer)) == trusted


def test_a_unix_socket_is_trusted_only_if_it_is_named() -> None:
    assert not Addresses((), "x-forwarded-for", 64).trusts(UNIX)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, same: bool) -> None:
    addresses = Addresses(PROXIES, "x-forwarded-for", 64)
    assert (addresses.own(one) == addresses.own(other)) == same


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ((), None),
        (("X-Forwarded-For: 192.0.2.1",), "192.0.2.1"),
        (("x-forwarded-for:192.0.2.1",), "192.0.2.1"),
        (("X-Forwarded-For: 192.0.2.1:4711",), "192.0.2.1"),
        (("X-Forwarded-For: [2001:db8::7]:4711",), "2001:db8::/64"),
        (("X-Forwarded-For: 2001:db8::7",), "2001:db8::/64"),
        # What the client says itself stands first, and is not believed.
        (("X-Forwarded-For: 1.1.1.1, 192.0.2.1",), "192.0.2.1"),
        (("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 192.0.2.1"), "192.0.2.1"),
        (("X-Forwarded-For: 1.1.1.1, 192.0.2.1, 10.0.0.2, 10.0.0.1",), "192.0.2.1"),
        (("X-Forwarded-For: 10.0.0.2",), None),
        (("X-Forwarded-For: 192.0.2.1, unknown",), UNKNOWN),
        (("X-Forwarded-For: 192.0.2.1, , ",), "192.0.2.1"),
        (("Forwarded: for=192.0.2.9",), None),
        (("X-Not-X-Forwarded-For: 192.0.2.1",), None),
    ],
)
def test_x_forwarded_for_is_read_from_its_end(lines: tuple[str, ...], named: str | None) -> None:
    assert Addresses(PROXIES, "x-forwarded-for", 64).named(head(*lines)) == named


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (("Forwarded: for=192.0.2.1;proto=http;by=10.0.0.1",), "192.0.2.1"),
        (("Forwarded: proto=https; FOR = 192.0.2.1",), "192.0.2.1"),
        (('Forwarded: for="[2001:db8::7]:4711"',), "2001:db8::/64"),
        (("Forwarded: for=1.1.1.1, for=192.0.2.1, for=10.0.0.1",), "192.0.2.1"),
        (('Forwarded: for=1.1.1.1, for=192.0.2.1;host="a, for=10.0.0.1"',), "192.0.2.1"),
        (("Forwarded: for=_hidden",), UNKNOWN),
        (("Forwarded: proto=https",), UNKNOWN),
        (("X-Forwarded-For: 192.0.2.9",), None),
    ],
)
def test_forwarded_is_read_instead_if_that_is_what_the_proxies_write(
    lines: tuple[str, ...], named: str | None
) -> None:
    assert Addresses(PROXIES, "forwarded", 64).named(head(*lines)) == named


_tales = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")) | st.lists(
    st.sampled_from(["for=1.1.1.1", ";", ",", '"', "x=", 'x="', "\\", " ", "1.1.1.1"])
).map("".join)


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("x-forwarded-for", "192.0.2.1", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1", "192.0.2.1"),
        ("forwarded", 'for="[2001:db8::7]:4711"', "2001:db8::/64"),
        ("forwarded", 'proto=https;for="[2001:db8::7]";host="h"', "2001:db8::/64"),
    ],
)
@given(_tales, st.booleans())
def test_whatever_a_client_writes_before_it_the_proxys_word_counts(
    name: str, said: str, expected: str, tale: str, same_line: bool
) -> None:
    addresses = Addresses(PROXIES, name, 64)
    lines = [f"{name}: {tale}, {said}"] if same_line else [f"{name}: {tale}", f"{name}: {said}"]
    assert addresses.named(head(*lines)) == expected


def test_a_proxy_that_is_no_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="my-proxy"):
        Addresses(("my-proxy",), "forwarded", 64)
