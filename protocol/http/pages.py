"""Web pages: the files of a folder, read once at the start and served from memory.

No request touches the disk, and a path cannot lead out of the folder, since only the files that
were read at the start can be asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

MAX_FILES: Final = 200
MAX_BYTES: Final = 8 * 2**20
"""The size of all files together."""
INDEX: Final = "/index.html"

MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""File ending -> media type. Files with another ending are not served."""

HEADERS: Final = {
    "Cache-Control": "no-cache",  # kept, and asked for by ETag: an update shows at once
    # Scripts and styles of this address only, none within the page, and no frames. A page may open
    # WebSockets anywhere; the server that it calls decides by the page's origin.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " font-src 'self'; media-src 'self'; connect-src 'self' ws: wss:; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class BadPages(Exception):  # noqa: N818 - said of the folder
    """A folder cannot be served. The text is one line for the operator."""


class PageFile(msgspec.Struct, frozen=True):
    """One file, as it is served."""

    body: bytes
    media_type: str
    etag: str

    def answer(self, request: Request, **headers: str) -> Response:
        """Answer a GET or HEAD: with 304 if the browser has this version (RFC 9110, 13.1.2)."""
        known = request.headers.get("if-none-match", "")
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        told = {**HEADERS, "ETag": self.etag, **headers}
        if self.etag in tags or known.strip() == "*":
            return Response(status_code=304, headers=told)
        return Response(self.body, media_type=self.media_type, headers=told)


Pages = Mapping[str, PageFile]
"""The files by their paths in the address: `/index.html`."""


def read_pages(folder: Path, more: Mapping[str, Path]) -> Pages:
    """Read the files of a folder and the folders in it, and `more` from elsewhere.

    Files whose names begin with a dot are left out, and so are those of an unknown type.

    Raises:
        BadPages: there is no index.html, or the files are too many or too large.
    """
    found: dict[str, PageFile] = {}
    left = MAX_BYTES
    try:
        paths = {
            f"/{path.relative_to(folder).as_posix()}": path
            for path in sorted(folder.rglob("*"))
            if path.suffix in MEDIA_TYPES and path.is_file() and not path.is_symlink()
        }
        for where, path in (paths | dict(more)).items():
            if "/." in where:
                continue
            left -= path.stat().st_size
            if left < 0 or len(found) == MAX_FILES:
                raise BadPages(f"{folder}: more than {MAX_FILES} files or {MAX_BYTES:,} bytes")
            body = path.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found[where] = PageFile(body, MEDIA_TYPES[path.suffix], etag)
    except OSError as error:
        raise BadPages(f"{error.filename}: {error.strerror}") from error
    if INDEX not in found:
        raise BadPages(f"{folder}: there is no index.html in it")
    return found


def page_routes(pages: Pages) -> list[BaseRoute]:
    """Return a route for each file."""

    def route(path: str, file: PageFile) -> BaseRoute:
        async def serve(request: Request) -> Response:
            return file.answer(request)

        return Route(path, serve)

    return [route(path, file) for path, file in pages.items()]
