"""Finds the address of a client: that of the socket, or the one that a trusted proxy names.

Behind a proxy every socket has the proxy's address, and the client's address is in a header. Any
client can write such a header as well. So only peers that are configured as proxies are believed,
and only the one header that they write. It is read from its end, where the nearest proxy has added
the address that it saw. The first address that is no proxy's is the client's; a client may have
made up everything before it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

UNIX: Final = "unix"
"""The host of clients that come over a unix socket."""
UNKNOWN: Final = "unknown"
"""The address shared by all clients whose name in the header cannot be read."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IP = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 7239, section 4; a value that should be quoted need not be, an IPv6 address for example.
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^\s",;]*)'
_PAIR = rf"\s*[\w-]+\s*=\s*{_VALUE}\s*"
_ELEMENT: Final = re.compile(rf"{_PAIR}(?:;{_PAIR})*")
_FOR: Final = re.compile(rf"(?i)(?:^|;)\s*for\s*=\s*({_VALUE})")
_COMMAS: Final = 8  # the most in one element, because a client may have written thousands
_HOST: Final = re.compile(r"\[([^\]]*)\](?::\w+)?|([\d.]+):\w+")


class Door(Protocol):
    """Lets connections in, by their address."""

    def enter(self, address: str) -> float | None:
        """Ask to let in one more connection of this address.

        Returns None if it is let in; then `leave` must be called for it. Else returns in how many
        seconds it may come again; 0 or less: it is closed without an answer.
        """

    def leave(self, address: str) -> None:
        """Note the end of a connection that was let in."""


def host_of(peer: str) -> str:
    """Return the host of `host:port`, the form in which `protocol.server.listener` names a peer."""
    return peer.rpartition(":")[0] or peer


class Addresses:
    """Finds the address of a connection.

    Args:
        proxies: networks of the proxies that are believed, and `UNIX` for unix sockets.
        header: the header that they write: "x-forwarded-for", or "forwarded" (RFC 7239).
        ipv6_prefix: how many bits of an IPv6 address identify a client, who can choose the others.

    Raises:
        ValueError: `proxies` names something that is no network.
    """

    def __init__(self, proxies: Sequence[str], header: str, ipv6_prefix: int) -> None:
        self._unix = UNIX in proxies
        self._networks = networks(proxies)
        self._prefix = ipv6_prefix
        self._forwarded = header.lower() == "forwarded"
        self._name = header.lower()
        name = re.escape(header.encode())
        self._header = re.compile(rb"(?im)^" + name + rb"[ \t]*:[ \t]*([^\r\n]*)")

    def trusts(self, host: str) -> bool:
        """Whether this peer is a proxy that is believed."""
        if host == UNIX:
            return self._unix
        address = _parsed(host)
        return address is not None and self._is_proxy(address)

    def own(self, host: str) -> str:
        """Return the address of a peer that is no proxy."""
        return UNIX if host == UNIX else self._key(_parsed(host))

    def named(self, head: bytes) -> str | None:
        """Return the address that a proxy names in a request's head; None: it comes for itself."""
        return self._first(b",".join(self._header.findall(head)).decode("latin-1"))

    def named_in(self, headers: Mapping[str, str]) -> str | None:
        """Return the same of headers by name; those of one name are joined by commas."""
        return self._first(headers.get(self._name, ""))

    def _first(self, value: str) -> str | None:
        for host in self._named(value):
            address = _parsed(host)
            if address is None or not self._is_proxy(address):
                return self._key(address)
        return None

    def _named(self, value: str) -> Iterator[str]:
        """Yield the hosts in the header, the nearest first; "" for one that cannot be read."""
        parts = value.split(",")
        while parts:
            element = parts.pop()
            if not element.strip():
                continue
            if not self._forwarded:
                yield element.strip()
                continue
            # Take the shortest valid element from the end. So a quote that a client has opened
            # further ahead does not swallow the proxy's own element.
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
    """Return the networks in `names`, without `UNIX`.

    Raises:
        ValueError: a name is no network. The text says which one.
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
    """Parse an address, with or without a port and brackets; IPv4 may be written as IPv6."""
    found = _HOST.fullmatch(host)
    if found is not None:
        host = found.group(1) or found.group(2)
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
