"""Where a server sends requests of its own: to public addresses, and to no others unasked.

Somebody who may name a URL must not reach what only the server can reach: its own machine, its
network, a cloud's metadata. So each address that a name resolves to is checked, and the connection
goes to the address that was checked, not to the name once more.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from protocol.server.addresses import Network

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_CHARACTERS: Final = 2048
_EMBEDDING: Final = tuple(
    map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"))
)
"""IPv6 networks whose addresses lead to IPv4 addresses inside them (RFC 4291, 6052, 8215, 3056)."""


_NOBODYS: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""Networks for protocols and examples (RFC 6890, 7526, 9637), which Python takes for public ones.
Some clouds have their metadata in the first.
"""


class BadDestination(ValueError):  # noqa: N818 - what it says
    """A URL or an address to which nothing is sent. The text is for whoever named it."""


class Destination(NamedTuple):
    """A URL, taken apart."""

    secure: bool
    host: str
    port: int
    target: str
    """The path and what is behind it."""

    @property
    def authority(self) -> str:
        """The value of the header `host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parsed_url(url: str) -> Destination:
    """Take a URL apart. Raises BadDestination."""
    if len(url) > MOST_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        raise BadDestination(f"a URL has up to {MOST_CHARACTERS} printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise BadDestination(f"no URL: {error}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise BadDestination("a URL of a webhook begins with https:// and a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadDestination("a URL of a webhook has no user, password or fragment")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(secure, parts.hostname, port or (443 if secure else 80), target)


def parsed_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks. Raises ValueError: one is none."""
    return tuple(map(ipaddress.ip_network, texts))


def check_address(text: str, *, secure: bool, allowed: Sequence[Network]) -> None:
    """Check that a request may go to an address.

    Arguments:
        text: the address.
        secure: whether it goes by https. Without it only `allowed` networks are reached.
        allowed: networks that are reached though they are not public.

    Raises:
        BadDestination: it may not.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = _inner(address)
    if any(one in network for network in allowed for one in (address, inner)):
        return
    if not (_is_public(address) and _is_public(inner)):
        raise BadDestination(f"{text} is no public address, and webhooks.networks has it not")
    if not secure:
        raise BadDestination("http is for the networks of webhooks.networks alone; use https")


def _inner(address: IpAddress) -> IpAddress:
    if isinstance(address, ipaddress.IPv6Address):
        for network in _EMBEDDING:
            if address in network:
                packed = address.packed
                return ipaddress.IPv4Address(
                    packed[2:6] if network.prefixlen == 16 else packed[12:16]
                )
    return address


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and any(address in one for one in _EMBEDDING):
        return True  # the address inside decides
    if any(address in network for network in _NOBODYS):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
