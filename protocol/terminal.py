"""A chat for the terminal: `python -m protocol.client --room lobby --name ada`."""

from __future__ import annotations

import argparse
import getpass
import signal
import ssl
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import trio

from protocol.codec import EncodeError
from protocol.messages.envelope import Ident, Name
from protocol.messages.friend import Friend
from protocol.messages.room import Message, RoomJoined, RoomPresence
from protocol.prompt import Prompt, plain
from protocol.remote.connecting import DEFAULT_URL, connect
from protocol.remote.errors import CannotConnect, ClientError
from protocol.remote.link import NOBODY_LISTENS
from protocol.remote.positions import Gap
from protocol.remote.room import Room, RoomUpdate
from protocol.remote.session import Session
from protocol.remote.settings import ClientSettings, Connected
from protocol.words import in_words

BACKLOG = 20
"""How many messages are shown on entering a room."""
TYPED_AHEAD = 64
"""How many typed lines may wait to be sent, for instance without a connection.

Beyond that no input is read.
"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HELP = "/who: who is here   /more: older messages   /quit, Ctrl-D or Ctrl-C: leave"
HELP_FRIENDS = (
    "/friends: friends and requests   /friend NAME: ask or accept   /unfriend NAME: end it"
    "   /block NAME, /unblock NAME: show nothing of somebody"
)
"""NAME is that of a member of the room, or the id of a user."""


def line_of(update: RoomUpdate) -> str:
    """Return one line that describes what happened in a room."""
    if isinstance(update, Message):
        at = datetime.fromtimestamp(update.at / 1000).astimezone()
        if update.erased:
            return f"{at:%H:%M} (erased)"
        return f"{at:%H:%M} {plain(update.name)}: {plain(update.body)}"
    if isinstance(update, Gap):
        if update.cause == "void":
            return f"* the room crashed; messages {update.first} to {update.last} above are void"
        return f"* messages {update.first} to {update.last} are not shown ({update.cause}); /more"
    if isinstance(update, RoomPresence):
        return described_presence(update)
    verb = "came" if isinstance(update, RoomJoined) else "left"
    return f"* {plain(update.member.name)} {verb}"


def described_presence(update: RoomPresence) -> str:
    """Return one line that says who has come and gone in a big room."""
    told = [
        f"{', '.join(plain(member.name) for member in members)} {verb}"
        for verb, members in (("came", update.joined), ("left", update.left))
        if members
    ]
    return f"* {'; '.join([*told, f'{update.members_total} are here'])}"


def described_members(room: Room) -> str:
    """Return one line that names who is in a room."""
    names = ", ".join(plain(member.name) for member in room.members)
    others = room.members_total - len(room.members)
    return f"* here: {names}" + (f" and {others} more" if others > 0 else "")


def described_friend(friend: Friend, names: Mapping[str, str]) -> str:
    """Return one line that says how a user stands to one."""
    name = names.get(friend.user, friend.user)
    how = {
        "friend": "is online" if friend.online else "is not online",
        "requested": "has not answered yet",
        "asked": "asks to be a friend",
    }[friend.state]
    return f"* {plain(name)} {how}"


class Chat:
    """A chat in one room, by one person who types."""

    def __init__(self, prompt: Prompt, session: Session, room: Room) -> None:
        self._prompt = prompt
        self._session = session
        self._room = room
        self._oldest = room.backlog[0].offset if room.backlog else room.position.offset + 1
        self.failure: ClientError | None = None
        """Why the chat ended, if the user did not end it."""

    async def run(self) -> None:
        """Chat until the input ends or the session is over."""
        typed, lines = trio.open_memory_channel[str](TYPED_AHEAD)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show_statuses)
            nursery.start_soon(self._show_updates, nursery.cancel_scope)
            nursery.start_soon(self._send, lines, nursery.cancel_scope)
            await self._type(typed)

    async def _type(self, typed: trio.MemorySendChannel[str]) -> None:
        async with typed:
            while (lines := await self._prompt.lines()) is not None:
                for line in lines:
                    if line.strip() == "/quit":
                        return
                    if line.strip():
                        await typed.send(line)

    async def _send(self, lines: trio.MemoryReceiveChannel[str], over: trio.CancelScope) -> None:
        async for line in lines:
            try:
                await self._act(line)
            except ClientError as error:
                # What was typed is named, so that it can be sent again.
                self._prompt.say(f"! {in_words(error)}: {line}")
        with trio.move_on_after(2):  # the server may be away
            try:
                await self._room.leave()  # ends _show_updates, after the messages that have come
            except ClientError:
                over.cancel()
            await trio.sleep_forever()
        over.cancel()

    async def _act(self, line: str) -> None:
        match line.strip():
            case "/who":
                await self._room.refresh_members()
                self._prompt.say(described_members(self._room))
            case "/more":
                page = await self._room.history(before=self._oldest, limit=BACKLOG)
                for message in page.messages:
                    self._prompt.say(line_of(message))
                if page.messages:
                    self._oldest = page.messages[0].offset
                else:
                    self._prompt.say("* there is nothing older")
            case "/friends":
                await self._list_friends()
            case command if command.startswith("/"):
                verb, _, name = command.partition(" ")
                if not name or not await self._do(verb, self._user_of(name.strip())):
                    self._prompt.say(HELP)
                    self._prompt.say(HELP_FRIENDS)
            case _:
                await self._room.send(line)

    async def _list_friends(self) -> None:
        names = {member.user: member.name for member in self._room.members}
        lines = [described_friend(one, names) async for one in self._session.friends.list()]
        for line in lines or ["* nobody yet"]:
            self._prompt.say(line)

    async def _do(self, verb: str, user: str) -> bool:
        """Do something about another user, and say so; returns whether there is such a command."""
        friends = self._session.friends
        match verb:
            case "/friend":
                tie = await friends.request(user)
                done = "you are friends" if tie.state == "friend" else "you have asked"
            case "/unfriend":
                await friends.remove(user)
                done = "you are no friends any more"
            case "/block":
                await friends.block(user)
                done = "nothing of this one is shown any more"
            case "/unblock":
                await friends.unblock(user)
                done = "this one is shown again"
            case _:
                return False
        self._prompt.say(f"* {done}: {plain(user)}")
        return True

    def _user_of(self, name: str) -> str:
        """Return the id of the member of this name; else what was typed, as it may be an id."""
        found = [member.user for member in self._room.members if member.name == name]
        return found[0] if len(found) == 1 else name

    async def _show_updates(self, over: trio.CancelScope) -> None:
        try:
            async for update in self._room.updates():
                self._prompt.say(line_of(update))
        except ClientError as error:
            self.failure = error
        over.cancel()

    async def _show_statuses(self) -> None:
        async for status in self._session.statuses():
            if isinstance(status, Connected):
                self._prompt.say("* connected again")
            else:
                self._prompt.say(
                    f"* {in_words(status.error)}; trying again in {status.wait_s:.1f} s"
                )


def check_names(room: str, name: str) -> None:
    """Raise ValueError, with a text for the user, if a room or a user cannot be called so."""
    if not _fits(room, Ident):
        raise ValueError(
            f"--room {room!r}: the name of a room is 1 to 64 characters:"
            " letters from A to Z or a to z, digits, and _ . : -"
        )
    if not _fits(name, Name):
        raise ValueError(f"--name {name!r}: a name is 1 to 64 characters")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"--name {name!r}: a name is text in UTF-8") from None


def _fits(text: str, kind: Any) -> bool:
    try:
        msgspec.convert(text, kind)
    except msgspec.ValidationError:
        return False
    return True


async def chat(arguments: argparse.Namespace, prompt: Prompt) -> int:
    """Enter the room and chat. Return the exit code.

    Raises ValueError: the room or the user cannot be called so. The text is for the user.
    """
    check_names(arguments.room, arguments.name)
    tls = None
    if arguments.ca is not None:
        tls = ssl.create_default_context(cafile=arguments.ca)
    async with connect(
        arguments.url,
        name=arguments.name,
        encoding=arguments.encoding,
        tls=tls,
        settings=ClientSettings(connect_timeout_s=5.0),
    ) as session:
        room = await session.join(arguments.room)
        with prompt.taken_over():
            for message in room.backlog[-BACKLOG:]:
                prompt.say(line_of(message))
            prompt.say(described_members(room))
            if prompt.interactive:
                prompt.say(f"* you are {plain(arguments.name)} in {room.name}   {HELP}")
            one = Chat(prompt, session, room)
            await one.run()
        if one.failure is not None:
            raise one.failure
    return 0


async def until_a_signal(arguments: argparse.Namespace, prompt: Prompt) -> int:
    """Chat until the input ends, or a Ctrl-C, a SIGTERM or the closing of the terminal ends it.

    Returns the exit code.
    """
    status = 0

    async def cancelled_by_signals(scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async for _ in signals:
                scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancelled_by_signals, nursery.cancel_scope)
        try:
            status = await chat(arguments, prompt)
        except CannotConnect as error:
            status = 1
            hint = " Start a server with: make run" if error.why == NOBODY_LISTENS else ""
            print(plain(f"no server at {error.url} ({error.why}).{hint}"), file=sys.stderr)
        except ClientError as error:
            status = 1
            print(plain(in_words(error)), file=sys.stderr)
        except (ssl.SSLError, OSError, ValueError, EncodeError) as error:
            status = 2
            print(plain(str(error)), file=sys.stderr)
        nursery.cancel_scope.cancel()
    return status


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return "guest"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m protocol.client", description="Chat in a room of a Greenroom server."
    )
    parser.add_argument("--room", default="lobby", help="default: %(default)s")
    parser.add_argument("--name", default=_user(), help="default: %(default)s")
    parser.add_argument("--url", default=DEFAULT_URL, help="default: %(default)s")
    parser.add_argument("--encoding", choices=["msgpack", "json"], default="msgpack")
    parser.add_argument("--ca", metavar="FILE", help="trust this certificate for wss://")
    sys.exit(trio.run(until_a_signal, parser.parse_args(argv), Prompt()))
