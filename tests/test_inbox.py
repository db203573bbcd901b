"""A user's inbox on a server of its own, with real clients over sockets, through kills."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from protocol.client import CannotConnect, Gap, Inbox, RequestFailed, Session, connect
from protocol.codec import JSON
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.inbox import Entry, InboxMark
from protocol.remote.link import Endpoint, Link, LinkClosed, open_link
from tests.server_process import PATIENT, Server, entry

LIMIT_S = 120.0
WITH_TRIAL = entry("--with-trial")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("inbox"), entry=WITH_TRIAL) as server:
        yield server
        assert server.stop() == 0


class Teller:
    """Puts notes into inboxes by the trial's op, once each and in order, whatever breaks."""

    def __init__(self) -> None:
        self._token = ""

    async def tell(self, url: str, user: str, *notes: int) -> None:
        target = Endpoint(
            url=url,
            encoding=JSON,
            tls=None,
            timeout_s=LIMIT_S,
            close_timeout_s=5.0,
            max_message_bytes=2**20,
        )
        left = list(notes)
        while left:
            try:
                async with open_link(target) as link:
                    await self._greet(link)
                    while left:
                        note = left[0]
                        key = f"{user}-{note}"
                        fields = {"op": "trial.tell", "user": user, "note": note, "key": key}
                        reply = await ask(link, **fields)
                        if isinstance(reply, Ok):
                            del left[0]
                        else:
                            assert reply.retry, reply
                            await trio.sleep(0.02)
            except (CannotConnect, LinkClosed):
                await trio.sleep(0.05)

    async def _greet(self, link: Link) -> None:
        """Resume as the same user each time, since keys belong to a user."""
        greeting = {"op": "session.open", "name": "teller"}
        if self._token:
            greeting = {"op": "session.resume", "token": self._token}
        reply = await ask(link, **greeting)
        assert isinstance(reply, Ok)
        self._token = reply.data["token"]


async def ask(link: Link, **fields: Any) -> Ok | ErrorReply:
    await link.send(msgspec.json.encode({"ref": 1, **fields}))
    while True:
        reply = await link.receive()
        if isinstance(reply, Ok | ErrorReply):
            return reply


async def tell(url: str, user: str, *notes: int) -> None:
    await Teller().tell(url, user, *notes)


async def notes(inbox: Inbox, last: int) -> list[Any]:
    """Return what the inbox yields, up to this note."""
    found: list[Any] = []
    async for update in inbox:
        found.append(update if isinstance(update, Gap) else update.payload["note"])
        if found[-1] == last:
            break
    return found


def user(session: Session) -> str:
    return session.opened.user


async def test_a_client_has_its_inbox_on_all_devices(server: Server) -> None:
    with trio.fail_after(LIMIT_S):
        async with connect(server.ws, name="ada", settings=PATIENT) as first:
            token, who = first.opened.token, user(first)
        await tell(server.ws, who, 1, 2)
        async with (
            connect(server.ws, resume=token, settings=PATIENT) as desk,
            connect(server.ws, resume=token, encoding="json", settings=PATIENT) as phone,
        ):
            assert user(desk) == user(phone) == who
            hers, his = await desk.inbox(), await phone.inbox()
            assert await desk.inbox() is hers
            for inbox in (hers, his):
                assert [entry.payload["note"] for entry in inbox.backlog] == [1, 2]
                assert inbox.unread == 2
            await tell(server.ws, who, 3)
            assert await notes(hers, 3) == await notes(his, 3) == [3]
            assert (await hers.mark_read()).unread == 0
            await tell(server.ws, who, 4)
            assert await notes(his, 4) == [4]
            assert (his.read, his.unread) == (3, 1)
            page = await his.history(before=4, limit=2)
            assert [entry.offset for entry in page.entries] == [2, 3]
            assert page.more
            await his.leave()
            with pytest.raises(RequestFailed, match="not_joined"):
                await his.history()
            await tell(server.ws, who, 5)
            assert await notes(hers, 5) == [4, 5]
            assert [update async for update in his] == []
            assert server.metric("greenroom_users_online") == 1
    assert server.metric("greenroom_inbox_entries_pushed_total") == 3


async def test_an_inbox_goes_on_over_kills_of_the_server(tmp_path: Path) -> None:
    start = lambda *more: Server(tmp_path, *more, entry=WITH_TRIAL)  # noqa: E731
    server = await trio.to_thread.run_sync(start)
    count = 60
    with trio.fail_after(4 * LIMIT_S), ExitStack() as servers:
        servers.enter_context(server)
        async with connect(server.ws, name="ada", settings=PATIENT) as ada:
            inbox = await ada.inbox()
            found: list[Any] = []
            told = trio.Event()

            async def read() -> None:
                async for update in inbox:
                    found.append(update)
                    assert isinstance(update, Entry)
                    if update.payload["note"] == count - 1:
                        told.set()
                        return

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                nursery.start_soon(lambda: tell(server.ws, user(ada), *range(count)))
                for kills in (10, 30):
                    while len(found) < kills:
                        await trio.sleep(0.01)
                    await trio.to_thread.run_sync(server.kill)
                    port = f"listen.port={server.port}"
                    server = await trio.to_thread.run_sync(start, port)
                    servers.enter_context(server)
                await told.wait()
            assert [update.payload["note"] for update in found] == list(range(count))
            assert [update.offset for update in found] == list(range(1, count + 1))
            assert inbox.unread == count
        assert await trio.to_thread.run_sync(server.stop) == 0


async def test_an_inbox_goes_on_over_deaths_of_postgresql(tmp_path: Path) -> None:
    """A hint is lost if the worker never hears whether its commit took place."""
    count = 80
    server = await trio.to_thread.run_sync(
        lambda: Server(tmp_path, "inboxes.look_every_s=0.2", entry=WITH_TRIAL)
    )
    with trio.fail_after(2 * LIMIT_S), server:
        async with connect(server.ws, name="ada", settings=PATIENT) as ada:
            inbox = await ada.inbox()
            found: list[Any] = []

            async def read() -> None:
                async for update in inbox:
                    found.append(update if isinstance(update, Gap) else update.payload["note"])
                    if found[-1] == count - 1:
                        return

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                nursery.start_soon(tell, server.ws, user(ada), *range(count))
                for deaths in (15, 45):
                    while len(found) < deaths:
                        await trio.sleep(0.005)
                    kill_postgres(server)
            assert found == list(range(count))
            assert (await mark_read(inbox)).unread == 0
        assert await trio.to_thread.run_sync(server.stop) == 0


async def mark_read(inbox: Inbox) -> InboxMark:
    """Mark everything as read, again and again while PostgreSQL is on its way back."""
    while True:
        try:
            return await inbox.mark_read()
        except RequestFailed as error:
            if error.code != "unavailable":
                raise
        await trio.sleep(0.05)


def kill_postgres(server: Server) -> None:
    """SIGKILL all of its processes, so that the outcome of some commits is not known."""
    for pid in server.family():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text("utf-8") == "postgres\n":
                os.kill(pid, signal.SIGKILL)


async def test_what_was_missed_beyond_memory_is_a_gap_that_history_has(tmp_path: Path) -> None:
    start = lambda *more: Server(tmp_path, "inboxes.recent=4", *more, entry=WITH_TRIAL)  # noqa: E731
    server = await trio.to_thread.run_sync(start)
    with trio.fail_after(2 * LIMIT_S), server:
        async with connect(server.ws, name="ada", settings=PATIENT) as ada:
            inbox = await ada.inbox()
            await tell(server.ws, user(ada), 1)
            assert await notes(inbox, 1) == [1]
            await tell(server.ws, user(ada), 2)
            # Hers is the connection that breaks; the other one goes on telling.
            old = server
            await trio.to_thread.run_sync(old.kill)
            server = await trio.to_thread.run_sync(start)
            with server:
                await tell(server.ws, user(ada), *range(3, 13))
                await trio.to_thread.run_sync(server.kill)
            server = await trio.to_thread.run_sync(start, f"listen.port={old.port}")
            with server:
                seen = await notes(inbox, 12)
                if seen[0] == 2:  # it may have come before the kill
                    del seen[0]
                gap = seen.pop(0)
                assert isinstance(gap, Gap)
                assert (gap.cause, gap.last) == ("away", 8)
                assert seen == [9, 10, 11, 12]
                page = await inbox.history(before=gap.last + 1, limit=gap.last - gap.first + 1)
                missed = [entry.payload["note"] for entry in page.entries]
                assert missed == list(range(gap.first, 9))
                assert await trio.to_thread.run_sync(server.stop) == 0
