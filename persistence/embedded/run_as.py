"""Chooses the user that PostgreSQL runs as, since it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from persistence.errors import EmbeddedStartFailed


class RunAs(NamedTuple):
    """How to run a program as a user that PostgreSQL accepts.

    Attributes:
        owner: the (uid, gid) that its files must belong to; None: this process's own.
        popen: arguments for `subprocess.Popen`.
        wrapper: the command that the program's command is given to.
    """

    owner: tuple[int, int] | None
    popen: dict[str, Any]
    wrapper: list[str]


def choose(binaries: Path, data_dir: Path) -> RunAs:
    """Return how to run PostgreSQL.

    - An ordinary user runs it as itself.
    - root runs it as `nobody`, if `nobody` can reach the programs and the data.
    - Otherwise (for instance, if a virtual environment or data directory is under /root), it runs
      in a user namespace, in which this process's uid has another number and files still belong to
      this process. This also helps a uid without an entry in the user database, as in containers,
      which initdb refuses.

    Raises `EmbeddedStartFailed` if none of these works.
    """
    uid = os.geteuid()
    nobody = _nobody()
    if uid != 0 and _known(uid):
        return RunAs(None, {}, [])
    if uid == 0 and nobody is not None:
        needed = (binaries / "postgres", binaries.parent / "share", data_dir)
        owner = (nobody.pw_uid, nobody.pw_gid)
        popen = {"user": owner[0], "group": owner[1], "extra_groups": []}
        if all(_reachable(path) for path in needed) and _works([], popen):
            return RunAs(owner, popen, [])
    unshare = shutil.which("unshare")
    if unshare is not None and nobody is not None:
        wrapper = [
            unshare,
            "--user",
            f"--map-user={nobody.pw_uid}",
            f"--map-group={nobody.pw_gid}",
            "--",
        ]
        if _works(wrapper, {}):
            return RunAs(None if uid else (0, os.getegid()), {}, wrapper)
    if uid != 0:
        raise EmbeddedStartFailed("PostgreSQL", f"uid {uid} has no entry in the user database")
    raise EmbeddedStartFailed(
        "PostgreSQL",
        "it refuses to run as root; user nobody cannot reach"
        f" {binaries} or {data_dir}, and user namespaces are not available:"
        " run Greenroom as an ordinary user, or set [postgres] url",
    )


def refuse_foreign(data_dir: Path, *, uid: int) -> None:
    """Raise `EmbeddedStartFailed` if this process is root and the data directory is another user's.

    The user could neither read nor remove what root makes there, or gives to `nobody`. If the
    directory does not exist yet, the folder in which it would be made counts.

    Arguments:
        data_dir: the data directory, before anything in it is changed.
        uid: the effective user. Only root (0) is checked.
    """
    if uid != 0:
        return
    existing = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    nobody = _nobody()
    owner = existing.stat().st_uid
    if owner == 0 or (nobody is not None and owner == nobody.pw_uid):
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"uid {owner}"
    raise EmbeddedStartFailed(
        "stores",
        f"{existing} belongs to {name}, who could no longer use what root leaves in it:"
        f" run Greenroom as {name}, or set [server] data_dir to a folder of root's",
    )


def hand_over(path: Path, owner: tuple[int, int] | None) -> None:
    """Make all of `path` belong to `owner`, since an earlier start may have had another owner."""
    if owner is None or path.lstat().st_uid == owner[0]:
        return
    for folder, _, files in os.walk(path):
        for name in ("", *files):
            os.chown(Path(folder, name), *owner, follow_symlinks=False)


def _nobody() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
        return others[0] if others else None


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _reachable(path: Path) -> bool:
    """Return whether the mode bits of `path`, and of all folders above it, let any user pass."""
    try:
        real = path.resolve(strict=True)
        passed = (real, *real.parents)
        return all(one.stat().st_mode & stat.S_IXOTH for one in passed)
    except OSError:
        return False


def _works(wrapper: list[str], popen: dict[str, Any]) -> bool:
    """Return whether a program can be run like this. Containers may forbid it."""
    try:
        return (
            subprocess.run([*wrapper, "true"], check=False, capture_output=True, **popen).returncode
            == 0
        )
    except (OSError, subprocess.SubprocessError):
        return False
