"""Commands of Redis in the form in which they are sent, and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, NamedTuple

Command = tuple[bytes | str | int | float, ...]


class Script(NamedTuple):
    """A Lua script, which is called by its hash.

    A server that does not have it is sent its text.
    """

    text: str
    name: str

    def call(self, keys: tuple[str, ...], *arguments: Any) -> Command:
        """Return the command that runs it. In a Cluster all keys must be of one hash slot."""
        return ("EVALSHA", self.name, len(keys), *keys, *arguments)

    def in_full(self, call: Command) -> Command:
        """Return a call with the script's text in place of its hash."""
        return ("EVAL", self.text, *call[2:])


def script(text: str) -> Script:
    """Return a script."""
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def only(replies: Sequence[Any]) -> Any:
    """Return the reply to a command that was sent alone; raise it, if it is an error."""
    (reply,) = replies
    if isinstance(reply, Exception):
        raise reply
    return reply


def key_of(command: Command) -> bytes | None:
    """Return the key that decides a command's server in a Cluster; None: any server will do."""
    name = command[0]
    if name == "PING":
        return None
    if name in {"EVALSHA", "EVAL"}:
        key = command[3] if command[2] else None
    elif name == "XREAD":
        key = command[command.index("STREAMS") + 1]
    else:
        key = command[1]
    if key is None:
        return None
    return key if isinstance(key, bytes) else str(key).encode()
