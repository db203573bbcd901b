"""`connect`: opens a session and keeps a connection to it."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from protocol.codec import JSON, MSGPACK
from protocol.messages.session import SessionOpen, SessionResume
from protocol.remote.access import AccessSource, AccessToken
from protocol.remote.link import Endpoint, carrying_nursery
from protocol.remote.session import Session
from protocol.remote.settings import ClientSettings

DEFAULT_URL = "ws://127.0.0.1:7350/ws"
"""The address of a server with the default configuration."""


@asynccontextmanager
async def connect(
    url: str = DEFAULT_URL,
    *,
    name: str | None = None,
    token: AccessToken | None = None,
    resume: str | None = None,
    encoding: Literal["msgpack", "json"] = "msgpack",
    tls: ssl.SSLContext | None = None,
    settings: ClientSettings | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Session]:
    """Open a session and keep a connection to it; leaving the block ends the session.

    There is one attempt for the first connection, so that a wrong address fails at once. After a
    break there are attempts until one succeeds, `settings.give_up_after_s` seconds have passed, or
    the server forbids another.

    Arguments:
        url: `ws://host:port/path`, or `wss://` for TLS.
        name: open a new session, with this name to show to others; 1 to 64 characters.
        token: an access token of the server's accounts; without one the user is a guest. A function
            is asked for a new one at each connection, and in time before the last one runs out; an
            asynchronous one within `settings.connect_timeout_s`. If it raises, it is asked again,
            except for `Disconnected`, with which the session ends.
        resume: in place of a name, take over the session of this token (`session.opened.token`).
        encoding: msgpack is smaller, json is readable.
        tls: for `wss://`; None: the system's certificates.
        settings: timeouts, back-off, bounds.
        rng: for the random part of the back-off.

    Raises:
        CannotConnect: the first connection failed.
        RequestFailed: the server refused the name or the token.
        Disconnected: the server closed before the session was open.
    """
    settings = settings or ClientSettings()
    greeting: SessionOpen | SessionResume
    if name is not None and resume is None:
        greeting = SessionOpen(name=name)
    elif resume is not None and name is None:
        greeting = SessionResume(token=resume)
    else:
        raise ValueError("give either a name, or resume=session.opened.token")
    access = None if token is None else AccessSource(token, url, settings.connect_timeout_s)
    endpoint = Endpoint(
        url=url,
        encoding={"msgpack": MSGPACK, "json": JSON}[encoding],
        tls=tls,
        timeout_s=settings.connect_timeout_s,
        close_timeout_s=settings.close_timeout_s,
        max_message_bytes=settings.max_message_bytes,
    )
    session = Session(endpoint, greeting, access, settings, rng or random.Random())
    async with carrying_nursery() as nursery:
        await nursery.start(session.channel.run)
        try:
            yield session
        finally:
            await session.channel.leave()
