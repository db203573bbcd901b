"""The exit codes of a server's process."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """The exit code of the process. `EXITS` explains each one."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    ADDRESS = 4
    DATA_DIR = 5
    STORE = 6
    MIGRATION = 7
    CUT_SHORT = 8
    INCOMPLETE = 9
    NOT_ALONE = 10
    UNSAVED = 11
    NO_SERVER = 12


EXITS = {
    Exit.OK: "stopped as asked",
    Exit.FAILED: "an unexpected failure; the log tells",
    Exit.USAGE: "the command line is not right",
    Exit.CONFIG: "the configuration is not right",
    Exit.ADDRESS: "an address cannot be listened on",
    Exit.DATA_DIR: "the data directory is in use by another process",
    Exit.STORE: "a store cannot be reached or started",
    Exit.MIGRATION: "the database is not what this version expects",
    Exit.CUT_SHORT: "stopping took longer than server.stop_timeout_s",
    Exit.INCOMPLETE: "a package that the command needs is not installed",
    Exit.NOT_ALONE: "another server works on the same schema, or a node does not go with this one",
    Exit.UNSAVED: "stopped before all was stored or erased, or a store was killed; the log tells",
    Exit.NO_SERVER: "there is no running server with several nodes to ask",
}
