"""Web origins: from which pages a browser may connect."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from typing import Final

_ORIGIN: Final = re.compile(
    r"([A-Za-z][-+.0-9A-Za-z]*)://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::([0-9]{1,5}))?/?"
)
_SELF: Final = re.compile(r"self(?::([0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


def canonical(origin: str) -> str:
    """The one way to write an origin, which is what browsers send (RFC 6454, section 6.2).

    Scheme and host in small letters, the scheme's own port left out, no slash at the end. `null`,
    which a browser sends for a page without an origin (a file, a sandboxed frame), stays. So do
    `self` and `self:port`, see `is_own`.

    Raises ValueError: it is no origin.
    """
    if origin == "null" or _SELF.fullmatch(origin):
        return origin
    parts = _ORIGIN.fullmatch(origin.strip())
    if parts is None:
        raise ValueError(
            f"{origin!r} is no origin: scheme://host or scheme://host:port, without a path"
        )
    scheme, host, port = parts[1].lower(), parts[2].lower(), parts[3]
    return f"{scheme}://{host}" + (
        f":{port}" if port and port != _DEFAULT_PORTS.get(scheme) else ""
    )


def with_own_ports(origins: Sequence[str], ports: Collection[int]) -> tuple[str, ...]:
    """Give `self` the ports at which the server's own pages are. Without one it lets nothing in."""
    found: list[str] = []
    for origin in origins:
        found += [f"self:{port}" for port in ports] if origin == "self" and ports else [origin]
    return tuple(dict.fromkeys(found))


def is_own(origin: str, host: str, origins: Collection[str]) -> bool:
    """Whether a page comes from the server's own address, at a port for which `self:port` stands.

    The browser must have reached both by the same localhost or the same IP address. A name would
    prove nothing: whoever owns one can have it lead to this server (DNS rebinding), so pages at a
    name need to be listed.

    Arguments:
        origin: the page's, as browsers write it.
        host: the header `Host` of the handshake.
        origins: those that are allowed.
    """
    page = _ORIGIN.fullmatch(origin)
    if page is None or page[1] != "http" or f"self:{page[3] or 80}" not in origins:
        return False
    name = page[2]
    here = _ORIGIN.fullmatch(f"ws://{host}")
    if here is None or here[2].lower() != name:
        return False
    return name == "localhost" or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
