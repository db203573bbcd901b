"""The web page in a real browser, against a real server."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from protocol.client import connect
from tests.protocol.js.browser import Tab, chromium, why_not
from tests.protocol.js.tools import needs_tools
from tests.server_process import PATIENT, ROOT, Server

pytestmark = needs_tools

LIMIT_S = 120.0


def shows(selector: str, text: str) -> str:
    return f"document.querySelector('{selector}').innerText.includes({text!r})"


async def name_of(tab: Tab) -> str:
    await tab.until(shows("#status", "you are "))
    status = await tab.evaluate("document.querySelector('#status').innerText")
    return str(status).removeprefix("you are ")


@contextmanager
def another_site(folder: Path) -> Iterator[str]:
    """A page at another port of the same machine, as another program's or a stranger's is."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>elsewhere</title>", "utf-8")
    shutil.copy(ROOT / "protocol" / "js" / "dist" / "greenroom.js", folder)
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{site.server_port}"
        finally:
            site.shutdown()
            thread.join()


@pytest.fixture(scope="module", autouse=True)
def starts() -> None:
    if why := why_not():
        pytest.skip(f"this machine cannot run it: Chromium does not start: {why}")


async def test_two_visitors_chat_and_play_and_go_on_after_the_server_was_killed(
    tmp_path: Path,
) -> None:
    server = await trio.to_thread.run_sync(Server, tmp_path / "data")
    ports = (f"listen.port={server.port}", f"http.port={server.http_port}")
    try:
        with trio.fail_after(LIMIT_S):
            async with chromium() as browser:
                ada, bob = await browser.open(server.http), await browser.open(server.http)
                name, other = await name_of(ada), await name_of(bob)

                await ada.until(shows("#members", other))
                await ada.say("hello <b>bob</b>")
                await bob.until(shows("#messages", f"{name} hello <b>bob</b>"))
                await ada.until(shows("#messages", "you hello"))

                await ada.click("#play")
                await ada.until(shows("#news", "collect the orbs"))
                async with connect(server.ws, name="judge", settings=PATIENT) as judge:
                    (match,) = await judge.matches("arena")
                await bob.click("#play")
                await ada.until(shows("#news", f"{other} came"))
                async with connect(server.ws, name="judge", settings=PATIENT) as judge:
                    assert [one.match for one in await judge.matches("arena")] == [match.match]
                    watched = await judge.join_match(match.match)
                    me = next(one for one in watched.players if watched.names[one] == name)
                    await ada.down("ArrowRight")
                    async for _ in watched:  # up to the wall on the right
                        if watched.state["bodies"][me][0] >= 38.9:
                            break
                    await ada.up("ArrowRight")
                    await ada.down("KeyA")
                    async for _ in watched:
                        if watched.state["bodies"][me][0] <= 30:
                            break
                    await ada.up("KeyA")
                    await watched.leave()

                await trio.to_thread.run_sync(server.kill)
                await ada.until(shows("#status", "coming back"))
                await ada.say("sent while nobody listened")
                server = await trio.to_thread.run_sync(Server, tmp_path / "data", *ports)
                await bob.until(shows("#messages", "sent while nobody listened"))
                await ada.until(shows("#status", f"you are {name}"))
                lines = "[...document.querySelectorAll('#messages li:not(.note)')].length"
                assert await bob.evaluate(lines) == 2
                await bob.until("document.querySelector('#play').disabled")

                await bob.reload()
                assert await name_of(bob) == other, "a reload is the same visitor"
                await bob.until(shows("#messages", "sent while nobody listened"))
                for tab in (ada, bob):
                    for fault in await tab.faults():
                        assert "WebSocket connection" in fault, "all but the refused attempts"

                with another_site(tmp_path / "site") as elsewhere:
                    page = await browser.open(elsewhere)
                    refused = await page.evaluate(
                        "import('/greenroom.js').then(({ connect }) =>"
                        f" connect('{server.ws}', {{ name: 'eve' }}))"
                        ".then(() => 'let in', (error) => error.name)"
                    )
                    assert refused == "CannotConnect"
    finally:
        await trio.to_thread.run_sync(server.stop)
