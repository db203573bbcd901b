"""A room's log and the resume of its clients, as a state machine that is compared with a model.

The model knows every message that was ever said by an id of its own, which of them are durable, and
what each client shows on its screen. The room crashes and loses what was not durable. Clients come,
break off, and come back. Whatever happens, a client that is connected shows exactly the room's log
from some point on: nothing is missing, nothing comes twice, and nothing stays that a crash took
back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.chat.rules.room_log import LoggedPost, LogState, Posted, RoomLog

RECENT = 3
KEYS = 4
REPLAY_LAST = 6
NO_BOUND = 1 << 20


def posted(body: str, *, user: str = "ada", key: str | None = None) -> Posted:
    return Posted(user=user, name=user, body=body, at=len(body), key=key)


@dataclass
class Client:
    """What one client shows: the messages after `base`, and the position that it resumes from."""

    epoch: int
    offset: int
    base: int
    shown: list[str] = field(default_factory=list)
    connected: bool = True


class RoomOverCrashes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.log = RoomLog(RECENT, KEYS)
        self.epoch = 0
        self.durable: list[tuple[int, Posted]] = []
        self.tail: list[tuple[int, Posted]] = []
        self.snapshot: tuple[bytes, int] | None = None
        # the epoch of this offset is not known, because a replay began right after it
        self.unread = 0
        self.clients: list[Client] = []
        self.said = 0
        self.keyed: list[tuple[str, int]] = []  # keys in the order they were used, with offsets

    @property
    def truth(self) -> list[tuple[int, Posted]]:
        return self.durable + self.tail

    @initialize()
    def begin(self) -> None:
        self.start(use_snapshot=False)

    def start(self, *, use_snapshot: bool) -> None:
        self.epoch += 1
        self.log = RoomLog(RECENT, KEYS)
        first = max(0, len(self.durable) - REPLAY_LAST)
        if use_snapshot and self.snapshot is not None:
            state, self.unread = self.snapshot
            self.log.restore(msgspec.msgpack.decode(state, type=LogState))
            first = self.log.offset
        else:
            self.unread = first
        for seq in range(first, len(self.durable)):
            epoch, event = self.durable[seq]
            self.log.append(seq + 1, epoch, event)
        self.log.epoch = self.epoch

    @rule(key=st.sampled_from("abcdef"))
    def send_with_a_key(self, key: str) -> None:
        self.send(key)

    def send(self, key: str | None) -> None:
        earlier = self.log.earlier("ada", key) if key is not None else None
        if earlier is not None:
            assert self.truth[earlier[0] - 1][1].key == key
            return
        self.said += 1
        event = posted(f"message {self.said}", key=key)
        offset = self.log.offset + 1
        self.log.append(offset, self.epoch, event)
        self.tail.append((self.epoch, event))
        if key is not None:
            self.keyed.append((key, offset))
        for client in self.clients:
            if client.connected:
                client.shown.append(event.body)
                client.offset = offset

    @rule(count=st.integers(2, 4))
    def send_several(self, count: int) -> None:
        for _ in range(count):
            self.send(None)

    @rule(count=st.integers(1, 5))
    def commit(self, count: int) -> None:
        self.durable += self.tail[:count]
        del self.tail[:count]

    @precondition(lambda self: not self.tail)
    @rule()
    def take_a_snapshot(self) -> None:
        self.snapshot = (msgspec.msgpack.encode(self.log.dump()), self.unread)

    def lose_the_tail(self) -> None:
        self.tail.clear()
        self.keyed = [(key, offset) for key, offset in self.keyed if offset <= len(self.durable)]

    @rule(use_snapshot=st.booleans())
    def the_room_crashes(self, use_snapshot: bool) -> None:
        before = self.epoch
        self.lose_the_tail()
        self.start(use_snapshot=use_snapshot)
        self.tell_of_restart(before)

    @rule(count=st.integers(1, RECENT + 2), others=st.integers(1, 2), use_snapshot=st.booleans())
    def the_room_was_written_elsewhere_meanwhile(
        self, count: int, others: int, use_snapshot: bool
    ) -> None:
        before = self.epoch
        self.lose_the_tail()  # it was refused
        for _ in range(others):
            self.epoch += 1
            for _ in range(count):
                self.said += 1
                self.durable.append((self.epoch, posted(f"message {self.said}")))
        self.start(use_snapshot=use_snapshot)
        self.tell_of_restart(before)

    def tell_of_restart(self, before: int) -> None:
        agreed = self.log.agreed(before)
        missed = None if agreed is None else self.log.since(before, agreed, NO_BOUND)
        for client in self.clients:
            if not client.connected:
                continue
            if agreed is None or missed is None:  # it gets room.recovered, and starts anew
                self.show_the_present(client)
                continue
            # It gets room.restarted, drops what is gone, and is pushed what came instead.
            del client.shown[max(0, agreed - client.base) :]
            client.base = min(client.base, agreed)
            client.shown += [entry.posted.body for entry in missed]
            client.epoch, client.offset = self.epoch, self.log.offset

    @rule(use_snapshot=st.booleans())
    def the_process_dies(self, use_snapshot: bool) -> None:
        self.lose_the_tail()
        for client in self.clients:
            client.connected = False
        self.start(use_snapshot=use_snapshot)

    @rule()
    def the_room_is_away_and_back_while_nobody_is_there(self) -> None:
        if any(client.connected for client in self.clients):
            return
        self.commit(len(self.tail))
        self.take_a_snapshot()
        self.start(use_snapshot=True)

    def show_the_present(self, client: Client) -> None:
        entries = self.log.last(4, NO_BOUND)
        client.epoch, client.offset = self.epoch, self.log.offset
        client.shown = [entry.posted.body for entry in entries]
        client.base = self.log.offset - len(entries)
        client.connected = True

    @precondition(lambda self: len(self.clients) < 4)
    @rule()
    def join(self) -> None:
        client = Client(self.epoch, 0, 0)
        self.show_the_present(client)
        self.clients.append(client)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def break_off(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.clients)).connected = False

    @precondition(lambda self: any(not client.connected for client in self.clients))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        away = [client for client in self.clients if not client.connected]
        self.resume_one(data.draw(st.sampled_from(away)))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), count=st.integers(1, RECENT + 2))
    def miss_some(self, data: st.DataObject, count: int) -> None:
        client = data.draw(st.sampled_from(self.clients))
        client.connected = False
        for _ in range(count):
            self.send(None)
        self.resume_one(client)

    def resume_one(self, client: Client) -> None:
        position_is_true = client.shown == self.bodies(client.base, client.offset)
        missed = self.log.since(client.epoch, client.offset, NO_BOUND)
        if missed is None:
            held = client.offset >= self.log.held_after and client.offset != self.unread
            assert not (position_is_true and held) or client.offset == 0, (
                "what memory held of a true position was not given"
            )
            self.show_the_present(client)
            return
        assert position_is_true
        client.shown += [entry.posted.body for entry in missed]
        client.epoch, client.offset = self.epoch, self.log.offset
        client.connected = True

    def bodies(self, after: int, end: int) -> list[str]:
        return [event.body for _, event in self.truth[after:end]]

    @invariant()
    def a_connected_client_shows_the_log_without_gap_or_double(self) -> None:
        for client in self.clients:
            if client.connected:
                assert client.offset == self.log.offset == len(self.truth)
                assert client.shown == self.bodies(client.base, client.offset)

    @invariant()
    def the_last_keys_are_remembered_and_lost_ones_are_not(self) -> None:
        for key in "abcdef":
            used = [offset for known, offset in self.keyed if known == key]
            earlier = self.log.earlier("ada", key)
            if not used:
                assert earlier is None
            elif earlier is not None:
                assert earlier[0] == used[-1]
        for key, offset in self.keyed[-KEYS:]:
            if offset > len(self.truth) - REPLAY_LAST:
                found = self.log.earlier("ada", key)
                assert found is not None
                assert found[0] == offset

    @invariant()
    def history_pages_join_without_a_seam(self) -> None:
        before, found = 0, list[str]()
        while True:
            page = self.log.page(before, 3, NO_BOUND)
            bodies = [entry.posted.body for entry in page.held]
            if page.older:  # as the event store would answer
                bodies = self.bodies(page.before - 1 - page.older, page.before - 1) + bodies
            if not bodies:
                break
            found = bodies + found
            before = len(self.truth) - len(found) + 1
            if before == 1:
                break
        assert found == self.bodies(0, len(self.truth))


RoomOverCrashes.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestRoomOverCrashes = RoomOverCrashes.TestCase


def filled(count: int, *, recent: int = 10, keys: int = 10) -> RoomLog:
    log = RoomLog(recent, keys)
    log.epoch = 1
    for offset in range(1, count + 1):
        log.append(offset, 1, posted(f"{offset}", key=f"key {offset}"))
    return log


def offsets(entries: list[LoggedPost] | None) -> list[int] | None:
    return None if entries is None else [entry.offset for entry in entries]


@pytest.mark.parametrize(
    ("epoch", "offset", "missed"),
    [
        (1, 20, []),
        (1, 17, [18, 19, 20]),
        (1, 10, list(range(11, 21))),
        (1, 9, None),  # older than memory
        (1, 0, None),
        (1, 21, None),  # never written
        (0, 17, None),  # written by an epoch newer than the client's
        (2, 17, None),  # an epoch that never was
    ],
)
def test_a_resume_gets_exactly_what_was_missed_or_nothing(
    epoch: int, offset: int, missed: list[int] | None
) -> None:
    assert offsets(filled(20).since(epoch, offset, NO_BOUND)) == missed


@pytest.mark.parametrize(("epoch", "agreed"), [(1, 3), (2, 3), (3, 5), (4, 6), (9, 6), (0, 0)])
def test_a_log_agrees_with_an_older_epoch_up_to_what_newer_ones_wrote(
    epoch: int, agreed: int
) -> None:
    log = RoomLog(recent=10, keys=1)
    for offset, writer in enumerate((1, 1, 1, 3, 3, 4), start=1):
        log.append(offset, writer, posted(f"{offset}"))
    assert log.agreed(epoch) == agreed


def test_where_an_epoch_ended_that_memory_does_not_reach_back_to_is_not_known() -> None:
    log = RoomLog(recent=2, keys=1)
    for offset, writer in enumerate((1, 2, 2, 3, 3), start=1):
        log.append(offset, writer, posted(f"{offset}"))
    assert [log.agreed(epoch) for epoch in (1, 2, 3)] == [None, 3, 5]


def test_a_position_before_the_first_message_is_true_while_memory_reaches_back() -> None:
    assert offsets(filled(3).since(1, 0, NO_BOUND)) == [1, 2, 3]
    assert offsets(filled(0).since(1, 0, NO_BOUND)) == []


def test_more_than_an_answer_holds_is_not_recovered_in_part() -> None:
    log = filled(9)
    assert log.since(1, 4, max_bytes=5) is not None
    assert log.since(1, 4, max_bytes=4) is None


def test_long_messages_make_a_page_shorter_but_never_empty() -> None:
    log = filled(9)
    assert offsets(log.last(9, max_bytes=3)) == [7, 8, 9]
    assert offsets(log.last(9, max_bytes=0)) == [9]
    assert offsets(log.last(0, max_bytes=9)) == []
    page = log.page(5, 4, max_bytes=2)
    assert offsets(page.held) == [3, 4]
    assert page.older == 0


def test_a_page_says_what_only_the_event_log_has() -> None:
    log = filled(20)
    page = log.page(0, 15, NO_BOUND)
    assert offsets(page.held) == list(range(11, 21))
    assert (page.older, page.before) == (5, 11)
    page = log.page(8, 3, NO_BOUND)
    assert (page.held, page.older, page.before) == ([], 3, 8)
    page = log.page(1, 5, NO_BOUND)
    assert (page.held, page.older) == ([], 0)


def test_a_key_belongs_to_its_user() -> None:
    log = filled(3)
    assert log.earlier("ada", "key 2") == (2, 1)
    assert log.earlier("bob", "key 2") is None


def test_only_so_many_keys_are_remembered() -> None:
    log = filled(5, keys=2)
    assert [log.earlier("ada", f"key {n}") is not None for n in range(1, 6)] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_a_snapshot_of_a_longer_memory_fits_a_shorter_one() -> None:
    log = RoomLog(recent=3, keys=2)
    log.restore(msgspec.convert(msgspec.to_builtins(filled(8).dump()), LogState))
    log.epoch = 2
    assert offsets(log.since(1, 5, NO_BOUND)) == [6, 7, 8]
    assert log.since(1, 4, NO_BOUND) is None
    assert log.earlier("ada", "key 8") == (8, 1)
    assert log.earlier("ada", "key 6") is None


@given(
    st.lists(st.tuples(st.sampled_from(["ada", "bob", "cyd"]), st.sampled_from([None, *"abc"]))),
    st.sampled_from(["ada", "bob", "nobody"]),
)
def test_a_log_that_forgets_a_user_is_one_in_which_nobody_said_it(
    said: list[tuple[str, str | None]], user: str
) -> None:
    log, expected = RoomLog(RECENT, KEYS), RoomLog(RECENT, KEYS)
    for log_ in (log, expected):
        log_.epoch = 1
    for offset, (name, key) in enumerate(said, 1):
        one = posted(f"{offset}", user=name, key=key)
        log.append(offset, 1, one)
        expected.append(offset, 1, one.erased() if name == user else one)
    held = user in repr(log.dump())
    others = [key for key in log.dump().keys if key[0] != user]
    assert log.forget(user) is held
    assert not log.forget(user)
    assert user not in repr(log.dump())
    assert (log.offset, log.held_after) == (expected.offset, expected.held_after)
    assert log.dump().recent == expected.dump().recent
    assert log.dump().spans == expected.dump().spans
    assert log.dump().keys == others
    assert [log.earlier(*key[:2]) for key in others] == [key[2:] for key in others]
