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
    """Origins of web pages whose scripts may read the answers, as `scheme://host` or
    `scheme://host:port`; empty: only pages of the API's own origin may."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128", "unix")
    """Networks whose `forwarded_header` is believed, and "unix" for peers on a unix socket."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    max_connections: int = 2_000
    """How many connections there may be at once. A further one is answered 503 and closed."""
    max_head_bytes: int = 16_384
    """The size of the request line and all headers together."""
    max_body_bytes: int = 131_072
    """The size of a body. For storage it must exceed the largest object, written in JSON."""
    head_timeout_s: float = 5.0
    """How long the headers may take, from the accept or the first byte of a later request."""
    body_timeout_s: float = 10.0
    """How long a body may take, from the end of the headers."""
    idle_timeout_s: float = 30.0
    """How long a connection may wait for its next request."""
    send_timeout_s: float = 10.0
    """How long a client may take to read one answer."""
    answer_timeout_s: float = 15.0
    """How long an answer may take. After that the client gets `timeout`."""

    def __post_init__(self) -> None:
        """Raise ValueError if a proxy is no network, if no browser would send an origin so, or if
        only one of certificate and key is given.
        """
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key must be given together")
        check_proxies(self.trusted_proxies)
        msgspec.structs.force_setattr(self, "origins", canonical_origins(self.origins))
