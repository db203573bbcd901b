"""The client's accounts against scripted servers: what it sends, and what it makes of answers."""

from __future__ import annotations

import pytest

from protocol.client import ConnectionLost, connect
from protocol.errors import NO_ACCOUNT, RATE_LIMITED, RequestError
from protocol.messages.envelope import ErrorReply
from protocol.messages.profile import (
    Account,
    AccountGet,
    AccountRead,
    AccountSearch,
    AccountUpdate,
    Profile,
    Profiles,
    ProfilesFound,
)
from protocol.messages.session import Ping, Pong, SessionOpen, SessionResume
from protocol.messages.sign_ins import (
    AccountEndSession,
    AccountEndSessions,
    AccountSessions,
    SignInEntry,
    SignIns,
    SignInsEnded,
)
from protocol.messages.standing import AccountClose
from protocol.remote.errors import RequestFailed
from tests.protocol.scripted import QUICK, Peer, opened, part, scripted

ADA = Account(
    user="u1", username="ada", name="Ada", avatar_url="", language="en", time_zone="",
    public_metadata="{}", private_metadata="{}", roles=[], version=2, created=1, seen=2,
)  # fmt: skip

DEVICE = SignInEntry(sign_in="s1", label="phone", created=1, used=2, expires=3, current=True)


def profile(user: str) -> Profile:
    return Profile(user=user, username=user, name=user, avatar_url="", metadata="{}", created=1)


async def test_an_account_is_read_and_changed() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(AccountGet, ADA)
        asked = await peer.answer(AccountRead, Profiles([profile("u2")]))
        assert asked.users == ["u2", "u3"]
        changed = await peer.answer(AccountUpdate, ADA)
        assert (changed.version, changed.username, changed.name) == (1, "ada", None)
        assert changed.key
        await peer.answer(AccountSessions, SignIns([DEVICE]))
        assert (await peer.answer(AccountEndSession, SignInsEnded(1))).sign_in == "s1"
        assert (await peer.answer(AccountEndSessions, SignInsEnded(2))).others
        await peer.answer(AccountClose)
        refused = await peer.expect(AccountGet)
        await peer.send(ErrorReply.of(RequestError(NO_ACCOUNT), refused.ref))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        accounts = session.accounts
        assert await accounts.own() == ADA
        assert await accounts.read(("u2", "u3")) == [profile("u2")]
        assert await accounts.update(version=1, username="ada") == ADA
        assert await accounts.sessions() == [DEVICE]
        await accounts.end_session("s1")
        assert await accounts.end_sessions(others=True) == 2
        await accounts.close()
        with pytest.raises(RequestFailed) as failed:
            await accounts.own()
        assert failed.value.code == "no_account"


async def test_a_search_takes_as_many_requests_as_it_needs_and_waits_for_the_server() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.answer(AccountSearch, ProfilesFound([profile("ada")], "ada"))
        fast = await peer.expect(AccountSearch)
        assert (fast.prefix, fast.limit, fast.cursor) == ("a", 1, "ada")
        await peer.send(ErrorReply.of(RequestError(RATE_LIMITED, retry_in_s=0.01), fast.ref))
        await peer.answer(AccountSearch, ProfilesFound([profile("adb")]))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        names = [one.username async for one in session.accounts.search("a", page=1)]
        assert names == ["ada", "adb"]


async def test_a_change_without_a_key_is_not_sent_twice() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        assert (await peer.expect(AccountUpdate)).key is None
        await peer.cut()

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await peer.answer(Ping, Pong(1))
        await part(peer)

    scripts = scripted(first, second)
    async with scripts as url, connect(url, name="ada", settings=QUICK) as session:
        with pytest.raises(ConnectionLost):
            await session.accounts.update(name="Ada", key=None)
        await session.request(Ping(), Pong)
