"""Chromium, by browser.mjs: pages that are opened, read and clicked in."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from tests.protocol.js.driven import Driver, driver
from tests.protocol.js.tools import node

BROWSER: Final = Path(__file__).with_name("browser.mjs")
LIMIT_S = 60.0


class Tab:
    """A page in a browser context of its own, as of another user."""

    def __init__(self, driver: Driver, number: int) -> None:
        self._driver = driver
        self._number = number

    async def ask(self, command: str, **fields: Any) -> Any:
        with trio.fail_after(LIMIT_S):
            return await self._driver.ask(command, page=self._number, **fields)

    async def until(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        await self.ask("until", script=script)

    async def evaluate(self, script: str) -> Any:
        return await self.ask("evaluate", script=script)

    async def say(self, text: str) -> None:
        await self.ask("say", selector="#body", text=text)

    async def click(self, selector: str) -> None:
        await self.ask("click", selector=selector)

    async def down(self, key: str) -> None:
        await self.ask("down", key=key)

    async def up(self, key: str) -> None:
        await self.ask("up", key=key)

    async def reload(self) -> None:
        await self.ask("reload")

    async def faults(self) -> list[str]:
        """What scripts threw or the browser noted, refusals by the page's policy included."""
        found: list[str] = await self.ask("faults")
        return found


class Browser:
    """A running Chromium."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._numbers = itertools.count()

    async def open(self, url: str) -> Tab:
        tab = Tab(self._driver, next(self._numbers))
        await tab.ask("open", url=url)
        return tab


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium for the time of the block: the machine's own, or else npm's."""
    async with driver(BROWSER) as running:
        try:
            yield Browser(running)
        finally:
            # It would outlive the driver, which is killed.
            with trio.move_on_after(LIMIT_S, shield=True):
                await running.ask("close")


def why_not() -> str:
    """Why Chromium does not start on this machine; empty: it does."""
    done = subprocess.run(
        node(BROWSER),
        input='{"id": 0, "command": "version"}\n',
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    found = msgspec.json.decode(done.stdout.splitlines()[0]) if done.stdout else {}
    if "answer" in found:
        return ""
    text = found["error"]["message"] if "error" in found else done.stderr
    return next((line.strip() for line in text.splitlines() if line.strip()), "it ended at once")
