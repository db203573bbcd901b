"""The Python client.

    async with connect("ws://127.0.0.1:7350/ws", name="ada") as session:
        room = await session.join("lobby")
        await room.send("hi")
        async for message in room:
            print(message)  # a Message, or a Gap where some are missing

When the connection is lost, the client reconnects with back-off and jitter, as the table of closes
says, and resumes its session. Each message is yielded once, or a `Gap` says which ones are missing.
Requests wait for the connection until their deadline.

`python -m protocol.client` is a chat for the terminal.
"""

from __future__ import annotations

import importlib.util
import signal
import sys

if __name__ == "__main__":  # before the imports below, which take time and may lack a package
    # A Ctrl-C during an import ends the program, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if importlib.util.find_spec("trio_websocket") is None:
        sys.exit(
            f"the client needs the package trio_websocket, which {sys.executable} has not;"
            " pip install 'greenroom[client]' brings it, and in a checkout .venv/bin/python has it"
        )

from protocol.remote.access import AccessToken
from protocol.remote.accounts import Accounts
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
from protocol.remote.friends import Friends
from protocol.remote.inbox import Inbox
from protocol.remote.match import Match, MatchUpdate
from protocol.remote.positions import Gap
from protocol.remote.room import Room, RoomUpdate
from protocol.remote.session import Session
from protocol.remote.settings import ClientSettings, Connected, Reconnecting
from protocol.remote.storage import Storage, object_to_write

__all__ = [
    "DEFAULT_URL",
    "AccessToken",
    "Accounts",
    "CannotConnect",
    "ClientError",
    "ClientSettings",
    "Connected",
    "ConnectionLost",
    "Disconnected",
    "Friends",
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
