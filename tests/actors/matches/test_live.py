"""Matches that are created on a server of its own, through kills of the server and PostgreSQL."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import trio

from protocol.client import ClientSettings, ReconnectBackoff, RequestFailed, Session, connect
from protocol.messages.match import MatchCreate, MatchCreated, MatchJoin, MatchState
from tests.server_process import Server

SETTINGS = ClientSettings(backoff=ReconnectBackoff(first_s=0.02, max_s=0.2), request_timeout_s=60.0)
ROOMY = (
    "matches.unjoined_after_s=600",
    "matches.max_matches_of_user=1000",
    "matches.list_limit=1000",
    "sessions.activations_per_s=1000",
    "sessions.activations_burst=1000",
    "sessions.topics=1000",
    "sessions.messages_per_s=0",
)
ROUNDS, CREATORS = 2, 4


class Creators:
    """Clients that create matches with keys, one after the other, and remember the answers."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        self.keys: list[str] = []

    async def create(self, session: Session) -> None:
        while True:
            key = f"k{len(self.keys)}"
            self.keys.append(key)
            try:
                self.made[key] = await created(session, key)
            except RequestFailed as failed:
                assert failed.retry, failed  # noqa: PT017
                await trio.sleep(0.02)

    async def made_more(self, count: int) -> None:
        """Return once so many more creations were answered."""
        goal = len(self.made) + count
        while len(self.made) < goal:
            await trio.sleep(0.005)


async def created(session: Session, key: str) -> str:
    request = MatchCreate(game="tictactoe", key=key)
    return (await session.request(request, MatchCreated)).match


async def test_what_was_created_is_there_after_any_kill_and_nothing_is_there_twice(
    tmp_path: Path,
) -> None:
    rng, creators, token = random.Random(3), Creators(), None
    with trio.fail_after(240):
        for turn in range(ROUNDS):
            with await trio.to_thread.run_sync(Server, tmp_path, *ROOMY) as server:
                async with (
                    connect(
                        server.ws, name=None if token else "ada", resume=token, settings=SETTINGS
                    ) as session,
                    trio.open_nursery() as nursery,
                ):
                    token = session.opened.token
                    for _ in range(CREATORS):
                        nursery.start_soon(creators.create, session)
                    await creators.made_more(rng.randrange(5, 25))
                    if turn % 2:
                        pid = await trio.to_thread.run_sync(server.postgres)
                        os.kill(pid, signal.SIGKILL)
                        await creators.made_more(5)
                    await trio.to_thread.run_sync(server.kill)
                    nursery.cancel_scope.cancel()
        with await trio.to_thread.run_sync(Server, tmp_path, *ROOMY) as server:
            async with connect(server.ws, resume=token, settings=SETTINGS) as session:
                listed = {match.match for match in await session.matches(limit=1000)}
                assert listed >= set(creators.made.values())
                # Those that were not answered are there or not; a retry finds each that is.
                retried = {key: await created(session, key) for key in creators.keys}
                assert retried.items() >= creators.made.items()
                assert len(set(retried.values())) == len(retried)
                assert listed <= set(retried.values())
                for match in retried.values():
                    state = await session.request(MatchJoin(match=match), MatchState)
                    assert state.players == [session.opened.user]
