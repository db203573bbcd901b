"""`python -m tests.corpus.write`: write the next version of the corpus, from fixed seeds.

To be run, and its folder to be committed, whenever a persistent actor's events, snapshots or
`schema_version` have changed. Older versions stay as they are: data like theirs is out there.
"""

from __future__ import annotations

import sys

from actors.runtime.testing import run
from tests.corpus.entries import Manifest, versions, write_version
from tests.corpus.readings import told_by
from tests.corpus.scenes import play
from tests.corpus.shapes import actors


async def write() -> None:
    """Play, and keep what was stored and what comes of it."""
    entries = await play()
    told = {name: await told_by(entry) for name, entry in entries.items()}
    version = max(versions(), default=0) + 1
    folder = write_version(Manifest(version, actors(entries.values()), told), entries)
    print(f"{folder}: {len(entries)} entries")


if __name__ == "__main__":
    sys.exit(run(write))
