from __future__ import annotations

import trio
import trio.testing

from actors.matches.rules.game import Game
from tests.actors.games import Counting, Hands, Ledger
from tests.actors.runtime.cycles import cycles_of
from tests.actors.table import table


async def test_an_ended_match_leaves_no_cycle(autojump_clock: trio.testing.MockClock) -> None:
    games: list[type[Game]] = [Counting, Hands, Ledger]
    for game in games:
        async with table(game) as one:

            async def come_and_go(game: type[Game] = game) -> None:
                match = await one.create(game.name)
                ada = one.player("ada")
                await ada.join(match)
                await ada.input(match, 1, {"say": "hello"})
                await ada.input(match, 2, {"end": "won"})
                await trio.sleep(60)  # it lingers for a while
                await ada.vanish()

            assert not await cycles_of(come_and_go)
