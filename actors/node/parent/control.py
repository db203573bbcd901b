"""The socket by which commands talk to a running parent: `control.sock` in the data directory.

Only the user that the server runs as can open it. A request is one line of JSON, and each answer is
one, too. The connection ends after the last answer.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from actors.node.parent.overview import Overview

log = structlog.get_logger("actors.node.parent")

NAME: Final = "control.sock"
LINE_BYTES: Final = 65_536


class Show(msgspec.Struct, frozen=True, tag="show"):
    """Asks for an `Overview`."""


class RestartAll(msgspec.Struct, frozen=True, tag="restart"):
    """Asks for a restart of all nodes, one after the other.

    Each node is answered by a `Progress`.
    """


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """A line for people; `failed`: the request could not be fulfilled."""

    text: str
    failed: bool = False


ControlRequest = Show | RestartAll
ControlReply = Overview | Progress


class NoServer(Exception):  # noqa: N818 - a state, as in trio.BusyResourceError
    """There is no server to ask. The message is one line."""


class CannotBeControlled(Exception):  # noqa: N818 - as above
    """The socket cannot be made. The message is one line."""


@contextmanager
def control_socket(folder: Path) -> Iterator[socket.socket]:
    """Listen on the socket `NAME` in a folder, which is made if need be; remove it in the end.

    Raises:
        CannotBeControlled: another server is there, or the folder cannot be written.
    """
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_answered(folder):
                raise CannotBeControlled(f"another server is there: {folder / NAME}")
            (folder / NAME).unlink(missing_ok=True)
            with _short(folder) as path:
                listener.bind(path)
            (folder / NAME).chmod(0o600)  # before anybody can connect
            listener.listen()
        except OSError as error:
            raise CannotBeControlled(f"{folder / NAME}: {error.strerror}") from error
        try:
            yield listener
        finally:
            (folder / NAME).unlink(missing_ok=True)


def _is_answered(folder: Path) -> bool:
    with _short(folder) as path, socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:  # there is no socket, or a killed server left it
            return False
        return True


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Yield a path to the socket that is short enough for an address: 107 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


async def serve_control(
    listener: socket.socket,
    answer: Callable[[ControlRequest, Callable[[ControlReply], Awaitable[None]]], Awaitable[None]],
) -> None:
    """Answer commands until cancelled. A command goes on even if whoever gave it disconnects.

    Arguments:
        listener: the socket of `control_socket`.
        answer: given a question and a function; it calls the function with each answer.
    """
    listener.setblocking(False)

    async def take(stream: trio.SocketStream) -> None:
        decode = msgspec.json.Decoder(ControlRequest).decode
        async with stream:
            try:
                with trio.fail_after(5):
                    question = decode(await _line(stream))
            except (msgspec.DecodeError, trio.TooSlowError, trio.BrokenResourceError) as error:
                log.warning("control: not understood", error=str(error))
                return

            async def say(one: ControlReply) -> None:
                with trio.move_on_after(5), contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(msgspec.json.encode(one) + b"\n")

            await answer(question, say)

    ours = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    await trio.serve_listeners(take, [ours])


async def _line(stream: trio.SocketStream) -> bytes:
    got = b""
    while not got.endswith(b"\n") and len(got) < LINE_BYTES:
        data = await stream.receive_some()
        if not data:
            break
        got += data
    return got


def ask(folder: Path, question: ControlRequest) -> Iterator[ControlReply]:
    """Ask the server whose data directory is `folder`; yields its answers. This blocks.

    Raises:
        NoServer: there is none.
    """
    decode = msgspec.json.Decoder(ControlReply).decode
    nobody = f"no server with several nodes runs on {folder}; see [server] nodes and data_dir"
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with _short(folder) as path:
                connection.connect(path)
            connection.sendall(msgspec.json.encode(question) + b"\n")
        except PermissionError as error:
            raise NoServer(f"{folder / NAME}: {error.strerror}") from error
        except OSError as error:
            raise NoServer(nobody) from error
        with connection.makefile("rb") as lines:
            for line in lines:
                yield decode(line)
