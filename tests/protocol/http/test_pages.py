"""Web pages over HTTP: what is in the folder is served, with headers that keep it safe, and
nothing else is.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from actors.node.config import Loaded, load
from actors.node.pages import pages_of
from actors.node.sections import ConfigError
from protocol.http import pages as module
from protocol.http.application import application, readiness, serve_http
from protocol.http.pages import BadPages, read_pages
from tests.server_process import ROOT

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    web = tmp_path / "web"
    (web / "img").mkdir(parents=True)
    (web / "index.html").write_text("<!doctype html><title>here</title>", "utf-8")
    (web / "main.js").write_text("export {}", "utf-8")
    (web / "img" / "a.svg").write_text("<svg/>", "utf-8")
    (web / ".secret.js").write_text("no", "utf-8")
    (web / "notes.py").write_text("no", "utf-8")
    (tmp_path / "outside.js").write_text("no", "utf-8")
    (web / "link.js").symlink_to(tmp_path / "outside.js")
    return web


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """A server with the pages of a folder."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
            await stream.send_all("\r\n".join([*lines, "", ""]).encode())
            whole = b"".join([chunk async for chunk in stream])
        head, _, body = whole.partition(b"\r\n\r\n")
        first, *told = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in told)
        return Answer(
            int(first.split()[1]), {name.lower(): value for name, value in fields.items()}, body
        )


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Site]:
    listener = socket.create_server(("127.0.0.1", 0))
    site = Site(listener.getsockname()[1])
    app = application(
        about={"name": "test"},
        ready=partial(readiness, {}),
        readings=tuple,
        pages=read_pages(folder, {"/greenroom.js": ROOT / "protocol/js/dist/greenroom.js"}),
    )
    over = trio.Event()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_http, app, [listener], stop=over.wait))
            yield site
            over.set()


async def test_a_browser_gets_the_page_and_a_program_the_index(folder: Path) -> None:
    async with served(folder) as site:
        page = await site.ask("/", accept=HTML)
        assert page.body.endswith(b"<title>here</title>")
        index = await site.ask("/")
        assert msgspec.json.decode(index.body)["name"] == "test"
        assert page.headers["vary"] == index.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/index.html", "text/html; charset=utf-8"),
        ("/main.js", "text/javascript; charset=utf-8"),
        ("/img/a.svg", "image/svg+xml"),
        ("/greenroom.js", "text/javascript; charset=utf-8"),
    ],
)
async def test_each_file_has_its_type_and_headers_that_keep_it_safe(
    folder: Path, path: str, kind: str
) -> None:
    async with served(folder) as site:
        answer = await site.ask(path)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_what_a_browser_has_is_not_sent_again_until_it_changes(folder: Path) -> None:
    async with served(folder) as site:
        tag = (await site.ask("/main.js")).headers["etag"]
        for known in (tag, f'W/{tag}, "other"', "*"):
            again = await site.ask("/main.js", if_none_match=known)
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    (folder / "main.js").write_text("export const a = 1", "utf-8")
    async with served(folder) as site:
        changed = await site.ask("/main.js", if_none_match=tag)
        assert changed.status == 200
        assert changed.headers["etag"] != tag


async def test_a_head_has_no_body_and_a_post_is_not_taken(folder: Path) -> None:
    async with served(folder) as site:
        head = await site.ask("/main.js", "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "9")
        assert (await site.ask("/main.js", "POST")).status == 405


PATHS = (
    "/.secret.js", "/notes.py", "/link.js", "/outside.js", "/img", "/img/", "/main.js/",
    "/../outside.js", "/%2e%2e/outside.js", "/..%2foutside.js", "/img/..%2f..%2foutside.js",
    "//outside.js", "/main.js%00", "/MAIN.JS",
)  # fmt: skip


async def test_nothing_else_is_served(folder: Path) -> None:
    async with served(folder) as site:
        for path in PATHS:
            answer = await site.ask(path)
            assert answer.status in {307, 404}, path
            assert answer.body != b"no"


def test_a_folder_that_is_too_much_or_has_no_index_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadPages, match=r"there is no index\.html in it"):
        read_pages(folder / "img", {})
    monkeypatch.setattr(module, "MAX_FILES", 2)
    with pytest.raises(BadPages, match="more than 2 files"):
        read_pages(folder, {})
    monkeypatch.setattr(module, "MAX_FILES", 200)
    monkeypatch.setattr(module, "MAX_BYTES", 40)
    with pytest.raises(BadPages, match="or 40 bytes"):
        read_pages(folder, {})


def at(folder: Path, *overrides: str) -> Loaded:
    file = folder / "config.toml"
    file.write_text("", "utf-8")
    return load(file, environment={}, overrides=overrides)


def test_the_default_pages_may_be_missing_and_others_may_not(folder: Path) -> None:
    assert pages_of(at(folder)) is None
    with pytest.raises(ConfigError, match=r"--set http\.pages: \[http\] pages: .*no index"):
        pages_of(at(folder, "http.pages=nowhere"))
    assert pages_of(at(folder.parent, "http.pages=")) is None
    found = pages_of(at(folder.parent, "http.pages=web"))
    assert found is not None
    assert set(found) == {"/index.html", "/main.js", "/img/a.svg", "/greenroom.js"}


def test_the_example_page_needs_nothing_from_elsewhere() -> None:
    for path, file in read_pages(ROOT / "examples" / "web", {}).items():
        text = file.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
