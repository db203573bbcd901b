"""A cluster that has all kinds of bad luck: no two nodes ever believe that they hold one slot.

The members are the real ones. Time, clocks, links and stores are the machine's.

Few large worlds are tried, and many small ones that have settled before their first blow: rules
that only matter after a fault at the right moment are found there. With this file,
`pytest --hypothesis-profile deep` tries 25 times as many of both.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actors.cluster.rules import slots as slot_rules
from actors.cluster.rules.answers import Beaten, Ended, Event, Moved, Taken
from actors.cluster.rules.applicant import Applicant
from actors.cluster.rules.lease import Timing
from actors.cluster.rules.member import Change, Member
from actors.cluster.rules.slot_table import Held
from actors.cluster.rules.view import Descriptor
from tests.actors.cluster.rules.modelled_stores import Away, ModelledRegister, ModelledValkey

TIMING = Timing(10.0)
FAULTS = [
    # link to Valkey, link to the register, frozen
    ("cut", "up", False),
    ("deaf", "up", False),
    ("up", "cut", False),
    ("up", "deaf", False),
    ("cut", "cut", False),
    ("deaf", "cut", False),
    ("only beats", "up", False),  # its claims are lost
    ("only beats", "cut", False),
    ("slow", "up", False),  # the answer to each heartbeat comes some beats later
    ("slow", "cut", False),
    ("up", "up", True),
    ("up", "up", True),
]
SLOW_S = 4 * TIMING.beat_s
BITS = 3
SLOTS = 1 << BITS
NAMES = ("a", "b", "c", "d")
MOST = 100
LATE = st.lists(st.floats(0.0, TIMING.lease_s / 2), min_size=5, max_size=5)
"""By how many seconds each node finds Valkey later than it could, when it is back."""


@pytest.fixture(autouse=True)
def few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_rules, "_BITS", BITS)
    monkeypatch.setattr(slot_rules, "SLOTS", SLOTS)


def void(_: object) -> None:
    """Drop the result of a request, as if its answer were lost."""


class Process:
    """A node's process. It runs its member as `NodeMembership` does, over links that may be cut."""

    def __init__(self, world: World, name: str, ahead_s: float) -> None:
        self.world = world
        self.name = name
        self.ahead_s = ahead_s
        self.frozen = False
        self.valkey = self.register = "up"  # or: cut, slow, deaf (does what it is asked, unheard)
        self.awaited: tuple[float, Callable[[], None]] | None = None  # an answer that is slow
        self.member: Member | None = None
        self.epochs: dict[int, int] = {}  # of the actors that run here, one for each slot
        self.late: list[Callable[[], None]] = []
        self.reported_s = -1e9
        self.finds_valkey_s = -math.inf  # by the world's time: its way to the new primary
        self.beats = 0
        self.every = 1  # of the beats that are due it has time for each first, second or third
        self.leaving = self.has_ended = False
        self.applicant = Applicant(TIMING)

    @property
    def now_s(self) -> float:
        return self.world.now_s + self.ahead_s

    # --- links -----------------------------------------------------------------------------------

    def to_valkey(self, call: Callable[[], Any]) -> Any:
        there = self.world.valkey_is_up and self.world.now_s >= self.finds_valkey_s
        return self._over(self.valkey if there else "cut", call)

    def to_register(self, call: Callable[[], Any]) -> Any:
        return self._over(self.register if self.world.register_is_up else "cut", call)

    def _over(self, link: str, call: Callable[[], Any]) -> Any:
        if link == "cut":
            raise Away
        found = call()
        if link == "deaf":
            raise Away
        return found

    # --- what the shell does ---------------------------------------------------------------------

    def join(self) -> None:
        world = self.world
        asked_s = self.now_s
        held_by = self.to_register(lambda: world.register.of_name(self.name))
        watched = () if held_by is None else (held_by,)
        answer: Beaten = self.to_valkey(lambda: world.valkey.beat("", 0, watched))
        if not answer.generation:
            self._begin()
        elif held_by is not None:
            if self.applicant.may_bury(self.now_s, answer):
                self._bury(held_by, "")
        else:
            descriptor = Descriptor(name=self.name)
            me = self.to_register(lambda: world.register.admit(descriptor, answer.generation))
            member = Member(me, TIMING, asked_s, answer.generation)
            self.to_valkey(lambda: world.valkey.beat(me, 0, ()))
            self.member = member
            self.heard(member.viewed(asked_s, self.to_register(world.register.view)))

    def _begin(self) -> None:
        generation = self.to_register(self.world.register.next_generation)
        self.to_valkey(lambda: self.world.valkey.begin(generation))

    def tick(self) -> None:
        self.beats += 1
        if self.frozen or self.beats % self.every:
            return
        try:
            if self.member is None:
                self.join()
                return
            doubtful = self.member.lease.doubtful(self.now_s)
            if self.now_s - self.reported_s >= TIMING.report_s / (2 if doubtful else 1) - 0.01:
                self.report()
            self.beat()
            self.act()
        except Away:
            pass

    def report(self, *, late: bool = False) -> None:
        member = self.alive()
        if member is None:
            return
        asked_s = self.reported_s = self.now_s
        age_s = asked_s - member.contact.answered_s
        doubtful, witness = member.lease.doubtful(asked_s), member.witness(asked_s)
        generation = member.generation

        def call() -> None:
            with contextlib.suppress(Away):
                answer = self.to_register(
                    lambda: self.world.register.report(
                        member.me, generation, age_s, doubtful=doubtful, witness=witness
                    )
                )
                if not self.frozen:
                    self.heard(member.reported(asked_s, self.now_s, answer))

        if late:
            self.late.append(call)
        else:
            call()

    def beat(self) -> None:
        member = self.alive()
        if member is None:
            return
        if self.awaited is not None:
            due_s, arrive = self.awaited
            if self.now_s >= due_s:  # it comes also if the link is cut meanwhile
                self.awaited = None
                arrive()
            return  # one question at a time
        asked_s = self.now_s
        answer = self.to_valkey(
            lambda: self.world.valkey.beat(member.me, member.heard, member.watched())
        )

        def hear() -> None:
            self.heard(member.beaten(asked_s, self.now_s, answer))
            if not answer.generation:
                self._begin()

        if self.valkey == "slow":
            self.awaited = asked_s + SLOW_S, hear
        else:
            hear()

    def beat_late(self, *, heard_late: bool) -> None:
        """The answer comes late, or the request arrives late already."""
        member = self.alive()
        if member is None:
            return
        asked_s, since, watched = self.now_s, member.heard, member.watched()
        if heard_late:
            answer = self.to_valkey(lambda: self.world.valkey.beat(member.me, since, watched))
            self.late.append(
                lambda: (
                    self.heard(member.beaten(asked_s, self.now_s, answer))
                    if not self.frozen
                    else None
                )
            )
        else:
            self.late.append(
                lambda: (
                    self.heard(
                        member.beaten(
                            asked_s, self.now_s, self.world.valkey.beat(member.me, since, watched)
                        )
                    )
                    if not self.frozen
                    else None
                )
            )

    def act(self) -> None:
        member = self.alive()
        if member is None:
            return
        if self.world.hand_overs_first:  # it is another task, which may run first
            self.give(member)
        if member.wants_view(self.now_s):
            asked_s = self.now_s
            self.heard(member.viewed(asked_s, self.to_register(self.world.register.view)))
        for node in member.to_bury(self.now_s):
            self._bury(node, member.me)
        self.change(member.to_claim(self.now_s, MOST), member.me)
        self.give(member)
        if self.leaving and not member.table.mine:
            self._leave(member)

    def give(self, member: Member) -> None:
        for to, changes in member.to_give(MOST).items():
            for slot, _ in changes:
                self.epochs.pop(slot, None)
                member.giving[slot] = to
        for slot, to in list(member.giving.items()):
            self.change([Change(slot, member.table.epoch(slot))], to)

    def _bury(self, node: str, by: str) -> None:
        version = self.to_register(lambda: self.world.register.bury(node, by))
        if version is not None:
            self.to_valkey(lambda: self.world.valkey.announce(version, node))

    def change(self, changes: list[Change], to: str | None, *, late: bool = False) -> None:
        member = self.alive()
        if member is None or not changes:
            return
        generation, view = member.contact.generation, member.view.version

        def call() -> None:
            if self.valkey == "only beats":
                raise Away
            held = self.to_valkey(lambda: self.world.valkey.change(generation, changes, to, view))
            self.world.note_given(self, held)
            if not self.frozen:
                self.world.tell(self, held, view)
                self.heard(member.check(self.now_s))
                self.heard(member.learn(held))

        if late:
            self.late.append(call)
        else:
            call()

    def be_told(self, held: list[Held], view: int) -> None:
        """Hear from another node which slots it has changed."""
        member = None if self.frozen else self.alive()
        if member is not None:
            self.heard(member.told(held, view))

    def leave(self) -> None:
        member = self.alive()
        if member is None or self.leaving:
            return
        version = self.to_register(lambda: self.world.register.mark_leaving(member.me))
        self.leaving = True
        with contextlib.suppress(Away):  # the others hear of it by their reports
            self.to_valkey(lambda: self.world.valkey.announce(version))
        asked_s = self.now_s
        self.heard(member.viewed(asked_s, self.to_register(self.world.register.view)))

    def _leave(self, member: Member) -> None:
        version = self.to_register(lambda: self.world.register.leave(member.me))
        self.heard(member.end("it has left"))
        self.to_valkey(lambda: self.world.valkey.announce(version, member.me))

    def alive(self) -> Member | None:
        """The check that comes first, whatever woke the node."""
        member = self.member
        if member is None:
            return None
        self.heard(member.check(self.now_s))
        return member if member.ended is None else None

    def heard(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Ended():
                    assert not self.has_ended, "whatever comes late to a member that has ended"
                    self.has_ended = True
                    self.epochs.clear()
                case Moved(moved):
                    for slot in moved:
                        self.epochs.pop(slot, None)
                case Taken():
                    pass
        self.world.judge()

    def heal(self) -> None:
        self.valkey = self.register = "up"
        self.frozen = False
        self.alive()

    # --- the actor of a slot ---------------------------------------------------------------------

    def append(self, slot: int, *, late: bool) -> None:
        member = self.alive()
        if member is None or not member.holds(slot):
            return
        register = self.world.register
        if slot not in self.epochs:
            self.epochs[slot] = self.to_register(lambda: register.activate(slot))
        epoch, seq = self.epochs[slot], len(register.logs.get(slot, ())) + 1
        if late:
            self.late.append(lambda: void(register.append(slot, epoch, seq)))
        elif not self.to_register(lambda: register.append(slot, epoch, seq)):
            del self.epochs[slot]  # fenced: an actor of its starts anew

    def believes(self, slot: int) -> bool:
        """Whether it would act for a slot now. One that is frozen may go on at any moment."""
        member = self.member
        return (
            member is not None
            and member.ended is None
            and member.lease.holds(self.now_s)
            and (self.now_s < member.check_at_s or slot not in member.stale)
            and member.holds(slot)
        )


class World(RuleBasedStateMachine):
    """A cluster of up to four nodes, and everything that can go wrong around it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.valkey = ModelledValkey(TIMING)
        self.register = ModelledRegister(TIMING)
        self.valkey_is_up = self.register_is_up = True
        self.processes: list[Process] = []
        self.bus = "up"  # or: late, cut
        self.hand_overs_first = False
        self.given_away: set[tuple[int, str]] = set()  # slots, by nodes that leave
        self.believed: dict[int, tuple[Process, float]] = {}  # with the time
        self.least_gap_s = 2 * TIMING.lease_s  # between two holders of one slot

    @initialize(
        clocks=st.lists(st.floats(-3600, 3600), min_size=5, max_size=5),
        nodes=st.integers(1, 3),
        hand_overs_first=st.booleans(),
    )
    def begin(self, clocks: list[float], nodes: int, hand_overs_first: bool) -> None:
        self.hand_overs_first = hand_overs_first
        self.valkey.now_s, self.register.now_s = clocks[:2]
        for name, ahead_s in zip(NAMES[:nodes], clocks[2:], strict=False):
            self.processes.append(Process(self, name, ahead_s))
        self.run(15)

    # --- time ------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.valkey.now_s += seconds
        self.register.now_s += seconds
        self.judge()

    @rule(beats=st.integers(1, 30))
    def run(self, beats: int) -> None:
        for _ in range(beats):
            self.pass_time(TIMING.beat_s)
            for process in self.processes:
                process.tick()

    @rule(seconds=st.floats(0.0, 3.0))
    def nothing_runs(self, seconds: float) -> None:
        """Time passes while no process runs, as on a busy machine."""
        self.pass_time(seconds)

    # --- nodes come and go -----------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), ahead_s=st.floats(-3600, 3600))
    def start(self, name: str, ahead_s: float) -> None:
        """A second one of a name waits until the first is dead."""
        if len(self.processes) < 5:
            self.processes.append(Process(self, name, ahead_s))

    def some(self, data: Any) -> Process | None:
        return data.draw(st.sampled_from(self.processes)) if self.processes else None

    @rule(
        data=st.data(),
        how=st.sampled_from(["dies", "leaves"]),
        settled=st.booleans(),
        beats=st.integers(0, 3),
    )
    def go(self, data: Any, how: str, settled: bool, beats: int) -> None:
        if settled:
            self.run(20)
        process = self.some(data)
        if process is not None and how == "dies":
            self.processes.remove(process)
        elif process is not None and not process.frozen:
            self.attempt(process.leave)
        self.run(beats)

    # --- links and stores ------------------------------------------------------------------------

    @rule(
        data=st.data(),
        faults=st.lists(
            st.tuples(st.sampled_from(FAULTS), st.integers(0, 25)), min_size=1, max_size=3
        ),
    )
    def fault(self, data: Any, faults: list[tuple[tuple[str, str, bool], int]]) -> None:
        """One after the other, since what one leaves behind is where the next one does harm."""
        process = self.some(data)
        if process is not None:
            for fault, beats in faults:
                process.valkey, process.register, process.frozen = fault
                self.run(beats)

    @rule(data=st.data())
    def heal(self, data: Any) -> None:
        if (process := self.some(data)) is not None:
            process.heal()

    @rule(away=st.sampled_from(["", "", "", "valkey", "register", "valkey register"]))
    def stores(self, away: str) -> None:
        self.valkey_is_up, self.register_is_up = "valkey" not in away, "register" not in away

    @rule(
        how=st.sampled_from(["flush", "fail over", "fail over", "clock"]),
        lost_beats=st.integers(0, 3),
        away_beats=st.sampled_from([0, 0, 5, 15]),
        late=LATE,
        seconds=st.floats(-20.0, 20.0),
        beats=st.integers(0, 25),
    )
    def trouble_of_valkey(
        self,
        how: str,
        lost_beats: int,
        away_beats: int,
        late: list[float],
        seconds: float,
        beats: int,
    ) -> None:
        match how:
            case "flush":
                self.valkey.flush()
            case "fail over":
                self.fail_over(lost_beats, away_beats, late)
            case "clock":
                self.valkey.now_s += seconds
        self.run(beats)

    def fail_over(self, lost_beats: int, away_beats: int, late: Iterable[float]) -> None:
        """Valkey is away, and comes back without its last second. Not all find it at once.

        `late`: by how many seconds each node is late.
        """
        self.valkey.save()
        self.run(lost_beats)
        self.valkey_is_up = False
        self.run(away_beats)
        self.valkey.fail_over()
        self.valkey_is_up = True
        for process, late_s in zip(self.processes, late, strict=False):
            process.finds_valkey_s = self.now_s + late_s

    # --- what nodes tell each other ---------------------------------------------------------------

    @rule(bus=st.sampled_from(["up", "up", "late", "cut"]))
    def trouble_of_the_bus(self, bus: str) -> None:
        self.bus = bus

    def tell(self, teller: Process, held: list[Held], view: int) -> None:
        for process in self.processes:
            if process is teller or self.bus == "cut":
                continue
            if self.bus == "late":
                process.late.append(partial(process.be_told, held, view))
            else:
                process.be_told(held, view)

    def note_given(self, giver: Process, held: list[Held]) -> None:
        """What a node gives away since it leaves is never given back to it."""
        for slot, _, to in held:
            assert (slot, to) not in self.given_away, (slot, to)
            if giver.leaving and giver.member is not None and to != giver.member.me:
                self.given_away.add((slot, giver.member.me))

    # --- late messages ---------------------------------------------------------------------------

    @rule(data=st.data(), heard_late=st.booleans())
    def beat_late(self, data: Any, heard_late: bool) -> None:
        if (process := self.some(data)) is not None and not process.frozen:
            self.attempt(lambda: process.beat_late(heard_late=heard_late))

    @rule(data=st.data())
    def report_late(self, data: Any) -> None:
        if (process := self.some(data)) is not None and not process.frozen:
            process.report(late=True)

    @rule(data=st.data())
    def claim_late(self, data: Any) -> None:
        process = self.some(data)
        if process is not None and not process.frozen and (member := process.alive()) is not None:
            process.change(member.to_claim(process.now_s, MOST), member.me, late=True)

    @rule(data=st.data())
    def deliver(self, data: Any) -> None:
        if (process := self.some(data)) is not None:
            late, process.late = process.late, []
            for call in late:
                self.attempt(call)

    @rule(data=st.data(), slot=st.integers(0, SLOTS - 1), late=st.booleans())
    def append(self, data: Any, slot: int, late: bool) -> None:
        if (process := self.some(data)) is not None and not process.frozen:
            self.attempt(lambda: process.append(slot, late=late))

    @staticmethod
    def attempt(call: Callable[[], Any]) -> None:
        with contextlib.suppress(Away):
            call()

    # --- blows to small worlds -------------------------------------------------------------------

    def strikes(self, what: str, seconds: float) -> None:
        """What befalls the stores, or all."""
        match what:
            case "flush":
                self.valkey.flush()
            case "fail over":
                self.fail_over(int(seconds) % 4, int(seconds) // 4 * 5, [seconds / 3, 0.0, seconds])
            case "clock":
                self.valkey.now_s += 3 * (seconds - 6.0)
            case "valkey away":
                self.valkey_is_up = False
            case "register away":
                self.register_is_up = False
            case "stores back":
                self.valkey_is_up = self.register_is_up = True
            case "start":
                self.start(NAMES[int(seconds) % len(NAMES)], 0.0)
            case "nothing runs":
                self.pass_time(seconds)

    def strikes_one(self, process: Process, blow: Blow) -> None:
        """What befalls one node."""
        match blow.what:
            case "fault":
                process.valkey, process.register, process.frozen = blow.fault
            case "freeze":
                process.frozen = True
            case "heal":
                process.heal()
            case "dies":  # nobody can tell that from a freeze
                process.frozen = True
            case _ if process.frozen:
                return
            case "leaves":
                self.attempt(process.leave)
            case "beat late" | "beat heard late":
                self.attempt(lambda: process.beat_late(heard_late="heard" in blow.what))
            case "report late":
                process.report(late=True)
            case "claim late" if (member := process.alive()) is not None:
                process.change(member.to_claim(process.now_s, MOST), member.me, late=True)
            case "append late":
                self.attempt(lambda: process.append(int(blow.seconds) % SLOTS, late=True))
            case "deliver":
                late, process.late = process.late, []
                for call in late:
                    self.attempt(call)

    # --- what must be true -----------------------------------------------------------------------

    def judge(self) -> None:
        for slot in range(SLOTS):
            owners = [process for process in self.processes if process.believes(slot)]
            assert len(owners) <= 1, (slot, [process.member.me for process in owners])  # type: ignore[union-attr]
            for owner in owners:
                before, until_s = self.believed.get(slot, (owner, self.now_s))
                if before is not owner:
                    self.least_gap_s = min(self.least_gap_s, self.now_s - until_s)
                self.believed[slot] = (owner, self.now_s)

    @invariant()
    def every_log_has_one_writer_at_a_time(self) -> None:
        for log in self.register.logs.values():
            assert log == sorted(log)

    @precondition(lambda self: self.processes)
    @rule()
    def all_is_well_again(self) -> None:
        """Without faults each slot is soon where it should be."""
        self.valkey_is_up = self.register_is_up = True
        for process in self.processes:
            process.heal()
        self.run(50)
        self.processes = [one for one in self.processes if one.member and not one.member.ended]
        members = [one.member for one in self.processes if one.member is not None]
        if members:  # otherwise nobody could bury the last one
            assert {member.me for member in members} == self.register.living().keys()
        for slot in range(SLOTS) if members else ():
            wanted = members[0].placement.desired(slot)
            assert {member.placement.desired(slot) for member in members} == {wanted}
            assert {member.table.holder(slot) for member in members} == {wanted}
            assert [one.member.me for one in self.processes if one.believes(slot)] == [wanted]  # type: ignore[union-attr]

    def teardown(self) -> None:
        if self.processes:
            self.all_is_well_again()


def test_no_two_nodes_ever_believe_that_they_hold_one_slot() -> None:
    run_state_machine_as_test(
        World,
        settings=settings(max_examples=settings().max_examples // 4, stateful_step_count=30),
    )


class Blow(NamedTuple):
    """One thing that befalls a settled cluster, and how many beats pass before the next one."""

    what: str
    victim: int
    fault: tuple[str, str, bool]
    seconds: float
    beats: int


BLOWS = [
    "fault", "fault", "fault", "heal", "flush", "fail over", "fail over", "clock", "freeze",
    "valkey away", "register away", "stores back", "start", "dies", "leaves", "nothing runs",
    "beat late", "beat heard late", "report late", "claim late", "deliver", "append late",
]  # fmt: skip
PAUSES = st.sampled_from([0, 1, 2, 4, 8, TIMING.beats + 2, 2 * TIMING.beats + 2, 3 * TIMING.beats])
"""Most of what a rule forbids happens within a beat, or just after a lease."""


def strike(world: World, blow: Blow) -> None:
    """Let it happen, as the rules of `World` do."""
    world.strikes(blow.what, blow.seconds)
    if world.processes:
        process = world.processes[blow.victim % len(world.processes)]
        world.strikes_one(process, blow)
    world.run(blow.beats)


@given(
    nodes=st.integers(2, 3),
    hand_overs_first=st.booleans(),
    clocks=st.lists(st.sampled_from([-3600.0, 0.0, 5.0]), min_size=5, max_size=5),
    blows=st.lists(
        st.builds(
            Blow,
            what=st.sampled_from(BLOWS),
            victim=st.integers(0, 2),
            fault=st.sampled_from(FAULTS),
            seconds=st.floats(0.0, 12.0),
            beats=PAUSES,
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_a_few_blows_in_a_row_never_make_two_holders_of_a_slot(
    nodes: int, hand_overs_first: bool, clocks: list[float], blows: list[Blow]
) -> None:
    """Small worlds that have settled before the first blow, so that each of them counts.

    The search goes towards blows by which a slot is taken soon after it was let go.
    """
    world = World()
    world.hand_overs_first = hand_overs_first
    world.valkey.now_s, world.register.now_s = clocks[:2]
    world.processes += [
        Process(world, name, ahead_s)
        for name, ahead_s in zip(NAMES[:nodes], clocks[2:], strict=False)
    ]
    world.run(2 * TIMING.beats + 5)
    for blow in blows:
        strike(world, blow)
        world.every_log_has_one_writer_at_a_time()
    target(-world.least_gap_s, label="a slot taken soon after it was let go")
    world.teardown()


@given(
    nodes=st.integers(2, 4),
    hand_overs_first=st.booleans(),
    every=st.lists(st.integers(1, 3), min_size=4, max_size=4),
    phase=st.integers(0, 5),
    lost_beats=st.integers(0, 3),
    away_beats=st.integers(TIMING.beats // 2, 2 * TIMING.beats),
    late=LATE,
)
@settings(max_examples=50, deadline=None)
def test_while_valkey_fails_over_no_node_ends_and_nothing_moves(
    *,
    nodes: int,
    hand_overs_first: bool,
    every: list[int],
    phase: int,
    lost_beats: int,
    away_beats: int,
    late: list[float],
) -> None:
    """It is away for half a lease to two, and the nodes are busy: each is late by its own."""
    world = World()
    world.hand_overs_first = hand_overs_first
    world.processes += [Process(world, name, 0.0) for name in NAMES[:nodes]]
    world.run(30)
    assert len(world.register.living()) == nodes
    for process, one in zip(world.processes, every, strict=False):
        process.every = one
    world.run(15 + phase)
    before = [(one.member, set(one.member.table.mine)) for one in world.processes if one.member]
    world.fail_over(lost_beats, away_beats, late)
    world.run(4 * TIMING.beats)
    for member, held in before:
        assert (member.ended, member.table.mine) == (None, held)
