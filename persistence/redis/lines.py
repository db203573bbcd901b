"""Opens the line to a store, by its address: one server, Sentinels, or a Cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from persistence.errors import StoreUnavailable
from persistence.redis.address import read_many
from persistence.redis.commands import Command, Script, only
from persistence.redis.connection import STORE, connect, one_line
from persistence.redis.line import Line
from persistence.redis.sharded import ShardedLine
from persistence.settings import RedisSettings

AnyLine = Line | ShardedLine


def open_line(settings: RedisSettings) -> AnyLine:
    """Return a line to the store, which connects when it is first used.

    Raises `StoreUnavailable` if the URL is not valid.
    """
    try:
        many = read_many(settings.url)
    except ValueError as error:
        raise StoreUnavailable(STORE, one_line(error)) from None
    if many is not None and not many.primary:
        return ShardedLine(settings, many)
    return Line(connect(settings))


def converse(line: AnyLine, script: Script, commands: Sequence[Command]) -> list[Any]:
    """Execute commands of which some call a script, in one round trip.

    A server that does not have the script, after a restart or a failover or at first, has not run
    it, and is sent its text. Raises as `execute` of the line.
    """
    replies = list(line.execute(*commands))
    missing = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if missing:
        again = line.execute(*(script.in_full(commands[place]) for place in missing))
        for place, reply in zip(missing, again, strict=True):
            replies[place] = reply
    return replies


def ask_once(settings: RedisSettings, command: Command) -> Any:
    """Return the reply to one command, by a line of its own. Blocks for up to `timeout_s`.

    Raises `StoreUnavailable` if there is none, or it is an error.
    """
    line = open_line(settings)
    try:
        return only(line.execute(command))
    except (RedisError, OSError) as error:
        raise StoreUnavailable(STORE, one_line(error)) from None
    finally:
        line.close()


def check_redis(settings: RedisSettings) -> None:
    """Return if the store answers, else raise `StoreUnavailable`. Blocks for up to `timeout_s`."""
    ask_once(settings, ("PING",))
