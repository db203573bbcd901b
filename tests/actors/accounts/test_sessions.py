"""Sessions of accounts: opened with an access token, renewed, run out, and ended from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
import trio
from trio.testing import MockClock

from actors.accounts.access import ALL, GUESTS, AccountAccess, Ending
from actors.edge.access_tokens import AccessKeys, AccessTokens
from actors.edge.session import KIND as SESSION
from actors.edge.settings import SessionSettings
from protocol.errors import (
    ACCOUNT_BANNED,
    SIGN_IN_ENDED,
    TOKEN_RAN_OUT,
    CloseCode,
)
from protocol.messages.match import MatchCreate, MatchEnded, MatchEvent, MatchInput, MatchJoin
from protocol.messages.session import (
    Ping,
    Pong,
    SessionExpiring,
    SessionOpen,
    SessionOpened,
    SessionRenew,
    SessionRenewed,
    SessionResume,
)
from tests.actors.players import House, Player, open_house
from tests.actors.replies import Refusal
from tests.left_out import has

VALID_S, GRACE_S = 600.0, 30.0
SETTINGS = SessionSettings(messages_per_s=0, bytes_per_s=0, token_grace_s=GRACE_S)
KEYS = AccessKeys("k1", {"k1": b"one" * 11})
FOREVER = 1e12
REJOIN_WITHIN_S = 60.0


class Scene(NamedTuple):
    house: House
    access: AccountAccess
    now: Callable[[], float]

    def token(self, user: str = "ada", sign_in: str = "s1", *roles: str) -> str:
        return self.access.tokens.issue(user, user.title(), roles, sign_in)

    async def player(self, user: str = "ada", sign_in: str = "s1") -> Player:
        player = self.house.connect()
        opening = SessionOpen(name="n", token=self.token(user, sign_in))
        opened: SessionOpened = await player.ask(opening)
        player.opened = opened
        return player

    async def close_of(self, player: Player) -> CloseCode | None:
        await player.settle()
        return player.closed


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    def now() -> float:
        return 1_700_000_000 + trio.current_time() % 10**6

    tokens = AccessTokens(lambda: KEYS, valid_s=VALID_S, clock=now)
    access = AccountAccess(
        tokens, lambda session, ended: here.system.ref(SESSION, session).notify(ended), now
    )
    async with open_house(access=access, sessions=SETTINGS) as here:
        yield Scene(here, access, now)


async def test_a_session_is_opened_with_an_access_token(autojump_clock: MockClock) -> None:
    async with scene() as here:
        player = await here.player()
        assert player.opened is not None
        assert (player.opened.user, player.opened.name) == ("ada", "Ada")
        assert player.opened.expires == pytest.approx((here.now() + VALID_S) * 1000, abs=1000)
        nameless = here.house.connect()
        token = here.access.tokens.issue("bob", "", (), "s2")
        opened = await nameless.ask(SessionOpen(name="bobby", token=token))
        assert (opened.user, opened.name) == ("bob", "bobby")


async def test_a_guest_knows_nothing_of_access(autojump_clock: MockClock) -> None:
    async with scene() as here:
        player = await here.house.player("ada")
        assert player.opened is not None
        assert player.opened.user.startswith("guest-")
        assert player.opened.expires is None
        await trio.sleep(VALID_S + GRACE_S + 1)
        assert await here.close_of(player) is None


async def test_a_bad_token_opens_nothing_and_the_connection_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        player = here.house.connect()
        assert await player.refused(SessionOpen(name="n", token="gra_xyz")) == "bad_token"
        token = here.token()
        await trio.sleep(VALID_S)
        assert await player.refused(SessionOpen(name="n", token=token)) == "token_expired"
        opened = await player.ask(SessionOpen(name="n", token=here.token()))
        assert opened.user == "ada"


async def test_without_accounts_every_token_is_refused(autojump_clock: MockClock) -> None:
    async with open_house() as here:
        player = here.connect()
        assert await player.refused(SessionOpen(name="n", token="gra_xyz")) == "bad_token"
        await player.open("ada")
        assert await player.refused(SessionRenew(access="gra_xyz")) == "bad_token"


async def test_a_socket_whose_token_ran_out_is_told_has_a_grace_and_is_closed(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        player = await here.player()
        await trio.sleep(VALID_S - 1)
        await player.settle()
        assert player.got(SessionExpiring) == []
        await trio.sleep(2)
        await player.settle()
        assert player.got(SessionExpiring) == [SessionExpiring(grace_s=GRACE_S)]
        assert isinstance(await player.ask(Ping()), Pong)
        await trio.sleep(GRACE_S)
        assert await here.close_of(player) is TOKEN_RAN_OUT


async def test_a_token_is_renewed_on_the_open_socket(autojump_clock: MockClock) -> None:
    async with scene() as here:
        player = await here.player()
        for _ in range(3):
            await trio.sleep(VALID_S - 5)
            renewed: SessionRenewed = await player.ask(SessionRenew(access=here.token()))
            assert renewed.expires == pytest.approx((here.now() + VALID_S) * 1000, abs=1000)
        await player.settle()
        assert player.got(SessionExpiring) == []
        assert player.closed is None


async def test_a_renewal_in_the_grace_is_in_time(autojump_clock: MockClock) -> None:
    async with scene() as here:
        player = await here.player()
        await trio.sleep(VALID_S + GRACE_S / 2)
        await player.ask(SessionRenew(access=here.token()))
        await trio.sleep(VALID_S - 5)
        assert await here.close_of(player) is None


async def test_a_session_is_not_renewed_with_the_token_of_another_user(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        player = await here.player()
        assert await player.refused(SessionRenew(access=here.token("bob", "s2"))) == "bad_token"


async def test_a_session_that_ran_out_is_resumed_with_a_new_access_token(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        player = await here.player()
        assert player.opened is not None
        token, session = player.opened.token, player.opened.session
        await trio.sleep(VALID_S + GRACE_S + 1)
        assert await here.close_of(player) is TOKEN_RAN_OUT
        player.leave()
        again = here.house.connect()
        assert await again.refused(SessionResume(token=token)) == "token_expired"
        other = here.token("bob", "s2")
        assert await again.refused(SessionResume(token=token, access=other)) == "bad_token"
        opened = await again.ask(SessionResume(token=token, access=here.token()))
        assert (opened.session, opened.resumed) == (session, True)


async def test_a_resume_without_a_new_token_does_not_make_the_access_longer(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        player = await here.player()
        assert player.opened is not None
        await trio.sleep(VALID_S / 2)
        player.leave()
        again = here.house.connect()
        opened = await again.ask(SessionResume(token=player.opened.token))
        assert opened.expires == player.opened.expires
        await trio.sleep(VALID_S / 2 + GRACE_S + 1)
        assert await here.close_of(again) is TOKEN_RAN_OUT


async def test_a_session_that_is_gone_comes_back_with_the_same_access(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        player = await here.player()
        assert player.opened is not None
        player.leave()
        await trio.sleep(SETTINGS.resume_within_s + 1)
        again = here.house.connect()
        opened = await again.ask(SessionResume(token=player.opened.token))
        assert (opened.resumed, opened.user) == (False, "ada")
        assert opened.expires == player.opened.expires
        here.access.apply([Ending("ada", "s1", "signed_out", FOREVER)])
        assert await here.close_of(again) is SIGN_IN_ENDED


async def test_a_sign_in_that_ends_closes_its_sockets_and_no_others(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        one, same = await here.player(), await here.player()
        other, bob = await here.player("ada", "s2"), await here.player("bob", "s3")
        here.access.apply([Ending("ada", "s1", "signed_out", FOREVER)])
        assert await here.close_of(one) is await here.close_of(same) is SIGN_IN_ENDED
        assert await here.close_of(other) is await here.close_of(bob) is None
        again = here.house.connect()
        assert one.opened is not None
        assert await again.refused(SessionResume(token=one.opened.token)) == "signed_out"
        assert await again.refused(SessionOpen(name="n", token=here.token())) == "signed_out"
        assert await other.refused(SessionRenew(access=here.token())) == "signed_out"


async def test_a_ban_closes_all_sockets_of_the_user_until_it_is_over_or_lifted(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        one, other = await here.player(), await here.player("ada", "s2")
        here.access.apply([Ending("ada", ALL, "banned", here.now() + 50)])
        assert await here.close_of(one) is await here.close_of(other) is ACCOUNT_BANNED
        again = here.house.connect()
        assert await again.refused(SessionOpen(name="n", token=here.token())) == "banned"
        await trio.sleep(50)
        await again.ask(SessionOpen(name="n", token=here.token()))
        here.access.apply([Ending("ada", ALL, "banned", FOREVER)])
        assert await here.close_of(again) is ACCOUNT_BANNED
        here.access.apply([Ending("ada", ALL, "banned", 0.0)])
        await here.player()
        here.access.forget_old()
        assert here.access.endings == 0


async def test_the_sessions_of_a_user_from_before_there_was_an_account_end_by_themselves(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        guest = await here.house.player("ada")
        assert guest.opened is not None
        user = guest.opened.user
        signed_in = await here.player(user, "s1")
        here.access.apply([Ending(user, GUESTS, "signed_out", FOREVER)])
        assert await here.close_of(guest) is SIGN_IN_ENDED
        assert await here.close_of(signed_in) is None
        again = here.house.connect()
        assert await again.refused(SessionResume(token=guest.opened.token)) == "signed_out"


async def test_a_guest_who_gets_an_account_goes_on_in_the_same_session(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        guest = await here.house.player("ada")
        assert guest.opened is not None
        user = guest.opened.user
        renewed = await guest.ask(SessionRenew(access=here.token(user, "s1")))
        here.access.apply([Ending(user, GUESTS, "signed_out", FOREVER)])
        assert await here.close_of(guest) is None
        guest.leave()
        again = here.house.connect()
        opened = await again.ask(SessionResume(token=renewed.token))
        assert (opened.resumed, opened.user) == (True, user)
        here.access.apply([Ending(user, "s1", "signed_out", FOREVER)])
        assert await here.close_of(again) is SIGN_IN_ENDED


@pytest.mark.skipif(not has("matches"), reason="there are no matches")
async def test_a_ban_while_a_match_is_on_throws_the_player_out_and_the_match_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        ada, bob = await here.player("ada", "s1"), await here.player("bob", "s2")
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        for player in (ada, bob):
            await player.ask(MatchJoin(match=match))
        await ada.ask(MatchInput(match=match, seq=1, input={"cell": 0}))
        until = here.now() + 3600
        here.access.apply([Ending("ada", ALL, "banned", until, until, "cheating")])
        assert await here.close_of(ada) is ACCOUNT_BANNED
        # Her place is kept for a while, but she cannot take it; the other one plays on.
        again = here.house.connect()
        assert ada.opened is not None
        for attempt in (
            SessionOpen(name="n", token=here.token("ada", "s1")),
            SessionResume(token=ada.opened.token),
        ):
            with pytest.raises(Refusal, match="cheating") as refused:
                await again.ask(attempt)
            assert refused.value.code == "banned"
        await bob.ask(MatchInput(match=match, seq=1, input={"cell": 4}))
        await trio.sleep(REJOIN_WITHIN_S + 1)
        await bob.settle()
        assert await here.close_of(bob) is None
        (left,) = [one for one in bob.got(MatchEvent) if one.kind == "left"]
        (ended,) = bob.got(MatchEnded)
        assert (left.player, ended.result["winner"]) == ("ada", "bob")
