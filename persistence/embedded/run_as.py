"""As whom PostgreSQL runs, which refuses root, and whose data root leaves alone."""

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
    """How to run a program as somebody PostgreSQL accepts.

    `owner`: the (uid, gid) that its files must belong to, None for our own; `popen`: arguments for
    `subprocess.Popen`; `wrapper`: what goes before the command.
    """

    owner: tuple[int, int] | None
    popen: dict[str, Any]
    wrapper: list[str]


def choose(binaries: Path, data_dir: Path) -> RunAs:
    """Ourselves if we are an ordinary user; as root `nobody`; else root by another name.

    `nobody` must be able to reach the programs and the data. A virtual environment or a data
    directory under /root is out of its reach; then PostgreSQL runs in a user namespace, where our
    uid bears another number, and files are still ours. The same helps a uid that has no entry in
    the user database (containers), which initdb refuses.
    Raises `EmbeddedStartFailed` if none of that works here.
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
    """Raise `EmbeddedStartFailed` if as root we would meddle with a user's data directory.

    What root makes or hands over to nobody in a user's checkout, the user can neither read nor
    remove. A directory that is still to be made is judged by the folder that it would be made in.

    Arguments:
        data_dir: nothing of it has been touched yet.
        uid: the effective user; only root (0) is asked, everyone else cannot do any harm.
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
    """Make all of `path` belong to `owner`; an earlier start may have had another."""
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
    """Whether the mode bits let anyone pass to `path`, by its real name."""
    try:
        real = path.resolve(strict=True)
        passed = (real, *real.parents)
        return all(one.stat().st_mode & stat.S_IXOTH for one in passed)
    except OSError:
        return False


def _works(wrapper: list[str], popen: dict[str, Any]) -> bool:
    """Whether this environment allows it: containers may forbid either way."""
    try:
        return (
            subprocess.run([*wrapper, "true"], check=False, capture_output=True, **popen).returncode
            == 0
        )
    except (OSError, subprocess.SubprocessError):
        return False
