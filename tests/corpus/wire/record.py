"""`python -m tests.corpus.wire.record VERSION`: play every scene in both encodings, keep the tapes.

To be run once there are ops or pushes that no recording has: it writes a folder beside the older
ones, which stay as they are, as clients and servers like theirs are out there.

`v1` is what commit 495577338c62 said. To record it again: check that commit out, copy this folder
into its tests/corpus, let `open_house` of its tests/actors/players.py take `games`, `matches` (the
MatchHost's settings) and `seed` (of its matches) as ours does, and correct the imports of
`stage.py` and `recorder.py` (settings and games were in other modules, and Target and Backoff are
Endpoint and ReconnectBackoff now).
"""

from __future__ import annotations

import sys
from typing import Literal

import trio
import trio.testing

from tests.corpus.wire.recorder import Recorder
from tests.corpus.wire.scenes import SCENES
from tests.corpus.wire.stage import stage
from tests.corpus.wire.tape import FOLDER, Tape, write_tape


async def _record(scene: str, encoding: Literal["msgpack", "json"]) -> Tape:
    async with stage() as house:
        recorder = Recorder(house, encoding)
        async with recorder.recording():
            await SCENES[scene](recorder)
    return Tape(scene, encoding, recorder.steps)


def main(version: str) -> int:
    """Record all."""
    folder = FOLDER / f"v{int(version)}"
    folder.mkdir()
    for scene in SCENES:
        for encoding in ("msgpack", "json"):
            clock = trio.testing.MockClock(autojump_threshold=0)
            tape = trio.run(_record, scene, encoding, clock=clock)
            write_tape(folder, tape)
            print(f"{tape.name}: {len(tape.steps)} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
