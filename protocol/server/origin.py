"""Web origins: from which pages a browser may connect."""

from __future__ import annotations

import re
from typing import Final

_ORIGIN: Final = re.compile(
    r"([A-Za-z][-+.0-9A-Za-z]*)://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::([0-9]{1,5}))?/?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


def canonical(origin: str) -> str:
    """The one way to write an origin, which is what browsers send (RFC 6454, section 6.2).

    Scheme and host in small letters, the scheme's own port left out, no slash at the end. `null`,
    which a browser sends for a page without an origin (a file, a sandboxed frame), stays.

    Raises ValueError: it is no origin.
    """
    if origin == "null":
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
