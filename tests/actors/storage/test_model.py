"""Storage compared with a model of it: a dictionary."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from actors.storage.rules.changes import Quota
from protocol.errors import FORBIDDEN, QUOTA_EXCEEDED, VERSION_CONFLICT, ErrorCode
from protocol.messages.storage import ObjectToWrite
from tests.actors.storage.shelf import Change, Shelf, drop, put

USERS, KEYS = ("ada", "bob"), ("a", "b", "c")
QUOTA = Quota(3, 60)
Read = Literal["nobody", "owner", "public"]

users, keys = st.sampled_from(USERS), st.sampled_from(KEYS)
expected = st.sampled_from(["any", "any", "present", "absent", "old"])
writes = st.tuples(
    st.just("write"),
    expected,
    st.integers(1, 30).map(lambda size: "7" * size),
    st.sampled_from(["nobody", "owner", "public"]),
    st.sampled_from(["owner", "owner", "owner", "nobody"]),
)
deletes = st.tuples(st.just("delete"), expected)
batches = st.dictionaries(keys, writes | deletes, min_size=1)


def test_no_sequence_of_changes_tells_storage_from_its_model(shelf: Shelf) -> None:
    class Objects(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.prefix = secrets.token_hex(6)
            self.there: dict[tuple[str, str], ObjectToWrite] = {}
            self.versions: dict[tuple[str, str], int] = {}
            self.newest = 0

        def name(self, user: str) -> str:
            return f"{self.prefix}-{user}"

        @rule(user=users, batch=batches, server=st.sampled_from([False, False, True]))
        def change(self, user: str, batch: dict[str, Any], server: bool) -> None:
            changes: list[Change] = []
            for key, (what, version, *rest) in batch.items():
                stated = self.stated(user, key, version)
                if what == "write":
                    changes.append(put(key, rest[0], stated, read=rest[1], write=rest[2]))
                else:
                    changes.append(drop(key, stated))
            # The workers run writes before deletes, so the first refusal may be another's.
            codes = self.refusals(user, changes, server=server)
            quota = None if server else QUOTA
            outcome = shelf.attempt(self.name(user), *changes, quota=quota)
            if isinstance(outcome, ErrorCode):
                assert outcome in codes
                return
            assert not codes
            fresh = iter(outcome.versions)
            for change in changes:
                place = user, change.key
                self.there.pop(place, None)
                self.versions.pop(place, None)
                if isinstance(change, ObjectToWrite):
                    self.there[place] = change
                    self.versions[place] = next(fresh)
                    assert self.versions[place] > self.newest
                    self.newest = self.versions[place]

        def stated(self, user: str, key: str, version: str) -> int | None:
            present = self.versions.get((user, key), 0)
            return {"any": None, "present": present, "absent": 0, "old": present + 10**9}[version]

        def refusals(self, user: str, changes: list[Change], *, server: bool) -> set[ErrorCode]:
            codes: set[ErrorCode] = set()
            after = {key: one for (owner, key), one in self.there.items() if owner == user}
            before = self.size(after)
            for change in changes:
                found = after.pop(change.key, None)
                if found is not None and found.write == "nobody" and not server:
                    codes.add(FORBIDDEN)
                if change.version not in {None, self.versions.get((user, change.key), 0)}:
                    codes.add(VERSION_CONFLICT)
                if isinstance(change, ObjectToWrite):
                    after[change.key] = change
            objects, size = self.size(after)
            wrote = any(isinstance(change, ObjectToWrite) for change in changes)
            over = QUOTA.objects < objects > before[0] or QUOTA.size < size > before[1]
            if over and wrote and not codes and not server:
                codes.add(QUOTA_EXCEEDED)
            return codes

        @staticmethod
        def size(objects: dict[str, ObjectToWrite]) -> tuple[int, int]:
            size = sum(len(one.value + one.key + one.collection) for one in objects.values())
            return len(objects), size

        @rule(user=users)
        def erase(self, user: str) -> None:
            gone = [place for place in self.there if place[0] == user]
            assert shelf.erase(self.name(user)) == len(gone)
            for place in gone:
                del self.there[place], self.versions[place]

        @invariant()
        def what_is_read_and_listed_is_what_is_there(self) -> None:
            for reader in USERS:
                for owner in USERS:
                    allowed = {"public", "owner"} if reader == owner else {"public"}
                    model = [
                        (key, one.value, self.versions[owner, key], one.read, one.write)
                        for key in KEYS
                        if (one := self.there.get((owner, key))) is not None and one.read in allowed
                    ]
                    read = shelf.look(self.name(reader), *KEYS, of=self.name(owner)).objects
                    listed = shelf.page(self.name(reader), self.name(owner)).objects
                    assert read == listed
                    assert model == [
                        (one.key, one.value, one.version, one.read, one.write) for one in read
                    ]

    run_state_machine_as_test(
        Objects,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
