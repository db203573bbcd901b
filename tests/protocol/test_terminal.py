"""The terminal chat as a program: its own process, a pipe or a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from functools import partial

import pytest
import trio

from protocol.client import Disconnected, Gap
from protocol.errors import CLOSES
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.friend import (
    BlockAdd,
    BlockRemove,
    Friend,
    FriendList,
    FriendRemove,
    FriendRequest,
    FriendsListed,
    FriendTie,
)
from protocol.messages.room import (
    History,
    Member,
    Members,
    Message,
    RoomHistory,
    RoomJoined,
    RoomLeft,
    RoomMembers,
    RoomPresence,
    RoomSend,
    Sent,
)
from protocol.messages.session import SessionClose, SessionOpen, SessionResume
from protocol.terminal import HELP, HELP_FRIENDS, check_names, line_of
from protocol.words import in_words
from tests.protocol.scripted import BOB, Peer, opened, push, recovered, said, scripted

COMMAND = [sys.executable, "-m", "protocol.client", "--room", "lobby", "--name", "ada"]


async def run(
    url: str, stdin: bytes, *arguments: str | bytes, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(120):
        return await trio.run_process(
            [*COMMAND, "--url", url, *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, **environment},
        )


async def enter(peer: Peer) -> None:
    assert (await peer.answer(SessionOpen, opened())).name == "ada"
    await peer.join(1, [said(1, "before")])


async def part(peer: Peer) -> None:
    """Answer the last requests: perhaps `room.leave`, then `session.close`."""
    await peer.answer_until(SessionClose)
    await peer.close(1000)


async def test_friends_are_asked_listed_and_blocked_by_name_or_by_id() -> None:
    async def server(peer: Peer) -> None:
        await enter(peer)
        asked = await peer.answer(FriendRequest, FriendTie("u1", "requested", 1))
        assert (asked.user, asked.key is None) == ("u1", False)
        tied = Friend("u9", "friend", 1, online=True)
        await peer.answer(FriendList, FriendsListed([tied, Friend("u1", "asked", 1, online=False)]))
        assert (await peer.answer(BlockAdd, None)).user == "u9"
        assert (await peer.answer(BlockRemove, None)).user == "u9"
        assert (await peer.answer(FriendRemove, None)).user == "u9"
        await part(peer)

    typed = b"/friend ada\n/friends\n/block u9\n/unblock u9\n/unfriend u9\n/dance u9\n/friend\n"
    async with scripted(server) as url:
        done = await run(url, typed)
    lines = done.stdout.decode().splitlines()
    assert (
        lines[-9:]
        == [
            "* you have asked: u1",
            "* u9 is online",
            "* ada asks to be a friend",
            "* nothing of this one is shown any more: u9",
            "* this one is shown again: u9",
            "* you are no friends any more: u9",
            HELP,
            HELP_FRIENDS,
            HELP,
            HELP_FRIENDS,
        ][-9:]
    )


async def test_with_a_pipe_it_says_what_comes_in_and_prints_what_is_said() -> None:
    async def server(peer: Peer) -> None:
        await enter(peer)
        request = await peer.expect(RoomSend)
        await peer.send(RoomJoined(room="lobby", offset=1, member=BOB))
        assert request.body == "hi there"
        assert request.ref is not None
        await peer.send(push(Message(2, "u1", "ada", "hi there", 0)), Ok(request.ref, Sent(2, 0)))
        await peer.answer(RoomMembers, Members([Member("u1", "ada"), BOB], 5))
        await peer.answer(RoomHistory, History([], more=False))
        gathered = RoomPresence(
            room="lobby", offset=2, named=True, joined=[BOB], left=[BOB], members_total=300
        )
        await peer.send(RoomLeft(room="lobby", offset=2, member=BOB), gathered)
        await part(peer)

    async with scripted(server) as url:
        done = await run(url, b"hi there\n\n/who\n/more\n/help\n")
    lines = [re.sub(r"^\d\d:\d\d ", "", line) for line in done.stdout.decode().splitlines()]
    assert lines[:3] == ["bob: before", "* here: ada", "* bob came"]
    assert {"ada: hi there", "* here: ada, bob and 3 more"} < set(lines)
    assert "* bob came; bob left; 300 are here" in lines
    assert any(line.startswith("/who") for line in lines)
    assert done.stderr == b""
    assert done.returncode == 0


async def test_without_a_server_it_says_so_in_one_line_and_how_to_start_one() -> None:
    async with scripted() as url:
        pass
    done = await run(url, b"")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"no server at {url} (connection refused). Start a server with: make run\n"
    )


async def test_an_address_that_does_not_fit_is_told_without_the_advice_to_start_a_server() -> None:
    async def plain(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, plain, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        url = f"wss://127.0.0.1:{listener.socket.getsockname()[1]}/ws"
        done = await run(url, b"")
        nursery.cancel_scope.cancel()
    assert done.stderr.decode() == (
        f"no server at {url} (what came back is not TLS; is it ws:// there?).\n"
    )


async def test_a_wrong_address_is_one_line_too() -> None:
    done = await run("http://127.0.0.1/", b"")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("not a WebSocket address")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--name", b"\xff", "a name is text in UTF-8"),
        ("--name", "", "a name is 1 to 64 characters"),
        ("--name", "a" * 65, "a name is 1 to 64 characters"),
        ("--room", "no pe", "letters from A to Z or a to z, digits, and _ . : -"),
        ("--room", "a" * 65, "the name of a room is 1 to 64 characters"),
        ("--room", "", "the name of a room is 1 to 64 characters"),
    ],
)
async def test_what_cannot_be_a_name_is_told_in_words_before_anything_is_sent(
    option: str, value: str | bytes, says: str
) -> None:
    done = await run("ws://127.0.0.1:1/ws", b"", option, value)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(option)
    assert says in line
    assert "[A-Z" not in line


@pytest.mark.parametrize("name", ["lobby", "a", "A.b_c:d-9", "a" * 64])
def test_what_can_be_a_name_is_taken(name: str) -> None:
    check_names(name, name)


async def test_what_the_terminal_has_no_letters_for_ends_nothing() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(2, [said(1, "gr\u00fcezi \U0001f600"), said(2, "plain")])
        await part(peer)

    async with scripted(server) as url:
        done = await run(url, b"", PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0
    assert [line.split(b": ", 1)[1] for line in done.stdout.splitlines()[:2]] == [
        b"gr?ezi ?",
        b"plain",
    ]


async def test_what_a_server_says_of_an_error_cannot_write_to_the_screen() -> None:
    async def server(peer: Peer) -> None:
        await enter(peer)
        request = await peer.expect(RoomSend)
        await peer.send(ErrorReply(request.ref, "rejected", "\x1b[2J no\r", retry=False))
        await part(peer)

    async with scripted(server) as url:
        done = await run(url, b"hi\n")
    assert b"\x1b" not in done.stdout
    assert b"\r" not in done.stdout
    assert "\u00b7[2J no\u00b7".encode() in done.stdout


async def test_a_close_for_good_is_said_and_ends_it() -> None:
    async def server(peer: Peer) -> None:
        await enter(peer)
        await peer.close(4500)

    read_end, write_end = os.pipe()
    try:
        async with scripted(server) as url:
            with trio.fail_after(120):
                done = await trio.run_process(
                    [*COMMAND, "--url", url],
                    stdin=read_end,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
    finally:
        os.close(read_end)
        os.close(write_end)
    assert done.returncode == 1
    assert done.stderr == b"you are connected from elsewhere\n"


async def test_a_break_is_told_and_so_is_the_return() -> None:
    async def first(peer: Peer) -> None:
        await enter(peer)
        await peer.cut()

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await peer.send(recovered(said(2, "meanwhile"), offset=2))
        await peer.answer(RoomSend, Sent(3, 0))
        await part(peer)

    async with scripted(first, second) as url:
        done = await run(url, b"hi\n")
    text = done.stdout.decode()
    assert "* the connection broke; trying again in" in text
    assert text.index("* connected again") < text.index("bob: meanwhile")


async def test_a_server_that_stops_is_told_in_words_without_codes() -> None:
    async def first(peer: Peer) -> None:
        await enter(peer)
        await peer.close(4000)

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await peer.send(recovered(offset=1))
        request = await peer.expect(RoomSend)
        await peer.send(ErrorReply(request.ref, "unavailable", "A part of the server ..."))
        await part(peer)

    async with scripted(first, second) as url:
        done = await run(url, b"hi\n")
    text = done.stdout.decode()
    assert "* the server is stopping or restarting; trying again in" in text
    assert "! the server cannot do that just now; try again: hi\n" in text, "what was not sent"
    assert "4000" not in text
    assert "room.send" not in text


class OnATerminal:
    """The program in a terminal of its own, which a test types into and reads."""

    def __init__(self, process: trio.Process, master: int) -> None:
        self.process = process
        self._master = master
        self.seen = ""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    async def until(self, text: str) -> None:
        with trio.fail_after(120):
            while text not in self.seen:
                await trio.lowlevel.wait_readable(self._master)
                self.seen += os.read(self._master, 4096).decode()


async def on_a_terminal(
    url: str, task_status: trio.TaskStatus[OnATerminal] = trio.TASK_STATUS_IGNORED
) -> None:
    master, slave = pty.openpty()
    start = partial(
        trio.run_process,
        [*COMMAND, "--url", url],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        check=False,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "60"},
    )
    async with trio.open_nursery() as nursery:
        process = await nursery.start(start)
        os.close(slave)
        task_status.started(OnATerminal(process, master))
    os.close(master)


async def test_what_comes_while_one_types_is_printed_above_the_line() -> None:
    typing = trio.Event()

    async def server(peer: Peer) -> None:
        await enter(peer)
        await typing.wait()
        await peer.send(push(said(2, "\x1b[2Jhello")))
        assert (await peer.answer(RoomSend, Sent(3, 0))).body == "hey bob"
        await part(peer)

    async with scripted(server) as url, trio.open_nursery() as nursery:
        chat: OnATerminal = await nursery.start(on_a_terminal, url)
        await chat.until("you are ada in lobby")
        chat.type(b"hey b")
        await chat.until("> hey b")
        typing.set()
        await chat.until("bob: ·[2Jhello\r\n\r\x1b[K> hey b")
        chat.type(b"ob")
        await chat.until("> hey bob")
        chat.type(b"\r\x04")
        with trio.fail_after(120):
            assert await chat.process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_leaves_cleanly(number: signal.Signals) -> None:
    left = trio.Event()

    async def server(peer: Peer) -> None:
        await enter(peer)
        await peer.answer_until(SessionClose)
        left.set()
        await peer.close(1000)

    async with scripted(server) as url, trio.open_nursery() as nursery:
        chat: OnATerminal = await nursery.start(on_a_terminal, url)
        await chat.until("you are ada in lobby")
        chat.process.send_signal(number)
        with trio.fail_after(120):
            await left.wait()
            assert await chat.process.wait() == 0
        assert "Traceback" not in chat.seen


def test_an_erased_message_is_said_to_be_one() -> None:
    assert line_of(Message(1, "u", "ada", "hi", 0)).endswith(" ada: hi")
    assert line_of(Message(1, "", "", "", 0)).endswith(" (erased)")


def test_gaps_are_told_in_words() -> None:
    assert "3 to 9 are not shown (away)" in line_of(Gap("away", 3, 9))
    assert "void" in line_of(Gap("void", 3, 9))


MENDERS = {"normal", "protocol_error", "unsupported_data", "invalid_text", "too_big"}
"""Closes that only a wrong client sees. Its author needs their names."""


@pytest.mark.parametrize("code", [code for code in CLOSES if CLOSES[code].name not in MENDERS])
def test_every_close_is_told_without_its_code(code: int) -> None:
    text = in_words(Disconnected(f"closed with {code}", CLOSES[code]))
    assert not re.search(r"\d|_", text), text
