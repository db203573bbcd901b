"""The settings of the wire: every limit a connection is held to, with its unit and default."""

from __future__ import annotations

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

Host = Annotated[
    str,
    Meta(
        pattern=rf"^({_NAME}|{_IPV4}|{_IPV6})\Z",
        description="an address or a name of this machine, without brackets and port,"
        ' "0.0.0.0" or "::" for every one',
    ),
]


class WireSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `Gateway` and its connections need to know. Times are in seconds, sizes in bytes.

    Nothing here may be zero, except `spare_handshakes`, `gather_s` and what says so. There is no
    other "unlimited": a limit that should not matter is set high.
    """

    path: Path = "/ws"
    """The one path that is upgraded to WebSocket."""
    origins: tuple[str, ...] = ()
    """Allowed values of `Origin`, as `scheme://host` or `scheme://host:port`; empty: any. Only
    browsers send one, so a request without an `Origin` is always allowed. Kept as browsers write
    them."""
    max_connections: int = 10_000
    """Connections at once; one more is answered 503 with `Retry-After`."""
    address_connections: Annotated[int, Meta(ge=0)] = 1_000
    """Of these, how many one address may have; 0: no limit. One more is answered 429."""
    address_connects_per_s: Annotated[float, Meta(ge=0)] = 50.0
    """New connections of one address; 0: no limit. More are answered 429, then not at all."""
    address_connects_burst: Annotated[int, Meta(ge=1)] = 1_000
    """So many may come at once after a pause."""
    ipv6_prefix: Annotated[int, Meta(ge=1, le=128)] = 64
    """So many bits of an IPv6 address are one address here: who has a network has all of it."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128", "unix")
    """Networks whose `forwarded_header` is believed, and "unix" for whoever comes over a unix
    socket. One of them that names nobody comes for itself, and has no limits."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """What the proxies write, and the only one that is read: the other one is the client's."""
    spare_handshakes: int = 256
    """Sockets beyond `max_connections` that are read at all, to give them that answer."""
    max_header_bytes: int = 8_192
    """The whole head of the handshake request, headers that are not looked at included."""
    handshake_timeout_s: float = 5.0
    """From accept to the end of the handshake, TLS included."""
    first_message_timeout_s: float = 10.0
    """From the handshake until the layer above calls `Connection.expect_within(None)`."""
    max_message_bytes: int = 131_072
    """One message of a client, all its fragments together."""
    outbox_bytes: int = 1_048_576
    """What may wait to be sent to one client; over it the client leaves as a slow consumer."""
    stalled_s: float = 30.0
    """A client that has read nothing for so long, while something waits for it, leaves as a slow
    consumer, even if it answers pings."""
    backlog_bytes: int = 268_435_456
    """What may wait for all clients whose sockets are full; over it those with the most leave."""
    address_backlog_bytes: Annotated[int, Meta(ge=0)] = 67_108_864
    """The same for the clients of one address; 0: no limit."""
    gather_s: Annotated[float, Meta(ge=0, le=1)] = 0.005
    """While the loop is busy, what is said in rooms goes to a client up to this long after its last
    send, all together; at once to one that was sent nothing for as long, and to all while the loop
    has time to spare. 0: always at once."""
    keepalive_s: float = 20.0
    """Between two pings."""
    keepalive_timeout_s: float = 60.0
    """A client not heard for this long is taken for vanished. It is closed when the next ping is
    due, which is up to `keepalive_s` later."""
    control_frames_per_s: float = 50.0
    """Pings and pongs a client may send, averaged over one `keepalive_s`; more is flooding."""
    close_timeout_s: float = 5.0
    """From our close frame to the end of the socket, whatever the client does."""

    def __post_init__(self) -> None:
        """Raises ValueError: a proxy that is no network, an origin that no browser would send."""
        try:
            networks(self.trusted_proxies)
        except ValueError as error:
            raise ValueError(f"trusted_proxies: {error}") from None
        origins = []
        for origin in self.origins:
            try:
                origins.append(canonical(origin))
            except ValueError as error:
                raise ValueError(f"origins: {error}") from None
        msgspec.structs.force_setattr(self, "origins", tuple(origins))


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where HTTP listens. It has no authentication: leave it on an address of your own."""

    enabled: bool = True
    ready_without: tuple[Literal["postgresql", "redis"], ...] = ("redis",)
    """Stores without which `/readyz` still answers 200, as degraded. Without Redis play goes on,
    and no other node would fare better; without PostgreSQL nothing is acknowledged."""
    host: Host = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 7351
