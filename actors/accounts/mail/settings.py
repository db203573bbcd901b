"""Settings of mail. Times are in seconds."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from actors.quantities import PositiveSeconds

PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
"""The schemes of `url`: without TLS, with STARTTLS, and TLS from the start."""


class SmtpAddress(NamedTuple):
    """A mail server."""

    scheme: str
    host: str
    port: int
    user: str
    password: str


class MailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where mail goes, and how long it is tried."""

    url: str = ""
    """The mail server, as smtp+starttls://user:password@host:587, or smtps:// with TLS from the
    start, or smtp:// without; empty: mail is written to the log, for development."""
    sender: str = "greenroom@localhost"
    """The address that mail comes from."""
    product: str = "Greenroom"
    """What mail calls the game."""
    ca_file: str = ""
    """Certificates that the mail server's must be signed by; empty: those of the system."""
    timeout_s: PositiveSeconds = 10.0
    """How long the mail server may take for one step."""
    look_every_s: PositiveSeconds = 1.0
    """How often a node looks for mail that waits. Its own goes out at once."""
    first_retry_s: PositiveSeconds = 5.0
    """The pause after the first attempt that failed; it doubles with each."""
    longest_retry_s: PositiveSeconds = 600.0
    """The longest of these pauses."""
    notice_valid_s: PositiveSeconds = 86_400.0
    """How long a notice is tried. A letter with a code is tried for as long as that is valid."""

    def __post_init__(self) -> None:
        """Raise ValueError for a url that is none, and for a sender without a domain."""
        if self.url:
            smtp_address(self.url)
        if self.sender.count("@") != 1 or not self.sender.isprintable() or " " in self.sender:
            raise ValueError("sender must be an address, as game@example.com")


def smtp_address(url: str) -> SmtpAddress:
    """Return the mail server of a url. Raises ValueError, without what the url has."""
    problem = "url must be smtp://, smtp+starttls:// or smtps:// with a host"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(problem) from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(problem)
    return SmtpAddress(
        parts.scheme,
        parts.hostname,
        port or PORTS[parts.scheme],
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )
