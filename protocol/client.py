"""The Python client.

    async with connect("ws://127.0.0.1:7350/ws", name="ada") as session:
        room = await session.join("lobby")
        await room.send("hi")
        async for message in room:
            print(message)  # a Message, or a Gap where some are missing

It reconnects by itself, with back-off and jitter and as the table of closes says, resumes, and
goes on: each message is yielded once, or a `Gap` says what had to be skipped. Requests wait for
the connection to come back until their deadline. `python -m protocol.client` is a chat for the
terminal.
"""

from __future__ import annotations

import importlib.util
import signal
import sys

if __name__ == "__main__":  # before the imports that take their time, or lack something
    # Ctrl-C ends a program that has not begun, rather than as a traceback out of an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if importlib.util.find_spec("trio_websocket") is None:
        sys.exit(
            f"the client needs the package trio_websocket, which {sys.executable} has not;"
            " pip install 'greenroom[client]' brings it, and in a checkout .venv/bin/python has it"
        )

from protocol.remote.backoff import ReconnectBackoff
from protocol.remote.connecting import DEFAULT_URL, connect
from protocol.remote.errors import (
    CannotConnect,
    ClientError,
    ConnectionLost,
    Disconnected,
    RequestFailed,
    RequestTimedOut,
    TopicGone,
)
from protocol.remote.inbox import Inbox
from protocol.remote.match import Match, MatchUpdate
from protocol.remote.positions import Gap
from protocol.remote.room import Room, RoomUpdate
from protocol.remote.session import Session
from protocol.remote.settings import ClientSettings, Connected, Reconnecting
from protocol.remote.storage import Storage, object_to_write

__all__ = [
    "DEFAULT_URL",
    "CannotConnect",
    "ClientError",
    "ClientSettings",
    "Connected",
    "ConnectionLost",
    "Disconnected",
    "Gap",
    "Inbox",
    "Match",
    "MatchUpdate",
    "ReconnectBackoff",
    "Reconnecting",
    "RequestFailed",
    "RequestTimedOut",
    "Room",
    "RoomUpdate",
    "Session",
    "Storage",
    "TopicGone",
    "connect",
    "object_to_write",
]

if __name__ == "__main__":
    from protocol.terminal import main

    main()
