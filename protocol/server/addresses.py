"""Whose connection it is: an address, of the socket or as a trusted proxy names it.

Behind a proxy every socket has the proxy's address, and who is there stands in a header, which
anybody can write. So it is read only of peers that are configured as proxies, only the one header
that they are known to write, and from its end, where the nearest proxy has put what it saw itself:
what stands before the first address that is no proxy's is the client's own tale.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

UNIX: Final = "unix"
"""The host of whoever comes over a unix socket."""
UNKNOWN: Final = "unknown"
"""The address of all whom a proxy names in a way that cannot be read, together."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IP = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 7239, section 4, but for a value that should be quoted and is not, as of an IPv6 address.
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^\s",;]*)'
_PAIR = rf"\s*[\w-]+\s*=\s*{_VALUE}\s*"
_ELEMENT: Final = re.compile(rf"{_PAIR}(?:;{_PAIR})*")
_FOR: Final = re.compile(rf"(?i)(?:^|;)\s*for\s*=\s*({_VALUE})")
_COMMAS: Final = 8  # in one element, at most: a client may have written thousands
_HOST: Final = re.compile(r"\[([^\]]*)\](?::\w+)?|([\d.]+):\w+")


class Door(Protocol):
    """Lets connections in, by their address."""

    def enter(self, address: str) -> float | None:
        """Ask to let in one more connection of this address. None: it is in, and `leave` must be
        called for it. A number: it is not, and may come again in so many seconds; 0 or less: it
        does not even get an answer.
        """

    def leave(self, address: str) -> None:
        """A connection that was let in is over."""


def host_of(peer: str) -> str:
    """The host in `host:port`, the way `protocol.server.listener` names a peer."""
    return peer.rpartition(":")[0] or peer


class Addresses:
    """Finds out the address of a connection.

    Args:
        proxies: networks of the proxies that are believed, and `UNIX` for unix sockets.
        header: that they write: "x-forwarded-for", or "forwarded" (RFC 7239).
        ipv6_prefix: so many bits of an IPv6 address are one client's, who can choose the others.

    Raises:
        ValueError: `proxies` names something that is no network.
    """

    def __init__(self, proxies: Sequence[str], header: str, ipv6_prefix: int) -> None:
        self._unix = UNIX in proxies
        self._networks = networks(proxies)
        self._prefix = ipv6_prefix
        self._forwarded = header.lower() == "forwarded"
        name = re.escape(header.encode())
        self._header = re.compile(rb"(?im)^" + name + rb"[ \t]*:[ \t]*([^\r\n]*)")

    def trusts(self, host: str) -> bool:
        """Whether this peer is a proxy, whose header is believed."""
        if host == UNIX:
            return self._unix
        address = _parsed(host)
        return address is not None and self._is_proxy(address)

    def own(self, host: str) -> str:
        """The address of a peer that is no proxy."""
        return UNIX if host == UNIX else self._key(_parsed(host))

    def named(self, head: bytes) -> str | None:
        """The address that a proxy names in the head of a request; None: it comes for itself."""
        for host in self._named(head):
            address = _parsed(host)
            if address is None or not self._is_proxy(address):
                return self._key(address)
        return None

    def _named(self, head: bytes) -> Iterator[str]:
        """The hosts in the header, the nearest first; "" for what cannot be read."""
        parts = b",".join(self._header.findall(head)).decode("latin-1").split(",")
        while parts:
            element = parts.pop()
            if not element.strip():
                continue
            if not self._forwarded:
                yield element.strip()
                continue
            # From the end, the shortest that is an element: a quote that a client has opened in
            # what stands before does not reach into it.
            for _ in range(_COMMAS):
                if not parts or _ELEMENT.fullmatch(element):
                    break
                element = f"{parts.pop()},{element}"
            found = _FOR.search(element) if _ELEMENT.fullmatch(element) else None
            yield found.group(1).strip('"') if found else ""

    def _is_proxy(self, address: _IP) -> bool:
        return any(address in network for network in self._networks)

    def _key(self, address: _IP | None) -> str:
        if address is None:
            return UNKNOWN
        if isinstance(address, ipaddress.IPv6Address):
            network = ipaddress.IPv6Network((int(address), self._prefix), strict=False)
            return str(network)
        return str(address)


def networks(names: Sequence[str]) -> list[Network]:
    """The networks among `names`; `UNIX` is passed over.

    Raises:
        ValueError: a name that is neither; it is in the text.
    """
    found: list[Network] = []
    for name in names:
        if name != UNIX:
            try:
                found.append(ipaddress.ip_network(name))
            except ValueError as error:
                raise ValueError(f'{error}; a network is written "10.0.0.0/8"') from None
    return found


def _parsed(host: str) -> _IP | None:
    """An address, with or without a port and brackets; an IPv4 one that is written as IPv6 too."""
    found = _HOST.fullmatch(host)
    if found is not None:
        host = found.group(1) or found.group(2)
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
