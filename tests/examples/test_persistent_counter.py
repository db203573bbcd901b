from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_counter_whose_process_was_killed_comes_back_with_all_that_it_had_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.persistent_counter"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lives = re.fullmatch(
        r"first life: (\d+) was the last .*\nsecond life: .* came back with (\d+): nothing lost\n",
        done.stdout,
    )
    assert lives is not None, done.stdout
    said, total = map(int, lives.groups())
    assert said >= 100
    assert total in (said, said + 1)
