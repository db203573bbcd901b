"""Two commits: the same benches for both, in turns, in one run.

python -m bench.compare COMMIT                  a commit, and the tree as it is here
python -m bench.compare COMMIT OTHER            two commits
python -m bench.compare COMMIT --only actors    one bench

A machine's speed changes from hour to hour, so figures of two runs say little about two commits.
Here each round measures one commit right after the other, and the next round begins with the other
one. The ratios are those within rounds. Both commits run in this virtual environment.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import msgspec

from bench.child import ROOT
from bench.report import aligned, number

BENCHES: Final[Mapping[str, Sequence[str]]] = {
    "actors": ("--repeat", "3"),
    "rooms": ("--rate", "20000"),
    "echo": ("--rate", "0"),
    "chat": (),
    "matches": (),
    "stores": ("--json",),
}
"""Bench -> its arguments, beside those for its output and the seconds."""
TO_STDOUT: Final = "stores"
"""The bench that writes its JSON to the standard output."""
TO_ITS_OWN_END: Final = "actors"
"""The bench that has no seconds, since it does a given amount of work."""

Figures = Mapping[str, float]
"""What was measured, with its unit -> the figure."""


class Comparison(NamedTuple):
    """A figure of two commits: medians, and the ratios within rounds."""

    what: str
    before: float
    after: float
    ratios: Sequence[float]


def figures_of(bench: str, text: bytes) -> Figures:
    """Return the figures in the JSON of a bench, also of an older version of it."""
    found = msgspec.json.decode(text)
    if bench == "actors":
        return {f"{row['what']}, {row['unit']}": row["ours"] for row in found["rows"]}
    if bench == "stores":
        return {key: value for row in found for key, value in _figures_of_row(row)}
    (outcome,) = found["outcomes"]
    measure = outcome["measures"][outcome["event"]]
    latencies = {f"{name}, ms": measure["latency_ms"][name] for name in ("p50", "p99")}
    return {f"{outcome['event']}, /s": measure["per_s"], "CPU, us": outcome["cpu_us"], **latencies}


def _figures_of_row(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    name = f"{row['what']} by {row['batch']}"
    yield f"{name}, /s", row["per_s"]
    if "cpu_us" in row:
        yield f"{name}, CPU us", row["cpu_us"]


def changes(rounds: Sequence[tuple[Figures, Figures]]) -> list[Comparison]:
    """Return the figures that both commits have, from the figures (before, after) of each round."""
    names = [name for name in rounds[0][0] if all(name in one for pair in rounds for one in pair)]
    return [
        Comparison(
            name,
            median(before[name] for before, _ in rounds),
            median(after[name] for _, after in rounds),
            sorted(after[name] / before[name] for before, after in rounds if before[name]),
        )
        for name in names
    ]


def table(bench: str, found: Sequence[Comparison]) -> str:
    """Return the lines of a bench's table."""
    rows = [(f"bench.{bench}", "before", "after", "after / before", "in rounds")]
    for one in found:
        ratio, least, most = "-", "-", "-"
        if one.ratios:
            ratio = number(median(one.ratios), 3)
            least, most = number(one.ratios[0], 3), number(one.ratios[-1], 3)
        rows.append((one.what, number(one.before), number(one.after), ratio, f"{least} to {most}"))
    return "\n".join(aligned(rows))


def measure(bench: str, tree: Path, seconds: float) -> Figures:
    """Run a bench of a tree. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", f"bench.{bench}", *BENCHES[bench]]
    if bench != TO_ITS_OWN_END:
        command += ["--seconds", str(seconds)]
    with TemporaryDirectory(prefix="greenroom-compare-") as folder:
        file = Path(folder) / "found.json"
        if bench == TO_ITS_OWN_END:
            command += ["--json", str(file)]
        elif bench != TO_STDOUT:
            command += ["--out", folder, "--save", file.stem, "--no-pictures"]
        done = subprocess.run(command, cwd=tree, check=True, stdout=subprocess.PIPE)
        return figures_of(bench, done.stdout if bench == TO_STDOUT else file.read_bytes())


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit; of this tree as it is, if `commit` is empty."""
    if not commit:
        yield ROOT
        return
    with TemporaryDirectory(prefix="greenroom-commit-") as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True)


def main() -> None:
    """Measure both commits, and print a table for each bench."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", metavar="COMMIT", help="the commit to compare with")
    parser.add_argument(
        "after", metavar="OTHER", nargs="?", default="", help="by default this tree"
    )
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=list(BENCHES))
    parser.add_argument("--rounds", type=int, default=5, help="runs of each commit (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run (5)")
    given = parser.parse_args()
    with ExitStack() as stack:
        trees = [stack.enter_context(tree_of(one)) for one in (given.before, given.after)]
        for bench in given.only:
            rounds: list[tuple[Figures, Figures]] = []
            for turn in range(max(1, given.rounds)):
                order = (0, 1) if turn % 2 == 0 else (1, 0)
                found = {place: measure(bench, trees[place], given.seconds) for place in order}
                rounds.append((found[0], found[1]))
            print("\n" + table(bench, changes(rounds)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench.compare: {' '.join(map(str, error.cmd))} ended with {error.returncode}")
    except KeyboardInterrupt:
        sys.exit(130)
