from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_both_processes_greet_the_same_ten_guests() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.two_nodes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = re.fullmatch(
        r"a greets its guests: 10 greetings\n"
        r"b greets the same ones: 20 greetings\n"
        r"(\d+) guests live on a, (\d+) on b\n",
        done.stdout,
    )
    assert said is not None, done.stdout + done.stderr
    on_a, on_b = map(int, said.groups())
    assert on_a + on_b == 10
