"""Access tokens of the client: shown, renewed on the open socket, and endings with their names."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
import trio

from protocol.client import (
    CannotConnect,
    Connected,
    Disconnected,
    Reconnecting,
    RequestFailed,
    connect,
)
from protocol.errors import ACCOUNT_BANNED, SIGN_IN_ENDED, TOKEN_RAN_OUT, CloseCode
from protocol.messages.envelope import ErrorReply
from protocol.messages.session import (
    Ping,
    Pong,
    SessionExpiring,
    SessionOpen,
    SessionRenew,
    SessionRenewed,
    SessionResume,
)
from protocol.remote.access import AT_LEAST_S, AccessSource
from tests.protocol.scripted import QUICK, Peer, opened, part, scripted

FOREVER = 2**52


def counting() -> Callable[[], str]:
    """Brings gra_1, gra_2, and so on."""
    numbers = itertools.count(1)
    return lambda: f"gra_{next(numbers)}"


async def test_a_token_that_does_not_change_is_shown_at_the_open_and_at_each_resume() -> None:
    async def opens(peer: Peer) -> None:
        request = await peer.answer(SessionOpen, opened())
        assert (request.name, request.token) == ("ada", "gra_x")
        await peer.close(4000, "drain")

    async def resumes(peer: Peer) -> None:
        request = await peer.answer(SessionResume, opened(resumed=True))
        assert (request.token, request.access) == ("t1", "gra_x")
        await peer.close(TOKEN_RAN_OUT.code, TOKEN_RAN_OUT.name)

    async with (
        scripted(opens, resumes) as url,
        connect(url, name="ada", token="gra_x", settings=QUICK) as session,
    ):
        assert [type(status) async for status in session.statuses()] == [Reconnecting, Connected]
        with pytest.raises(Disconnected) as over:
            await session.ping()
        assert over.value.close is TOKEN_RAN_OUT
        assert over.value.code == "token_ran_out"


async def test_a_session_is_resumed_with_the_token_of_a_new_program() -> None:
    async def server(peer: Peer) -> None:
        request = await peer.answer(SessionResume, opened(resumed=True))
        assert (request.token, request.access) == ("t0", "gra_1")
        await part(peer)

    async with (
        scripted(server) as url,
        connect(url, resume="t0", token=counting(), settings=QUICK),
    ):
        pass


async def test_a_token_is_renewed_when_the_server_says_that_it_ran_out() -> None:
    renewed = trio.Event()

    async def server(peer: Peer) -> None:
        assert (await peer.answer(SessionOpen, opened(expires=FOREVER))).token == "gra_1"
        await peer.send(SessionExpiring(grace_s=30.0))
        request = await peer.answer(SessionRenew, SessionRenewed("t2", FOREVER + 1))
        assert request.access == "gra_2"
        await peer.answer(Ping, Pong(0))
        renewed.set()
        await part(peer)

    async with (
        scripted(server) as url,
        connect(url, name="ada", token=counting(), settings=QUICK) as session,
    ):
        while session.opened.token != "t2":
            await trio.sleep(0)
        assert session.opened.expires == FOREVER + 1
        await session.ping()
        await renewed.wait()


async def test_a_token_is_renewed_before_it_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.remote.access.AT_LEAST_S", 0.0)

    async def server(peer: Peer) -> None:
        soon = round(time.time() * 1000) + 50
        assert (await peer.answer(SessionOpen, opened(expires=soon))).token == "gra_1"
        request = await peer.answer(SessionRenew, SessionRenewed("t2", soon + 50))
        assert request.access == "gra_2"
        request = await peer.answer(SessionRenew, SessionRenewed("t3", FOREVER))
        assert request.access == "gra_3"
        done.set()
        await part(peer)

    done = trio.Event()
    async with (
        scripted(server) as url,
        connect(url, name="ada", token=counting(), settings=QUICK),
    ):
        await done.wait()


async def test_after_it_ran_out_all_the_same_the_session_goes_on_with_a_new_one() -> None:
    async def runs_out(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.close(TOKEN_RAN_OUT.code, TOKEN_RAN_OUT.name)

    async def too_late(peer: Peer) -> None:
        request = await peer.expect(SessionResume)
        assert request.access == "gra_2"
        await peer.send(ErrorReply(request.ref, "token_expired", "It has run out."))
        await peer.silence()

    async def resumes(peer: Peer) -> None:
        assert (await peer.answer(SessionResume, opened(resumed=True))).access == "gra_3"
        await peer.answer(Ping, Pong(0))
        await part(peer)

    async with (
        scripted(runs_out, too_late, resumes) as url,
        connect(url, name="ada", token=counting(), settings=QUICK) as session,
    ):
        await session.ping()


@pytest.mark.parametrize("close", [SIGN_IN_ENDED, ACCOUNT_BANNED])
async def test_a_session_that_was_ended_from_outside_says_how(close: CloseCode) -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.close(close.code, close.name)

    async with (
        scripted(server) as url,
        connect(url, name="ada", token=counting(), settings=QUICK) as session,
    ):
        with pytest.raises(Disconnected) as over:
            await session.ping()
        assert (over.value.close, over.value.code) == (close, close.name)


async def test_a_resume_that_is_refused_says_how() -> None:
    async def opens(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.cut()

    async def refuses(peer: Peer) -> None:
        request = await peer.expect(SessionResume)
        await peer.send(ErrorReply(request.ref, "signed_out", "This sign-in has ended."))
        await peer.silence()

    async with (
        scripted(opens, refuses) as url,
        connect(url, name="ada", token=counting(), settings=QUICK) as session,
    ):
        with pytest.raises(Disconnected) as over:
            await session.ping()
        assert (over.value.close, over.value.code) == (None, "signed_out")


async def test_a_source_that_fails_is_asked_again_and_one_that_says_no_ends_the_session() -> None:
    answers: list[str | Exception] = [
        "gra_1", OSError("no network"), "gra_2", Disconnected("the player signed out")
    ]  # fmt: skip

    async def bring() -> str:
        await trio.sleep(0)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def opens(peer: Peer) -> None:
        assert (await peer.answer(SessionOpen, opened())).token == "gra_1"
        await peer.cut()

    async def resumes(peer: Peer) -> None:
        request = await peer.answer(SessionResume, opened(resumed=True, expires=FOREVER))
        assert request.access == "gra_2"
        await peer.send(SessionExpiring(grace_s=30.0))
        await peer.silence()

    async with (
        scripted(opens, resumes) as url,
        connect(url, name="ada", token=bring, settings=QUICK) as session,
    ):
        with pytest.raises(Disconnected, match="the player signed out"):
            await session.ping()
    assert not answers


async def test_without_a_first_token_there_is_no_session(autojump_clock: trio.abc.Clock) -> None:
    def fails() -> str:
        raise OSError("no network")

    async def never() -> str:
        await trio.sleep_forever()
        raise AssertionError

    for source, text in ((fails, "no network"), (never, "within 10 s")):
        with pytest.raises(CannotConnect, match=text):
            async with connect("ws://127.0.0.1:1/ws", name="ada", token=source):
                pass


async def test_a_refused_first_token_is_told() -> None:
    async def server(peer: Peer) -> None:
        request = await peer.expect(SessionOpen)
        await peer.send(ErrorReply(request.ref, "banned", "The account is banned."))
        await peer.silence()

    async with scripted(server) as url:
        with pytest.raises(RequestFailed, match="banned") as refused:
            async with connect(url, name="ada", token="gra_1", settings=QUICK):
                pass
    assert refused.value.code == "banned"


@pytest.mark.parametrize(
    ("now", "expires_ms", "wait_s"),
    [(1000.0, 1_600_000, 480.0), (1000.0, 1_005_000, AT_LEAST_S), (4600.0, 1_600_000, AT_LEAST_S)],
)
def test_a_clock_that_is_wrong_does_not_make_it_renew_without_end(
    now: float, expires_ms: int, wait_s: float
) -> None:
    access = AccessSource(counting(), "ws://x/ws", 10.0, clock=lambda: now)
    assert access.renew_in_s(expires_ms) == wait_s
