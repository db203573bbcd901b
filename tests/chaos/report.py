"""The report of a chaos run, as text and as files."""

from __future__ import annotations

import statistics

import msgspec

from tests.chaos.checker import Violation


class Memory(msgspec.Struct, frozen=True):
    """Resident memory of the server, MiB."""

    first: float
    """That of the first server, before it had clients."""
    most: float
    """The highest of any server at any time."""
    last: float
    """That of the last server, after its clients had gone."""


class Report(msgspec.Struct):
    """What came of a run."""

    seed: int
    seconds: float
    faults: dict[str, int]
    operations: dict[str, int]
    refusals: dict[str, int]
    closes: dict[str, int]
    logged: dict[str, int]
    recovery_s: list[float]
    """The times from each SIGKILL of the server to the first send acknowledged after it."""
    known_rooms: int
    memory: Memory
    leaks: list[str]
    violations: list[Violation]
    wrong: list[str]
    tracebacks: list[str]

    @property
    def kept(self) -> bool:
        """Whether the server kept its promises."""
        return not (self.violations or self.wrong or self.tracebacks or self.leaks)

    def text(self) -> str:
        """The report for people."""
        lines = [f"seed {self.seed}, {self.seconds:.0f} s"]
        for title, counts in (
            ("faults injected", self.faults),
            ("recorded", self.operations),
            ("sends refused, by code", self.refusals),
            ("connections closed, by code", self.closes),
            ("logged by the servers, by event", self.logged),
        ):
            if counts:
                lines += ["", title]
                lines += [f"  {count:7}  {name}" for name, count in counts.items()]
        if self.recovery_s:
            middle = statistics.median(self.recovery_s)
            lines += [
                "",
                f"from SIGKILL to the first acknowledged send: p50 {middle:.2f} s, "
                f"max {max(self.recovery_s):.2f} s, of {len(self.recovery_s)}, "
                f"with {self.known_rooms} more rooms in the stores",
            ]
        memory = self.memory
        lines += [
            "",
            f"server memory: {memory.first:.0f} MiB before clients, {memory.most:.0f} MiB at most; "
            f"the last server {memory.last:.0f} MiB after they had gone",
            f"leaked by the last server: {'; '.join(self.leaks) or 'nothing'}",
            "",
            f"violations: {len(self.violations) + len(self.wrong)}",
        ]
        lines += [f"  {each.rule}: {each.detail}" for each in self.violations[:50]]
        lines += [f"  {each}" for each in self.wrong[:50]]
        if self.tracebacks:
            lines += ["", "the server said, outside its log:", *self.tracebacks[:20]]
        return "\n".join(lines)
