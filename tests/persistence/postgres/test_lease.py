"""The lease of a schema: one server has it, and what becomes of it when that server ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import msgspec
import psycopg
import pytest

from persistence import PostgresSettings, SchemaInUse
from persistence.postgres import migrate
from persistence.postgres.connection import connect, qualified
from persistence.postgres.lease import (
    BEAT_S,
    CLUSTER,
    DRAIN_S,
    LOOK_S,
    SILENT_S,
    Holder,
    SchemaLease,
    this_process,
)

LeaseOf = Callable[..., SchemaLease]


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    found = PostgresSettings(url=postgres_url, schema=unique)
    migrate(found)
    return found


@pytest.fixture
def lease_of(settings: PostgresSettings) -> Iterator[LeaseOf]:
    """Return a function that makes leases, for an owner and on a clock."""
    with ExitStack() as stack:

        def make(holder: Holder | None = None, clock: Listener | None = None) -> SchemaLease:
            return stack.enter_context(SchemaLease(settings, holder, sleep=clock or Listener()))

        yield make


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"


class TooLateError(Exception):
    """A lease was not to be had at the first try."""


def too_late(_now: float) -> None:
    raise TooLateError


def elsewhere(name: str) -> Holder:
    """Return a process of another machine. Nobody here can know whether it lives."""
    return msgspec.structs.replace(this_process(), host=name, machine=name)


class Listener:
    """Stands in for time: it adds up the sleeps, and calls functions at given times."""

    def __init__(self, happens: Callable[[float], object] = lambda _: None) -> None:
        self.slept_s = 0.0
        self._happens = happens

    def __call__(self, seconds: float) -> None:
        self.slept_s += seconds
        self._happens(self.slept_s)


def beating(lease: SchemaLease, *, draining: bool = False) -> Callable[[float], object]:
    """Renew the lease as a server does."""
    beats = [0.0]

    def beat(now: float) -> None:
        if now - beats[0] >= BEAT_S:
            beats[0] = now
            lease.beat(draining=draining)

    return beat


def test_the_first_server_takes_it_at_once(lease_of: LeaseOf) -> None:
    clock = Listener()
    lease = lease_of(clock=clock)
    lease.take()
    assert clock.slept_s == 0
    assert lease.beat(draining=False)


def test_beside_a_server_that_lives_a_second_is_refused_within_a_beat(lease_of: LeaseOf) -> None:
    first = lease_of(elsewhere("a"))
    first.take()
    clock = Listener(beating(first))
    with pytest.raises(SchemaInUse, match=r"process \d+ on a; give each its own"):
        lease_of(elsewhere("b"), clock).take()
    assert clock.slept_s <= BEAT_S + 0.2
    assert first.beat(draining=False)


def test_a_server_that_stopped_in_order_is_not_waited_for(lease_of: LeaseOf) -> None:
    first = lease_of(elsewhere("a"))
    first.take()
    first.release()
    clock = Listener()
    lease_of(elsewhere("b"), clock).take()
    assert clock.slept_s == 0


def test_a_server_killed_here_is_known_to_be_gone_at_once(lease_of: LeaseOf) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = this_process()
    started = lease_of(msgspec.structs.replace(here, pid=gone.pid, started="1"))
    started.take()
    clock = Listener()
    lease_of(clock=clock).take()  # its process id lives, as another process
    assert clock.slept_s == 0
    gone.kill()
    gone.communicate()
    assert msgspec.structs.replace(here, pid=gone.pid).is_gone()
    assert not here.is_gone()


def test_a_server_that_vanished_elsewhere_is_listened_to_for_a_while(lease_of: LeaseOf) -> None:
    first = lease_of(elsewhere("a"))
    first.take()
    clock = Listener()
    lease_of(elsewhere("b"), clock).take()
    assert SILENT_S <= clock.slept_s < SILENT_S + 0.5
    assert not first.beat(draining=False)  # should it wake up
    assert first.lost


def test_one_that_vanished_long_ago_is_not_listened_to(
    lease_of: LeaseOf, settings: PostgresSettings
) -> None:
    lease_of(elsewhere("a")).take()
    with psycopg.connect(settings.url) as connection:
        connection.execute(
            f"UPDATE {settings.schema}.lease SET beat_at = now() - interval '1 hour'"
        )
    clock = Listener()
    lease_of(elsewhere("b"), clock).take()
    assert clock.slept_s == 0


def test_one_that_drains_is_waited_for_and_not_for_ever(lease_of: LeaseOf) -> None:
    first = lease_of(elsewhere("a"))
    first.take()
    first.beat(draining=True)
    beat = beating(first, draining=True)

    def drains(now: float) -> None:
        if now < 7:
            beat(now)
        elif now < 7.2:
            first.release()

    clock = Listener(drains)
    second = lease_of(elsewhere("b"), clock)
    second.take()
    assert 7 <= clock.slept_s < 7.5
    second.beat(draining=True)
    slow = Listener(beating(second, draining=True))
    lease_of(elsewhere("c"), slow).take()
    assert DRAIN_S <= slow.slept_s < DRAIN_S + 0.5


def test_a_lease_that_somebody_cleared_is_taken_again(
    lease_of: LeaseOf, settings: PostgresSettings
) -> None:
    lease = lease_of()
    lease.take()
    with psycopg.connect(settings.url) as connection:
        connection.execute(f"DELETE FROM {settings.schema}.lease")
    assert lease.beat(draining=False)
    assert not lease.lost


def test_of_two_that_find_it_free_one_gets_it(
    lease_of: LeaseOf, settings: PostgresSettings
) -> None:
    """Neither can write before both have read."""
    table = f"{settings.schema}.lease"
    leases = [lease_of(elsewhere(name), Listener(too_late)) for name in "ab"]
    with (
        psycopg.connect(settings.url) as other,
        psycopg.connect(settings.url, autocommit=True) as witness,
        ThreadPoolExecutor() as pool,
    ):
        other.execute(f"LOCK TABLE {table} IN SHARE MODE")
        takes = [pool.submit(lease.take) for lease in leases]
        while (waiting := witness.execute(WAITING, (table,)).fetchone()) != (2,):
            assert waiting is not None
            assert not any(take.done() for take in takes)
        other.rollback()
        failures = [take.exception() for take in takes]
    assert [type(failure) for failure in failures].count(TooLateError) == 1
    assert failures.count(None) == 1


# --- a cluster's ---------------------------------------------------------------------------------


def test_servers_of_a_cluster_share_the_lease_and_any_of_them_renews_it(lease_of: LeaseOf) -> None:
    first, second = lease_of(CLUSTER), lease_of(CLUSTER)
    first.take()
    second.take()
    assert first.beat(draining=False)
    assert second.beat(draining=False)


def test_a_server_alone_and_one_of_a_cluster_refuse_each_other(lease_of: LeaseOf) -> None:
    of_cluster = lease_of(CLUSTER)
    of_cluster.take()
    alone = lease_of(elsewhere("a"), Listener(beating(of_cluster)))
    with pytest.raises(SchemaInUse, match="a cluster of servers works on the same schema"):
        alone.take()
    of_cluster.release()
    alone.take()
    late = lease_of(CLUSTER, Listener(beating(alone)))
    with pytest.raises(SchemaInUse, match=r"process \d+ on a works .*\[server\] cluster"):
        late.take()


def test_the_lease_of_a_cluster_stays_while_it_has_nodes(
    lease_of: LeaseOf, settings: PostgresSettings
) -> None:
    first, second = lease_of(CLUSTER), lease_of(CLUSTER)
    first.take()
    second.take()
    admit = "SELECT {schema}.admit_node('b', 1, '', '')"
    with connect(settings) as connection:
        connection.execute(qualified(settings, admit))
    first.release()
    with pytest.raises(SchemaInUse):
        lease_of(elsewhere("a"), Listener(beating(second))).take()


def test_a_cluster_that_was_killed_whole_is_listened_to_for_a_while(lease_of: LeaseOf) -> None:
    lease_of(CLUSTER).take()
    listener = Listener()
    lease_of(elsewhere("a"), listener).take()
    assert SILENT_S - LOOK_S <= listener.slept_s <= SILENT_S + LOOK_S


def test_a_server_of_a_cluster_that_slept_through_a_take_over_hears_so(lease_of: LeaseOf) -> None:
    frozen = lease_of(CLUSTER)
    frozen.take()
    lease_of(elsewhere("a")).take()
    assert not frozen.beat(draining=False)
    assert frozen.lost
