"""The settings of the wire: every limit to a connection, with its unit and default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocol.server.addresses import networks
from protocol.server.origin import canonical

Path = Annotated[
    str, Meta(pattern=r"^/[!->@-~]*\Z", description='a path that begins with "/", without "?"')
]

_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(\.{_BYTE}){{3}}"
_IPV6 = r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[^\s\[\]]+)?"
_NAME = r"(?![0-9.]+\Z)[^\s\[\]:]+"
"""What is all digits and dots is meant as an address. A resolver takes "127" for 0.0.0.127."""

BindHost = Annotated[
    str,
    Meta(
        pattern=rf"^({_NAME}|{_IPV4}|{_IPV6})\Z",
        description="an address or a name of this machine, without brackets and port,"
        ' "0.0.0.0" or "::" for every one',
    ),
]


DEFAULT_PAGES = "examples/web"


def check_proxies(trusted_proxies: Sequence[str]) -> None:
    """Raise ValueError, which names the key, for a proxy that is no network."""
    try:
        networks(trusted_proxies)
    except ValueError as error:
        raise ValueError(f"trusted_proxies: {error}") from None


def canonical_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """Return origins in the form that browsers send.

    Raises ValueError, which names the key, for an origin that no browser sends.
    """
    try:
        return tuple(map(canonical, origins))
    except ValueError as error:
        raise ValueError(f"origins: {error}") from None


class WireSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of `Gateway` and its connections. Times are in seconds, sizes in bytes.

    Only `spare_handshakes`, `gather_s` and the keys that say so may be 0. To have no limit, set a
    high one.
    """

    path: Path = "/ws"
    """The one path that is upgraded to WebSocket."""
    origins: tuple[str, ...] = ("self",)
    """Allowed values of `Origin`, as `scheme://host` or `scheme://host:port`; `self`: the pages of
    the server's own HTTP port, `self:port` those at the same address and another port; empty: any.
    Only browsers send one, so a request without an `Origin` is always allowed. They are kept in the
    form that browsers send."""
    max_connections: int = 10_000
    """Connections at once. One more is answered 503 with `Retry-After`."""
    address_connections: Annotated[int, Meta(ge=0)] = 1_000
    """Connections of one address; 0: no limit. One more is answered 429."""
    address_connects_per_s: Annotated[float, Meta(ge=0)] = 50.0
    """New connections of one address; 0: no limit. More are answered 429, then not at all."""
    address_connects_burst: Annotated[int, Meta(ge=1)] = 1_000
    """So many may come at once after a pause."""
    ipv6_prefix: Annotated[int, Meta(ge=1, le=128)] = 64
    """How many bits of an IPv6 address count as one address, since a client may have a network."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128", "unix")
    """Networks whose `forwarded_header` is believed, and "unix" for peers on a unix socket. A
    request from one of them without the header has no limits of an address."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The header that the proxies write. The other one is not read, as clients can write it."""
    spare_handshakes: int = 256
    """Sockets beyond `max_connections` that are read, so that they get an answer."""
    max_header_bytes: int = 8_192
    """The longest head of a handshake request, with all of its headers."""
    handshake_timeout_s: float = 5.0
    """From accept to the end of the handshake, TLS included."""
    first_message_timeout_s: float = 10.0
    """From the handshake until the layer above calls `Connection.expect_within(None)`."""
    max_message_bytes: int = 131_072
    """The longest message of a client, all its fragments together."""
    outbox_bytes: int = 1_048_576
    """Bytes that may wait for one client. With more, it is closed as a slow consumer."""
    stalled_s: float = 30.0
    """A client that has read nothing for so long, while something waits for it, leaves as a slow
    consumer, even if it answers pings."""
    backlog_bytes: int = 268_435_456
    """What may wait for all clients whose sockets are full; over it those with the most leave."""
    address_backlog_bytes: Annotated[int, Meta(ge=0)] = 67_108_864
    """The same for the clients of one address; 0: no limit."""
    gather_s: Annotated[float, Meta(ge=0, le=1)] = 0.005
    """How long after the last send to a client its pushes may be gathered while the loop is busy.
    0: pushes are always sent at once, as they are while the loop has time to spare."""
    keepalive_s: float = 20.0
    """The time between two pings."""
    keepalive_timeout_s: float = 60.0
    """A client that sends nothing for so long counts as vanished. It is closed when the next ping
    is due, up to `keepalive_s` later."""
    control_frames_per_s: float = 50.0
    """Pings and pongs a client may send, averaged over one `keepalive_s`; more is flooding."""
    close_timeout_s: float = 5.0
    """From our close frame to the end of the socket, whatever the client does."""

    def __post_init__(self) -> None:
        """Raise ValueError for a proxy that is no network, or an origin that no browser sends."""
        check_proxies(self.trusted_proxies)
        msgspec.structs.force_setattr(self, "origins", canonical_origins(self.origins))


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address of HTTP. It has no authentication, so keep it on a private address."""

    enabled: bool = True
    ready_without: tuple[Literal["postgresql", "redis"], ...] = ("redis",)
    """Stores without which `/readyz` still answers 200, as degraded. Play goes on without Redis,
    and another node would be no better off. Nothing is acknowledged without PostgreSQL."""
    host: BindHost = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 7351
    pages: str = DEFAULT_PAGES
    """The folder of web pages to serve; empty: none. The default one need not exist."""
