"""A Valkey that keeps its data on disk, and a replica that takes its place."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.persistence.redis.valkeys import PASSWORD, Valkey, until

_SETTINGS: Final = ("appendonly yes", "appendfsync everysec", "repl-diskless-sync-delay 0")


class ValkeyPair:
    """The primary, which is to be reached, and its replica.

    What starts a process is to be called in the main thread, and all that blocks in another one.

    Arguments:
        folder: for their files.

    Attributes:
        primary: which is to be reached.
    """

    def __init__(self, folder: Path) -> None:
        self.primary = Valkey(folder, *_SETTINGS)
        self._replica = Valkey(folder, *_SETTINGS)
        self.follow()

    def url(self, port: int) -> str:
        """Of the primary, behind a port of 127.0.0.1."""
        return f"redis://:{PASSWORD}@127.0.0.1:{port}/0"

    def follow(self) -> None:
        """Have the replica follow the primary. Blocks until it does."""
        self._replica.until_up()
        replica = self._replica.client
        replica.replicaof("127.0.0.1", self.primary.port)
        until(
            lambda: replica.info("replication")["master_link_status"] == "up",
            "the replica follows",
        )

    def lose_what_comes_now(self) -> None:
        """From here on the replica gets nothing of what the primary says that it has. Blocks."""
        replica = self._replica.client
        replica.config_set("masterauth", "a wrong one")
        replica.client_kill_filter(_type="master")
        until(
            lambda: replica.info("replication")["master_link_status"] == "down",
            "the replica has lost its primary",
        )

    def fail_over(self) -> None:
        """Kill the primary; the replica takes its place as it is. Blocks."""
        self.primary.kill()
        self.primary, self._replica = self._replica, self.primary
        self.primary.client.config_set("masterauth", PASSWORD)
        self.primary.client.replicaof("NO", "ONE")

    def revive_replica(self) -> None:
        """Start the old primary again; `follow` makes it the replica."""
        self._replica.revive()

    def end(self) -> None:
        """Kill both."""
        for each in (self.primary, self._replica):
            each.kill()
