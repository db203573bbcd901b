"""Mutated handshakes and frames on a live listener."""

from __future__ import annotations

import random

import pytest
import trio

from protocol import frames
from protocol.codec import MSGPACK
from protocol.errors import SERVER_ERROR
from protocol.messages.session import Ping, SessionOpen
from tests.protocol.live import LONGEST, Raw, live, masked, upgrade


@pytest.mark.parametrize("seed", range(4))
async def test_no_bytes_of_one_client_disturb_another(seed: int) -> None:
    dice = random.Random(seed)
    seeds = [
        masked(frames.BINARY, MSGPACK.encode(Ping(ref=1))),
        masked(frames.BINARY, MSGPACK.encode(SessionOpen(name="ada", ref=1)), fin=False),
        masked(frames.CONT, b"\x91" * 300),
        masked(frames.TEXT, "é".encode() * 40),
        masked(frames.PING, b"ping"),
        masked(frames.CLOSE, b"\x03\xe8bye"),
        masked(frames.BINARY, b"x" * (LONGEST + 1)),
    ]
    async with (
        live(handshake_timeout_s=0.2, close_timeout_s=0.2) as server,
        server.client() as bystander,
    ):
        for turn in range(60):
            stream = bytearray(upgrade() if dice.random() < 0.9 else b"")
            intact = dice.random() < 0.7
            begin = len(stream) if intact else 0
            for _ in range(dice.randrange(1, 6)):
                stream += dice.choice(seeds)
            for _ in range(dice.randrange(0, 6)):
                place = dice.randrange(begin, len(stream))
                if dice.random() < 0.5:
                    stream[place] = dice.randrange(256)
                else:
                    del stream[place : place + dice.randrange(1, 20)]
                begin = min(begin, len(stream) - 1)
            async with await server.socket() as client:
                try:
                    while stream:
                        size = dice.randrange(1, len(stream) + 1)
                        await client.send_all(stream[:size])
                        del stream[:size]
                    await client.send_eof()
                    if dice.random() < 0.5:
                        await Raw(client).rest()
                except trio.BrokenResourceError:
                    pass
            await bystander.pong(turn)
        for handler in server.handlers[1:]:
            await handler.gone.wait()
            assert len(handler.ended) == 1
            assert handler.ended[0][0] is not SERVER_ERROR
        await bystander.pong()
        while server.gateway.statistics().sockets > 1:
            await trio.sleep(0.001)
