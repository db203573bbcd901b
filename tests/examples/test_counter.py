from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_counter_example_tells_its_story_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "counter.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "  (a counter starts at 0)",
        "2 + 3 = 5",
        "refused: 5 + 1000 is above 100",
        "and still there: 5",
        "crashed: integer division or modulo by zero",
        "  (a counter starts at 0)",
        "what waited is answered by a new instance: 7",
        "stopped; dead letters: 1",
    ]
    assert done.stderr == ""
