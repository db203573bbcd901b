"""A process that runs the embedded servers until it is killed: `launcher.py FOLDER [UID]`.

It prints one JSON line with the process ids and URLs of its servers. With UID it becomes that user
first. Everything is imported before that, as the interpreter may be out of that user's reach.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import psycopg

from persistence import StoreError
from persistence.embedded import EmbeddedServers


def main(folder: Path, uid: int | None) -> int:
    # Loads what psycopg imports only when it connects.
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect("host=/nowhere")
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    servers = EmbeddedServers(folder)
    try:
        servers.start()
    except StoreError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)
        return 1
    print(
        json.dumps(
            {"pids": servers.pids, "redis": servers.redis_url, "postgres": servers.postgres_url}
        ),
        flush=True,
    )
    signal.sigwait({signal.SIGTERM})
    servers.stop()
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
