"""A real mail server for tests, and the letters that it was given."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from typing import Any

import trio
from aiosmtpd.smtp import SMTP, AuthResult, Envelope

WITHIN_S = 30.0


class Mailboxes:
    """What the server does with letters, and those that it has taken.

    Attributes:
        letters: those that it has taken, the oldest first.
        refuse: what it answers instead of taking the next ones, the first first.
    """

    def __init__(self) -> None:
        self.letters: list[Message] = []
        self.refuse: list[str] = []
        self.port = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        if self.refuse:
            return self.refuse.pop(0)
        assert isinstance(envelope.content, bytes)
        self.letters.append(message_from_bytes(envelope.content))
        return "250 taken"

    def of(self, address: str) -> list[Message]:
        return [letter for letter in self.letters if letter["To"] == address]

    async def wait(self, address: str, count: int = 1) -> Message:
        """The n-th letter to an address, once it is there."""
        with trio.fail_after(WITHIN_S):
            while len(self.of(address)) < count:
                await trio.sleep(0.01)
        return self.of(address)[count - 1]

    async def code(self, address: str, count: int = 1) -> str:
        found = re.search(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){2}", text_of(await self.wait(address, count)))
        assert found is not None
        return found[0]


def text_of(letter: Message) -> str:
    payload = letter.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


@contextmanager
def mail_server(
    mailboxes: Mailboxes | None = None,
    *,
    port: int = 0,
    starttls: ssl.SSLContext | None = None,
    login: tuple[bytes, bytes] | None = None,
) -> Iterator[Mailboxes]:
    """Run a mail server, in a thread of its own."""
    found = mailboxes or Mailboxes()

    def authenticate(_: Any, __: Any, ___: Any, ____: Any, data: Any) -> Any:
        return AuthResult(success=(data.login, data.password) == login, handled=False)

    loop = asyncio.new_event_loop()

    def session() -> SMTP:
        return SMTP(
            found, hostname="localhost", tls_context=starttls, require_starttls=bool(starttls),
            authenticator=authenticate if login else None, auth_required=bool(login), loop=loop,
        )  # fmt: skip

    server = loop.run_until_complete(loop.create_server(session, "127.0.0.1", port))
    found.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):  # clients that are still connected
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
