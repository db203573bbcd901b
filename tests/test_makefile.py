"""`make` on machines that are not quite ready for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.server_process import ROOT

# What Debian's Python does without python3-venv: half of it, and then a hint.
WITHOUT_VENV = f"""#!/bin/sh
case "$*" in
    *venv*)
        {sys.executable} -m venv --without-pip "$4"
        echo 'apt install python3-venv' >&2
        exit 1 ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


def make_pip(venv: Path, python: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", f"VENV={venv}", f"PYTHON={python}", f"{venv}/bin/pip"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_run_says_that_it_installs_before_it_does(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    dry = ["make", "--dry-run", f"VENV={venv}", "run"]
    lines = subprocess.check_output(dry, cwd=ROOT, text=True).splitlines()
    says = next(n for n, line in enumerate(lines) if "a minute or two" in line)
    installs = next(n for n, line in enumerate(lines) if " -m venv " in line)
    assert says < installs


def test_a_half_made_environment_is_removed_and_made_once_it_can_be(tmp_path: Path) -> None:
    venv, python = tmp_path / "venv", tmp_path / "python3"
    python.write_text(WITHOUT_VENV, "utf-8")
    python.chmod(0o755)
    done = make_pip(venv, python)
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert not venv.exists()
    # One that was left behind otherwise, by a Ctrl-C or by an older Makefile.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    assert make_pip(venv, sys.executable).returncode == 0
    pip = subprocess.run([venv / "bin" / "python", "-m", "pip", "--version"], check=False)
    assert pip.returncode == 0
