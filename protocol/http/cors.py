"""CORS: which web pages may call the API from a browser, by the allow-list of the configuration.

A page of another origin is not refused: a browser keeps the answer from it, and asks before it
sends anything that a form could not (the Fetch standard, section 3.2). The API takes no cookies, so
a page can do nothing in the name of who looks at it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from protocol.http.exchange import HttpRequest, HttpResponse

_ALLOWED = "authorization, content-type, greenroom-user, idempotency-key, if-none-match"
_EXPOSED = "etag, retry-after"
_FOR_S = 600


class Cors:
    """What the answers say to browsers.

    Arguments:
        origins: the origins that may read them, as `protocol.server.origin.canonical` writes them.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: HttpRequest, methods: Iterable[str]) -> HttpResponse | None:
        """Return the answer to a browser that asks what it may send; None: it does not ask that."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        told: tuple[tuple[str, str], ...] = ()
        if self._allowed(request):
            told = (
                ("access-control-allow-methods", ", ".join(methods)),
                ("access-control-allow-headers", _ALLOWED),
                ("access-control-max-age", str(_FOR_S)),
            )
        return HttpResponse(204, b"", (*told, *self.headers(request)))

    def headers(self, request: HttpRequest) -> tuple[tuple[str, str], ...]:
        """Return the headers of each answer to this request."""
        if not self._origins:
            return ()
        if not self._allowed(request):
            return (("vary", "origin"),)
        return (
            ("access-control-allow-origin", request.headers["origin"]),
            ("access-control-expose-headers", _EXPOSED),
            ("vary", "origin"),
        )

    def _allowed(self, request: HttpRequest) -> bool:
        return request.headers.get("origin") in self._origins
