"""CORS: which web pages may call the API from a browser, by the allow-list of the configuration.

The server does not refuse pages of other origins. Their browsers do: they keep the answer from the
page, and ask the server before they send anything that a form could not send (the Fetch standard,
section 3.2). The API takes no cookies, so a page cannot act in the name of its visitor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from protocol.http.exchange import HttpRequest, HttpResponse

_ALLOWED = "authorization, content-type, greenroom-user, idempotency-key, if-none-match"
_EXPOSED = "etag, retry-after"
_FOR_S = 600


class Cors:
    """Makes the headers that tell browsers which pages may read an answer.

    Arguments:
        origins: the origins of these pages, as `protocol.server.origin.canonical` writes them.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: HttpRequest, methods: Iterable[str]) -> HttpResponse | None:
        """Return the answer to a preflight, in which a browser asks what it may send.

        None: the request is no preflight.
        """
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
        """Return the headers that are added to the answer of this request."""
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
