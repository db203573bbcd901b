"""Commands reach a running parent by a socket in its data directory."""

from __future__ import annotations

import contextlib
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from actors.node.parent.control import (
    NAME,
    CannotBeControlled,
    ControlReply,
    ControlRequest,
    NoServer,
    Progress,
    RestartAll,
    Show,
    ask,
    control_socket,
    serve_control,
)
from actors.node.parent.overview import NodeRow, Overview

LIMIT_S = 60.0
NODE = NodeRow("n-1", "up", 1.0, 7, 1, 2, 3, 4, 0, "0.1.0", "")


async def answered(
    folder: Path, question: ControlRequest, *answers: ControlReply
) -> list[ControlReply]:
    """Return what a command gets from a server that answers like this."""
    asked: list[ControlRequest] = []

    async def answer(
        found: ControlRequest, tell: Callable[[ControlReply], Awaitable[None]]
    ) -> None:
        asked.append(found)
        for one in answers:
            await tell(one)

    with trio.fail_after(LIMIT_S), control_socket(folder) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_control, listener, answer)
            got = await trio.to_thread.run_sync(lambda: list(ask(folder, question)))
            nursery.cancel_scope.cancel()
    assert asked == [question]
    return got


async def test_a_question_gets_all_its_answers_in_order(tmp_path: Path) -> None:
    overview = Overview("0.1.0", (NODE,))
    assert await answered(tmp_path, Show(), overview) == [overview]
    steps = (Progress("one"), Progress("two\nlines"), Progress("three", failed=True))
    assert await answered(tmp_path, RestartAll(), *steps) == list(steps)


async def test_a_folder_with_a_long_name_will_do(tmp_path: Path) -> None:
    """The path of a socket may have 107 bytes."""
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    assert await answered(folder, Show(), Progress("here")) == [Progress("here")]


def test_nobody_else_can_open_it_and_it_goes_with_its_server(tmp_path: Path) -> None:
    with control_socket(tmp_path / "new"):
        mode = (tmp_path / "new" / NAME).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert not (tmp_path / "new" / NAME).exists()


def test_a_second_server_leaves_it_to_the_first(tmp_path: Path) -> None:
    with control_socket(tmp_path):
        with pytest.raises(CannotBeControlled, match="another server"), control_socket(tmp_path):
            pass
        assert (tmp_path / NAME).exists()


def test_what_a_killed_server_left_behind_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / NAME))
    with pytest.raises(NoServer):
        next(ask(tmp_path, Show()))
    with control_socket(tmp_path):
        pass


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CannotBeControlled, match="File exists"),
        control_socket(tmp_path / "file"),
    ):
        pass


async def test_what_is_no_question_is_not_answered_and_does_no_harm(tmp_path: Path) -> None:
    async def answer(
        found: ControlRequest, tell: Callable[[ControlReply], Awaitable[None]]
    ) -> None:
        await tell(Progress("here"))

    with trio.fail_after(LIMIT_S), control_socket(tmp_path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_control, listener, answer)
            for said in (b"hello\n", b'{"type":"stop"}\n', b"\xff\n", b"[" * 100_000):
                async with await trio.open_unix_socket(tmp_path / NAME) as stream:
                    with contextlib.suppress(trio.BrokenResourceError):  # it is not read to its end
                        await stream.send_all(said)
                        assert await stream.receive_some() == b""
            got = await trio.to_thread.run_sync(lambda: list(ask(tmp_path, Show())))
            nursery.cancel_scope.cancel()
    assert got == [Progress("here")]


async def test_who_goes_away_does_not_stop_what_was_begun(tmp_path: Path) -> None:
    gone, done = trio.Event(), trio.Event()

    async def answer(
        found: ControlRequest, tell: Callable[[ControlReply], Awaitable[None]]
    ) -> None:
        await gone.wait()
        for number in range(3):
            await tell(Progress(str(number)))
        done.set()

    with trio.fail_after(LIMIT_S), control_socket(tmp_path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_control, listener, answer)
            async with await trio.open_unix_socket(tmp_path / NAME) as stream:
                await stream.send_all(b'{"type":"restart"}\n')
            gone.set()
            await done.wait()
            nursery.cancel_scope.cancel()
