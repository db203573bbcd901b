"""`server.py user` exports and erases everything that a server holds of a user."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.node.exits import Exit
from actors.node.users import private_file
from persistence import PostgresSettings, RedisSettings
from persistence.embedded import EmbeddedServers
from tests.conftest import Stores
from tests.searching import holding
from tests.server_process import ROOT, START_TIMEOUT_S, Ended, Server, entry, environment, run
from tests.test_services import Client, with_client

NAME = "ada of the name"
WORDS = "words that are nobody's business"
KEY = "a-key-of-her-own"
OTHERS = ("inbox_entries", "answered_commands")
"""Where the id stays in what is another user's: what that one was told, and was answered."""


def user(what: str, who: str, folder: Path, *more: str) -> Ended:
    """Run the command on a server that has the trial service too."""
    arguments = ("user", what, who, "--set", f"server.data_dir={folder}", *more)
    return run(*arguments, entry=entry("--with-trial"))


class Traces:
    """What Ada leaves behind on a server, and what Bob sees of it."""

    def __init__(self) -> None:
        self.user = ""
        self.running = self.ended = ""

    async def leave(self, server: Server) -> None:
        async def as_bob(bob: Client) -> None:
            await bob.ok("room.join", room="lobby")
            await bob.ok("room.send", room="lobby", body="his own")
            await self._as_ada(server, bob)
            await bob.ok("match.join", match=self.running)
            await bob.ok("room.send", room="lobby", body="and on")

        await with_client(server, as_bob)

    async def _as_ada(self, server: Server, bob: Client) -> None:
        async def as_ada(ada: Client) -> None:
            self.user = ada.user
            await ada.ok("room.join", room="lobby")
            await ada.ok("room.send", room="lobby", body=WORDS, key=KEY)
            for number in range(2):
                created = await ada.ok("match.create", game="tictactoe", key=f"{KEY}-{number}")
                match = created["match"]
                await ada.ok("match.join", match=match)
                self.running, self.ended = match, self.running
            await bob.ok("match.join", match=self.ended)
            await ada.ok("match.input", match=self.ended, seq=1, input={"cell": 4})
            await ada.ok("match.leave", match=self.ended)
            await bob.ok("trial.tell", user=self.user, note=7, key="of bob")
            save = {"collection": "saves", "key": "1", "value": f'"{WORDS}"'}
            await ada.ok("storage.write", objects=[save], key=KEY)
            await bob.ok("friend.request", user=ada.user, key="of bob")
            await ada.ok("friend.accept", user=bob.user, key=KEY)
            await ada.ok("block.add", user="somebody", key=f"{KEY}-block")

        await with_client(server, as_ada, name=NAME)


async def serving(folder: Path, use: Callable[[Server], Any]) -> None:
    start = lambda: Server(folder, entry=entry("--with-trial"))  # noqa: E731
    with await trio.to_thread.run_sync(start) as server:
        await use(server)
        assert server.stop() == 0


async def test_all_that_a_user_left_is_exported_and_then_erased(tmp_path: Path) -> None:
    traces = Traces()
    await serving(tmp_path, traces.leave)
    file = tmp_path / "export.json"
    file.write_text("an older one that all may read")
    file.chmod(0o644)
    done = user("export", traces.user, tmp_path, "--out", str(file))
    assert (done.code, done.out) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "chat 1, friends 2, inbox 4, accounts 0, matches 6, storage 1, audit 0" in done.err
    shown = user("export", traces.user, tmp_path)
    assert (shown.code, shown.out) == (0, file.read_text())
    found = msgspec.json.decode(shown.out)
    (said,) = found["chat"]
    assert (said["room"], said["offset"], said["name"], said["body"]) == ("lobby", 2, NAME, WORDS)
    entry_ = found["inbox"][0]
    assert (entry_["type"], entry_["payload"]) == ("trial.note", {"note": 7})
    for match, did in (
        (traces.ended, ["created", "joined", "moved", "left"]),
        (traces.running, ["created", "joined"]),
    ):
        assert [one["what"] for one in found["matches"] if one["match"] == match] == did
    assert [one["state"] for one in found["friends"]] == ["friend", "blocked"]
    assert found["storage"][0]["value"] == f'"{WORDS}"'

    done = user("erase", traces.user, tmp_path, "--yes")
    assert done.code == 0
    assert done.out.startswith(f"erased of {traces.user}: chat 1, friends 2, inbox 4, accounts 0, ")
    with EmbeddedServers(tmp_path) as stores:
        where = (
            PostgresSettings(url=stores.postgres_url),
            RedisSettings(url=stores.redis_url),
        )
        for word in (WORDS, NAME, KEY):
            assert holding(word, *where) == {}, word
        # As the page for operators says: who played stays, and how many entries there were.
        left = holding(traces.user, *where)
        assert set(left) <= {
            "events",
            "matches",
            "snapshot:match",
            "inboxes",
            "inbox_reads",
            *OTHERS,
        }
        assert holding("his own", *where)["events"] == 1
    left_over = msgspec.json.decode(user("export", traces.user, tmp_path).out)
    for service in ("chat", "friends", "inbox", "storage"):
        assert left_over[service] == [], service
    names = {one["name"] for one in left_over["matches"] if one["what"] == "joined"}
    assert names == {""}

    async def others_see(server: Server) -> None:
        async def as_cyd(cyd: Client) -> None:
            state = await cyd.ok("room.join", room="lobby")
            assert [one["body"] for one in state["messages"]] == ["his own", "", "and on"]
            assert {one["match"] for one in (await cyd.ok("match.list"))["matches"]} <= {
                traces.running
            }

        await with_client(server, as_cyd)

    await serving(tmp_path, others_see)


async def test_while_a_server_runs_it_says_so_in_a_line(tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        for what, more in (("export", ()), ("erase", ("--yes",))):
            done = await trio.to_thread.run_sync(lambda: user(what, "ada", tmp_path, *more))  # noqa: B023
            assert (done.code, done.out) == (Exit.NOT_ALONE, "")
            (line,) = done.err.splitlines()
            assert f"in use by process {server.process.pid}; stop the server first" in line

    await serving(tmp_path, use)


def test_a_server_that_would_share_its_schema_keeps_it_from_users_too(
    stores: Stores, unique: str, tmp_path: Path
) -> None:
    settings = (
        f"postgres.url={stores.postgres_url}",
        f"postgres.schema={unique}",
        f"redis.url={stores.redis_url}",
        f"redis.prefix={unique}:",
        "server.alone=false",
    )
    arguments = [part for one in settings for part in ("--set", one)]
    with Server(tmp_path, *settings) as server:
        done = run("user", "erase", "ada", "--yes", *arguments)
        assert (done.code, done.out) == (Exit.NOT_ALONE, "")
        assert f"process {server.process.pid}" in done.err
        assert "stop the server first" in done.err
        assert server.stop() == 0
    done = run("user", "erase", "ada", "--yes", *arguments)
    assert (done.code, done.out) == (0, "nothing was found of ada; is the id right?\n")
    done = run("user", "export", "ada", *arguments)
    assert done.code == 0
    assert "nothing was found of ada; is the id right?" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("erase", "ada"), "--yes"),
        (("erase", "", "--yes"), "not the id of a user"),
        (("erase", "guest-1\n", "--yes"), "not the id of a user"),
        (("export", "guest-\x1b[2J"), "not the id of a user"),
        (("export",), "USER"),
        (("destroy", "ada"), "invalid choice"),
    ],
)
def test_what_is_not_meant_is_not_done(arguments: tuple[str, ...], says: str) -> None:
    done = run("user", *arguments)
    assert done.code == Exit.USAGE
    assert says in done.err


def test_a_file_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = run("user", "export", "ada", "--out", str(tmp_path), "--set", f"server.data_dir={data}")
    assert done.code == Exit.FAILED
    assert done.err == f"greenroom: cannot write {tmp_path}: Is a directory\n"
    assert not data.exists()


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    old = tmp_path / "export.json"
    old.write_text("old")

    def fail() -> None:
        with private_file(old) as file:
            file.write(b"half of a n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_an_export_through_a_link_writes_what_it_leads_to(tmp_path: Path) -> None:
    place, link = tmp_path / "place", tmp_path / "link"
    link.symlink_to(place)
    with private_file(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert place.read_text() == "new"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_an_export_to_a_device_leaves_it_one() -> None:
    with private_file(Path(os.devnull)) as file:
        file.write(b"new")
    assert Path(os.devnull).is_char_device()


INTERRUPTED = """
import os, signal, sys, trio, server
from actors.node import users
async def until_a_signal(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    await trio.sleep_forever()
users.exported = users.erased = until_a_signal
sys.exit(server.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        (("export", "ada"), Exit.FAILED, "interrupted by a signal"),
        (("erase", "ada", "--yes"), Exit.UNSAVED, "run the command again to erase the rest"),
    ],
)
def test_one_that_a_signal_ends_has_not_succeeded(
    what: tuple[str, ...], code: Exit, says: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "user", *what, "--set", f"server.data_dir={tmp_path}"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr.splitlines()[-1]
