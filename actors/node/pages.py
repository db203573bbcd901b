"""The web pages that a server serves beside its health and metrics."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from actors.node.config import Loaded
from actors.node.sections import ConfigError
from protocol.http.pages import BadPages, Pages, read_pages
from protocol.server.settings import DEFAULT_PAGES

CLIENT = "/greenroom.js"
"""Where pages find the client: `import { connect } from "/greenroom.js"`."""


def pages_of(loaded: Loaded) -> Pages | None:
    """Read the pages that the configuration names; None: there are none.

    Raises:
        ConfigError: they cannot be served.
    """
    settings = loaded.config.http
    folder = loaded.resolve(settings.pages)
    if not settings.pages or not settings.enabled:
        return None
    if settings.pages == DEFAULT_PAGES and not folder.exists():
        return None  # an installed server has no examples
    with as_file(files("protocol") / "js" / "dist" / "greenroom.js") as client:
        try:
            return read_pages(folder, {CLIENT: Path(client)})
        except BadPages as error:
            origin = loaded.changed.get("http.pages", ("", ""))[1]
            raise ConfigError(f"{origin or loaded.folder}: [http] pages: {error}") from error
