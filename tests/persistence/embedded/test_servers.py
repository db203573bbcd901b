"""The embedded servers on directories of their own, started as a server starts them."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persistence import (
    DataDirLocked,
    EmbeddedSettings,
    EmbeddedStartFailed,
    PostgresSettings,
    RedisSettings,
    StoreUnavailable,
)
from persistence.embedded import EmbeddedServers, run_as, server_process
from persistence.postgres.connection import connect
from persistence.redis import check_redis
from persistence.redis.connection import connect as connect_redis
from tests.persistence.embedded.launched import Launched, below, owner, running, wait_until_gone

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data directory that does not exist yet, in a place that everyone can reach."""
    path = Path(tempfile.gettempdir()) / f"greenroom-test {secrets.token_hex(6)} é"
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A data directory that only we can reach."""
    tmp_path.chmod(0o700)
    return tmp_path / "data"


def remember(postgres_url: str, redis_url: str, value: str) -> None:
    with connect(PostgresSettings(url=postgres_url)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS public.kept (value text)")
        connection.execute("INSERT INTO public.kept VALUES (%s)", (value,))
    client = connect_redis(RedisSettings(url=redis_url))
    client.rpush("kept", value)
    client.close()


def remembered(postgres_url: str, redis_url: str) -> tuple[list[str], list[str]]:
    with connect(PostgresSettings(url=postgres_url)) as connection:
        rows = [row[0] for row in connection.execute("SELECT value FROM public.kept")]
    client = connect_redis(RedisSettings(url=redis_url))
    values: Any = client.lrange("kept", 0, -1)
    client.close()
    return rows, [value.decode() for value in values]


def wait_until_answering(postgres_url: str, redis_url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            connect(PostgresSettings(url=postgres_url)).close()
            check_redis(RedisSettings(url=redis_url))
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def test_both_start_keep_their_data_and_stop_without_a_trace(folder: Path) -> None:
    servers = EmbeddedServers(folder)
    for start in (1, 2):
        with servers:
            pids = servers.pids
            assert sorted(pids) == ["PostgreSQL", "Valkey"]
            remember(servers.postgres_url, servers.redis_url, str(start))
            expected = [str(n) for n in range(1, start + 1)]
            assert remembered(servers.postgres_url, servers.redis_url) == (expected, expected)
            everything = [one for pid in pids.values() for one in (pid, *below(pid))]
        assert servers.pids == {}
        assert not any(running(pid) for pid in everything)
        assert not (folder / "run").exists()
    servers.stop()


def test_only_we_can_open_what_they_keep(folder: Path) -> None:
    with EmbeddedServers(folder) as servers:
        for private in (
            "valkey",
            "postgres",
            "valkey.conf",
            "postgres.password",
            "lock",
            "valkey.log",
        ):
            assert stat.S_IMODE((folder / private).stat().st_mode) & 0o077 == 0, private
        for one in ("valkey", "valkey/valkey.sock", "postgres", "postgres/.s.PGSQL.5432"):
            assert stat.S_IMODE((folder / "run" / one).stat().st_mode) & 0o077 == 0, one
        with connect(PostgresSettings(url=servers.postgres_url)) as connection:
            found = connection.execute(
                "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
                " current_setting('listen_addresses'), current_setting('jit'),"
                " current_setting('server_encoding'), datcollate FROM pg_database"
                " WHERE datname = current_database()"
            ).fetchone()
        assert found == ("on", "on", "", "off", "UTF8", "C")
        client = connect_redis(RedisSettings(url=servers.redis_url))
        configured = client.config_get("port", "appendonly", "maxmemory-policy", "save")
        client.close()
        assert configured == {
            "port": "0",
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "save": "",
        }


def test_a_killed_server_leaves_no_child_and_the_next_start_has_all_that_was_kept(
    folder: Path,
) -> None:
    with Launched(folder) as first:
        pids = [*first.pids.values(), *below(first.process.pid)]
        assert len(pids) > 5
        remember(first.said["postgres"], first.said["redis"], "before the kill")
        first.kill()
        # At once, while those of the one before may still be on their way out.
        with Launched(folder) as second:
            assert remembered(second.said["postgres"], second.said["redis"]) == (
                ["before the kill"],
                ["before the kill"],
            )
            wait_until_gone(pids)
            assert second.terminate() == 0
            wait_until_gone(second.pids.values())


def test_a_server_that_was_killed_alone_is_revived_on_the_same_url(folder: Path) -> None:
    with EmbeddedServers(folder) as servers:
        postgres, redis = servers.postgres_url, servers.redis_url
        remember(postgres, redis, "kept")
        assert servers.revive() == []
        for pid in servers.pids.values():
            os.kill(pid, signal.SIGKILL)
        # Valkey's first thread is a zombie before its others have ended, and only then is it dead.
        while servers.pids:
            time.sleep(0.01)
        assert sorted(servers.revive()) == ["PostgreSQL", "Valkey"]
        wait_until_answering(postgres, redis)
        assert remembered(postgres, redis) == (["kept"], ["kept"])


def test_a_pid_file_that_names_a_stranger_does_not_keep_postgres_from_starting(
    folder: Path,
) -> None:
    with EmbeddedServers(folder, redis=False):
        pass
    (folder / "postgres" / "postmaster.pid").write_text(
        f"{os.getppid()}\n/x\n1\n5432\n\n\n\nready\n"
    )
    with EmbeddedServers(folder, redis=False) as servers:
        assert sorted(servers.pids) == ["PostgreSQL"]
        assert servers.redis_url == ""


def test_what_a_kill_left_of_a_half_made_database_is_made_anew(folder: Path) -> None:
    (folder / "postgres.new" / "base").mkdir(parents=True)
    with EmbeddedServers(folder, redis=False) as servers:
        assert servers.pids
    assert not (folder / "postgres.new").exists()


def test_a_directory_in_use_is_refused_and_names_the_process(folder: Path) -> None:
    with (
        EmbeddedServers(folder, postgres=False) as first,
        pytest.raises(DataDirLocked) as caught,
    ):
        EmbeddedServers(folder, postgres=False).start()
    assert str(caught.value) == f"data directory {folder} is in use by process {os.getpid()}"
    assert first.pids == {}
    with EmbeddedServers(folder, postgres=False) as again:
        check_redis(RedisSettings(url=again.redis_url))


def test_a_directory_whose_path_is_too_long_for_a_socket_has_them_elsewhere(
    folder: Path,
) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    with Launched(deep) as first:
        elsewhere = Path((deep / "run.elsewhere").read_text())
        assert str(elsewhere) in first.said["redis"]
        remember(first.said["postgres"], first.said["redis"], "deep")
        first.kill()
    assert elsewhere.exists()
    with EmbeddedServers(deep) as servers:
        assert not elsewhere.exists()
        assert remembered(servers.postgres_url, servers.redis_url) == (["deep"], ["deep"])
        elsewhere = Path((deep / "run.elsewhere").read_text())
    assert not elsewhere.exists()


def test_a_file_that_names_a_folder_of_somebody_else_removes_nothing(
    folder: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    folder.mkdir(mode=0o711)
    (folder / "run.elsewhere").write_text(str(precious))
    with EmbeddedServers(folder, postgres=False):
        assert precious.exists()


def test_a_comma_in_the_path_is_no_list_of_hosts(folder: Path) -> None:
    with EmbeddedServers(folder / "a,b", redis=False) as servers:
        connect(PostgresSettings(url=servers.postgres_url)).close()


@pytest.mark.parametrize("how", ["nobody", "by another name", "ordinary"] if ROOT else ["ordinary"])
def test_postgres_runs_for_root_and_for_ordinary_users(
    how: str, folder: Path, closed: Path
) -> None:
    """Root's runs as nobody, or in a user namespace where nobody cannot reach the data."""
    data, uid = folder, None
    if how == "by another name":
        data = closed
    elif ROOT and how == "ordinary":
        uid = NOBODY
        data = folder / "theirs"
        folder.mkdir(mode=0o755)
        os.chown(folder, NOBODY, -1)
    with Launched(data, uid=uid) as launched:
        assert sorted(launched.pids) == ["PostgreSQL", "Valkey"], launched.said
        expected = {"nobody": NOBODY, "by another name": 0, "ordinary": uid or os.geteuid()}[how]
        assert owner(launched.pids["PostgreSQL"]) == expected
        assert (data / "postgres").stat().st_uid == expected
        everything = below(launched.process.pid)
        launched.kill()
        wait_until_gone(everything)


@pytest.mark.parametrize("first", [True, False])
def test_data_of_one_identity_is_taken_over_by_another(folder: Path, *, first: bool) -> None:
    """A data directory that nobody can reach today was perhaps made where nobody could."""
    folder.mkdir()
    for reachable in (first, not first):
        folder.chmod(0o711 if reachable else 0o700)
        with EmbeddedServers(folder, redis=False):
            expected = NOBODY if ROOT and reachable else os.geteuid()
            assert (folder / "postgres" / "base").stat().st_uid == expected


def test_where_no_identity_will_do_it_says_what_to_do(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EmbeddedStartFailed, match="run Greenroom as an ordinary user"):
        run_as.choose(Path("/nowhere/bin"), closed)


def test_a_start_that_fails_tells_what_the_server_said_and_leaves_nothing(folder: Path) -> None:
    with EmbeddedServers(folder, redis=False):
        pass
    (folder / "postgres" / "PG_VERSION").write_text("9.6\n")
    servers = EmbeddedServers(folder)
    with pytest.raises(EmbeddedStartFailed, match=r"version 9\.6") as caught:
        servers.start()
    assert "\n" not in str(caught.value)
    assert "embedded PostgreSQL did not start: it ended with status 1" in str(caught.value)
    assert not list(server_process.working_in(folder / "valkey", "valkey-server"))
    assert not list(server_process.working_in(folder / "postgres", "postgres"))
    assert not (folder / "run").exists()
    with EmbeddedServers(folder, postgres=False):
        pass


def test_a_start_that_takes_too_long_fails(folder: Path) -> None:
    slow = EmbeddedSettings(start_timeout_s=1e-6)
    with pytest.raises(EmbeddedStartFailed, match=r"Valkey did not start: not ready after 1e-06 s"):
        EmbeddedServers(folder, postgres=False, settings=slow).start()


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedStartFailed, match="Not a directory") as caught:
        EmbeddedServers(tmp_path / "file" / "data").start()
    assert "\n" not in str(caught.value)
    with pytest.raises(EmbeddedStartFailed, match="not a directory"):
        EmbeddedServers(tmp_path / "file").start()


def test_ctrl_c_in_the_terminal_reaches_us_and_not_the_children(folder: Path) -> None:
    with EmbeddedServers(folder) as servers:
        for pid in servers.pids.values():
            assert os.getsid(pid) == pid != os.getsid(0)


def test_only_the_main_thread_may_start_them(folder: Path) -> None:
    """The kernel ends a child when the thread that spawned it ends."""
    raised: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedServers(folder, postgres=False).start()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert [str(error) for error in raised] == [
        "embedded servers are started from the main thread only"
    ]


def test_leftovers_are_found_by_where_they_work_and_ended(tmp_path: Path) -> None:
    with (
        subprocess.Popen(["sleep", "60"], cwd=tmp_path) as ours,
        subprocess.Popen(["sleep", "60"], cwd="/") as other,
    ):
        threading.Thread(target=ours.wait, daemon=True).start()
        server_process.end_leftovers(tmp_path, "sleep", timeout_s=0.4)
        wait_until_gone([ours.pid])
        assert other.poll() is None
        other.kill()


def test_a_log_that_has_grown_large_is_put_aside(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_process, "_LOG_BYTES", 10)
    for _ in range(2):
        with EmbeddedServers(folder, postgres=False):
            pass
    assert (folder / "valkey.log.1").stat().st_size > 10


def test_root_does_not_touch_a_folder_of_a_user(tmp_path: Path) -> None:
    """As anyone but root our own folder is a user's, and it is only asked as if."""
    if ROOT:
        os.chown(tmp_path, 4242, 4242)
    for data in (tmp_path / "checkout" / "data", tmp_path):
        with pytest.raises(EmbeddedStartFailed, match=f"{tmp_path} belongs to .* run Greenroom as"):
            run_as.refuse_foreign(data, uid=0)
        if ROOT:
            with pytest.raises(EmbeddedStartFailed, match=f"{tmp_path} belongs to uid 4242"):
                EmbeddedServers(data).start()
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.stat().st_uid == (4242 if ROOT else os.geteuid())


def test_a_user_is_not_asked_whose_folder_it_is(tmp_path: Path) -> None:
    run_as.refuse_foreign(tmp_path / "data", uid=4242)
