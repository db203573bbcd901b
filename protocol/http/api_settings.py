"""The settings of the HTTP API's listener. Times are in seconds, sizes in bytes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocol.server.settings import BindHost, canonical_origins, check_proxies


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the HTTP API listens, and the limits to what its clients can make it do."""

    enabled: bool = True
    host: BindHost = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 7349
    tls_certificate: str = ""
    tls_key: str = ""
    origins: tuple[str, ...] = ()
    """Web pages whose scripts may read the answers, as `scheme://host` or `scheme://host:port`;
    empty: those of no other origin."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128", "unix")
    """Networks whose `forwarded_header` is believed, and "unix" for peers on a unix socket."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    max_connections: int = 2_000
    """Connections at once. One more is answered 503 and closed."""
    max_head_bytes: int = 16_384
    """The request line and all headers."""
    max_body_bytes: int = 131_072
    """One body. More than an object of storage in JSON, if such objects are to be written."""
    head_timeout_s: float = 5.0
    """From the accept, or the first byte of a later request, to the end of the headers."""
    body_timeout_s: float = 10.0
    """From the end of the headers to the end of the body."""
    idle_timeout_s: float = 30.0
    """How long a connection may wait for its next request."""
    send_timeout_s: float = 10.0
    """How long a client may take to read one answer."""
    answer_timeout_s: float = 15.0
    """How long an answer may take before it is `timeout`."""

    def __post_init__(self) -> None:
        """Raise ValueError for a proxy that is no network, an origin that no browser sends, or a
        certificate without its key.
        """
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key must be given together")
        check_proxies(self.trusted_proxies)
        msgspec.structs.force_setattr(self, "origins", canonical_origins(self.origins))
