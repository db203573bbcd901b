"""The graph of friends: how long its queries take, on an embedded PostgreSQL.

    python -m bench.graph                        100,000 users with 50 friends each
    python -m bench.graph --users 10000 --json   a smaller graph, as JSON

Users have most of their friends among those near them, as people have, and the others anywhere.
One in a hundred has blocked somebody; each has played ten matches of four. Queries are asked one
after the other, of users drawn at random, through a worker of queries as a server asks them: times
include the way there and back.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import psycopg
from pykka import ActorRef

from actors.acquaintances import Fellow, PlayedWith
from actors.friends.commands import SERVICE
from actors.friends.graph import MutualFriends, NotBlocked, SuggestUsers
from actors.friends.queries import QUERIES, ListTies
from actors.matches.queries import QUERIES as MATCH_QUERIES
from bench.child import check_realtime, make_realtime
from bench.folder import temporary_data
from persistence import PostgresSettings
from persistence.embedded import EmbeddedServers
from persistence.postgres import migrate
from persistence.postgres.connection import connect, transaction
from persistence.queries import AskQuery, QueryTable, QueryWorker

NEAR: Final = 500
"""Users so near one another that most friends are among them."""
AFAR: Final = 0.2
"""The part of friends who are anywhere."""
MATCHES: Final = 10
PLAYERS: Final = 4
ASK_TIMEOUT_S: Final = 30.0


class GraphRow(msgspec.Struct, frozen=True):
    """One figure of the table, in milliseconds. `found`: how many an answer has on average."""

    what: str
    queries: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    found: float


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.graph",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, default=100_000, help="users (100000)")
    parser.add_argument("--ties", type=int, default=50, help="friends of each (50)")
    parser.add_argument("--queries", type=int, default=500, help="queries of each kind (500)")
    parser.add_argument("--seed", type=int, default=1, help="of the graph and of the queries")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="give this process and PostgreSQL real-time priority; for a machine"
        " with other work; needs root",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    return parser.parse_args()


def name(number: int) -> str:
    """Return the id of a user."""
    return f"guest-{number:08x}"


def ties(users: int, each: int, dice: random.Random) -> Iterator[tuple[int, int]]:
    """Yield pairs of friends, each once, until users have `each` of them on average."""
    seen: set[int] = set()
    wanted = users * each // 2
    while len(seen) < wanted:
        one = dice.randrange(users)
        if dice.random() < AFAR:
            two = dice.randrange(users)
        else:
            two = (one // NEAR * NEAR + dice.randrange(NEAR)) % users
        pair = min(one, two) * users + max(one, two)
        if one != two and pair not in seen:
            seen.add(pair)
            yield one, two


def fill(settings: PostgresSettings, options: argparse.Namespace, dice: random.Random) -> None:
    """Write the graph, the blocks, and who has played with whom."""
    users: int = options.users
    with connect(settings) as connection, transaction(connection, settings):
        connection.execute("SET LOCAL statement_timeout = 0")
        with _copy(connection, "friend_ties (user_id, other_id, state, since_ms)") as copy:
            for one, two in ties(users, options.ties, dice):
                copy.write_row((name(one), name(two), 0, 1))
                copy.write_row((name(two), name(one), 0, 1))
        with _copy(connection, "friend_blocks (user_id, other_id, since_ms)") as copy:
            for user in range(0, users, 100):
                other = (user + 1 + dice.randrange(users - 1)) % users
                copy.write_row((name(user), name(other), 1))
        with _copy(connection, "match_players (user_id, match, joined_ms)") as copy:
            for match in range(users * MATCHES // PLAYERS):
                first = dice.randrange(users) // NEAR * NEAR
                near = range(first, min(first + NEAR, users))
                for user in dice.sample(near, PLAYERS):
                    copy.write_row((name(user), f"arena-{match:08x}", match))
    with connect(settings) as connection:
        connection.autocommit = True
        connection.execute("SET statement_timeout = 0")
        for table in ("friend_ties", "friend_blocks", "match_players"):
            connection.execute(f"VACUUM ANALYZE {settings.schema}.{table}")


def _copy(connection: psycopg.Connection[Any], table: str) -> Any:
    return connection.cursor().copy(f"COPY {table} FROM STDIN")


class GraphMeter:
    """Asks queries and takes their times."""

    def __init__(self, queries: ActorRef[Any]) -> None:
        self._queries = queries

    def ask(self, query: msgspec.Struct) -> Any:
        """Ask one query."""
        request = AskQuery(query, time.monotonic() + ASK_TIMEOUT_S)
        return self._queries.ask(request, timeout=ASK_TIMEOUT_S)

    def measure(self, what: str, count: int, act: Callable[[], int]) -> GraphRow:
        """Return the figure of an action, which returns how many it has found."""
        for _ in range(20):
            act()
        times: list[float] = []
        found = 0
        for _ in range(count):
            began = time.perf_counter()
            found += act()
            times.append((time.perf_counter() - began) * 1000)
        times.sort()
        p50, p99, worst = (round(times[int(count * part)], 2) for part in (0.5, 0.99, 1 - 1e-9))
        return GraphRow(what, count, p50, p99, worst, round(found / count, 1))


def figures(options: argparse.Namespace, servers: EmbeddedServers) -> Iterator[GraphRow]:
    """Yield one row after the other."""
    settings = PostgresSettings(url=servers.postgres_url)
    migrate(settings, [SERVICE, "matches"])
    dice = random.Random(options.seed)
    fill(settings, options, dice)
    queries: ActorRef[Any] = QueryWorker.start(settings, QueryTable((*QUERIES, *MATCH_QUERIES)))
    meter, users = GraphMeter(queries), options.users

    def one() -> str:
        return name(dice.randrange(users))

    def listed() -> int:
        return len(meter.ask(ListTies(one(), None, "", 100)).ties)

    def of_friends() -> int:
        return len(meter.ask(SuggestUsers(one(), (), 20)))

    def mutual() -> int:
        number = dice.randrange(users)
        near = (number // NEAR * NEAR + dice.randrange(NEAR)) % users
        found: int = meter.ask(MutualFriends(name(number), name(near), 50)).total
        return found

    def played() -> int:
        user = one()
        fellows: list[Fellow] = meter.ask(PlayedWith(user, 20))
        return len(meter.ask(NotBlocked(user, [fellow.user for fellow in fellows])))

    def suggested() -> int:
        user = one()
        return len(meter.ask(SuggestUsers(user, meter.ask(PlayedWith(user, 100)), 20)))

    for what, act in (
        ("friend.list", listed),
        ("friend.mutual", mutual),
        ("friends of friends", of_friends),
        ("friend.played", played),
        ("friend.suggest", suggested),
    ):
        yield meter.measure(what, options.queries, act)
    queries.stop()


def main() -> int:
    """Run the bench and print its figures; return the exit status."""
    options = arguments()
    if options.realtime:
        check_realtime()
        make_realtime(os.getpid())  # and PostgreSQL, which is started from here
    rows = []
    with temporary_data() as folder, EmbeddedServers(folder / "data") as servers:
        if not options.json:
            print(f"{'':20}{'queries':>8}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}{'found':>8}")
        for row in figures(options, servers):
            rows.append(row)
            if not options.json:
                print(
                    f"{row.what:20}{row.queries:8}{row.p50_ms:9.2f}{row.p99_ms:9.2f}"
                    f"{row.worst_ms:10.2f}{row.found:8.1f}",
                    flush=True,
                )
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(rows)).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
