"""`python server.py` as its users meet it: real processes, real stores, real clients."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import psycopg
import pytest
import trio
import trustme

import server
from actors.node.exits import EXITS, Exit
from persistence import PostgresSettings
from persistence.embedded import EmbeddedServers
from persistence.postgres import migrate
from protocol.client import ClientSettings, ReconnectBackoff, RequestTimedOut, Room, connect
from protocol.messages.room import Message
from tests.left_out import has
from tests.persistence.pooler import transaction_pooler
from tests.protocol.live import upgrade
from tests.server_process import (
    BANNER,
    PATIENT,
    ROOT,
    Server,
    alone_in,
    descendants,
    environment,
    flags,
    run,
    wait_until_gone,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("running")) as server:
        yield server
        assert server.stop() == Exit.OK


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def one_line(err: str) -> str:
    """Return the line that a failed start prints on standard error. There must be only one."""
    lines = [line for line in err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


async def heard(room: Room, count: int) -> list[Message]:
    """Return the next messages of a room, of which none may be missing."""
    messages = []
    for _ in range(count):
        update = await room.__anext__()
        assert isinstance(update, Message), update
        messages.append(update)
    return messages


# --- starting ------------------------------------------------------------------------------------


def test_one_line_says_where_clients_connect_and_data_lives(running: Server) -> None:
    greeting = running.out[1:]  # of a new database, which has no owner yet
    assert len(greeting) == (1 if has("accounts") else 0)
    assert running.ws == f"ws://127.0.0.1:{running.port}/ws"
    assert running.data == str(running.folder)


def test_a_standard_output_that_takes_nothing_stops_no_server(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [
                sys.executable,
                "server.py",
                *flags(*alone_in(tmp_path)),
            ],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        said = next(line for line in process.stderr if "cannot print" in line)
        assert "is up: clients at" in said
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == Exit.OK


def test_health_readiness_and_metrics_answer(running: Server) -> None:
    assert running.get("/healthz") == (200, "ok\n")
    status, body = running.get("/readyz")
    assert (status, '"ready":true' in body) == (200, True), body
    assert running.metric("greenroom_connections") >= 0
    assert running.metric("greenroom_actors_all") > 0


def test_without_valkey_it_is_degraded_and_without_postgresql_not_ready(running: Server) -> None:
    assert running.get("/readyz")[0] == 200  # each store has its connection, and process, by now
    for name, status, ready in (("valkey-server", 200, True), ("postgres", 503, False)):
        comms = {pid: Path(f"/proc/{pid}/comm") for pid in running.family()}
        frozen = [pid for pid in comms if comms[pid].read_text("utf-8").strip() == name]
        assert frozen
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            answered, body = running.get("/readyz")
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        assert answered == status
        told = msgspec.json.decode(body)
        assert (told["ready"], told["degraded"]) == (ready, ready)
        assert "no answer within" in told["checks"]["redis" if ready else "postgresql"]


async def test_two_clients_talk(running: Server) -> None:
    with trio.fail_after(120):
        async with (
            connect(running.ws, name="ada", settings=PATIENT) as ada,
            connect(running.ws, name="bob", encoding="json", settings=PATIENT) as bob,
        ):
            hers, his = await ada.join("talk"), await bob.join("talk")
            sent = await hers.send("hello bob")
            (said,) = await heard(his, 1)
            assert (said.body, said.name, said.offset) == ("hello bob", "ada", sent.offset)
            await his.send("hello ada")
            assert [said.body for said in await heard(hers, 2)] == ["hello bob", "hello ada"]
            assert [member.name for member in his.members] == ["ada", "bob"]
    assert running.metric("greenroom_events_committed_total") >= 2
    assert running.metric("greenroom_dead_letters_total") == 0, "every part of the node is there"


def test_two_terminals_talk(running: Server) -> None:
    command = [sys.executable, "-m", "protocol.client", "--url", running.ws, "--room", "terminals"]

    def terminal(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, "--name", name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    with terminal("ada") as ada, terminal("bob") as bob:
        try:
            assert ada.stdin is not None
            assert bob.stdin is not None
            assert bob.stdout is not None
            bob.stdout.readline()  # he is in the room
            ada.stdin.write("hello from ada\n")
            ada.stdin.flush()
            for line in bob.stdout:
                if "hello from ada" in line:
                    break
            else:
                raise AssertionError("bob heard nothing")
            ada.stdin.close()
            assert ada.wait(15) == 0
        finally:
            ada.kill()
            bob.kill()


def test_a_server_delivers_what_is_due_and_counts_what_becomes_of_it(
    postgres: PostgresSettings, unique: str, tmp_path: Path
) -> None:
    """A room accepts no schedules, and the kind of a service that was taken out has no actors."""
    mine = msgspec.structs.replace(postgres, schema=unique)
    migrate(mine)
    rows = f"INSERT INTO {unique}.schedules VALUES (%s, 'k', 'n', 1, 0, 0, 0, '')"
    with psycopg.connect(postgres.url) as connection:
        for kind in ("room", "taken_out"):
            connection.execute(rows, (kind,))
    settings = (f"postgres.url={postgres.url}", f"postgres.schema={unique}")
    with Server(tmp_path, *settings) as server:
        deadline = time.monotonic() + 30
        while (
            server.metric("greenroom_schedule_attempts_failed_total") < 1
            or server.metric("greenroom_schedules_put_off_total") < 1
        ):
            assert time.monotonic() < deadline, server.get("/metrics")
            time.sleep(0.02)
        assert server.metric("greenroom_schedules_delivered_total") >= 1
        assert server.metric("greenroom_schedule_late_seconds") > 1e9, "due in 1970"
        assert server.stop() == Exit.OK
    said = {event["event"] for event in server.events()}
    assert "schedules of a kind that is not here are put off" in said


def test_a_taken_port_is_one_line(running: Server, tmp_path: Path) -> None:
    taken = {
        "listen.port": running.port,
        "http.port": running.http_port,
        "api.port": int(running.api.rpartition(":")[2]),
    }
    for key, port in taken.items():
        data = f"server.data_dir={tmp_path / key}"
        others = [f"{other}=0" for other in taken if other != key]
        ended = run("serve", *flags(data, f"{key}={port}", *others))
        section = key.partition(".")[0]
        assert ended.code == Exit.ADDRESS
        assert one_line(ended.err) == (
            f"greenroom: cannot listen on 127.0.0.1:{port}: Address already in use;"
            f" see [{section}] host and port"
        )


def test_a_locked_data_directory_is_one_line(running: Server) -> None:
    ended = run("serve", *flags(*alone_in(running.folder)))
    assert ended.code == Exit.DATA_DIR
    assert one_line(ended.err) == (
        f"greenroom: data directory {running.folder} is in use by process {running.process.pid}"
    )


@pytest.mark.parametrize(
    ("key", "url", "store"),
    [
        ("postgres", "postgresql://ada:secret@127.0.0.1:{port}/x", "postgresql"),
        ("redis", "redis://:secret@127.0.0.1:{port}", "redis"),
    ],
)
def test_an_unreachable_store_is_one_line(
    key: str, url: str, store: str, free_port: int, tmp_path: Path
) -> None:
    unreachable = f"{key}.url={url.format(port=free_port)}"
    ended = run("serve", *flags(*alone_in(tmp_path), unreachable))
    assert ended.code == Exit.STORE
    line = one_line(ended.err)
    assert line.startswith(f"greenroom: {store} is unavailable: ")
    assert line.endswith(f"; see [{key}] url")
    assert "secret" not in ended.err


@pytest.mark.parametrize("command", ["serve", "check-config", "migrate"])
@pytest.mark.parametrize("key", ["postgres.url", "postgres.replica_url", "redis.url"])
def test_a_url_that_can_be_none_is_refused_before_anything_is_touched(
    key: str, command: str, tmp_path: Path
) -> None:
    section, _, name = key.partition(".")
    ended = run(command, *flags(f"{key}=garbage-secret", *alone_in(tmp_path / "data")))
    assert ended.code == Exit.CONFIG
    line = one_line(ended.err)
    assert line.startswith(f"greenroom: --set {key}: [{section}] {name} is not allowed: must be ")
    assert "secret" not in line
    assert not (tmp_path / "data").exists()


def test_a_variable_that_was_meant_as_a_setting_is_told(tmp_path: Path) -> None:
    slip = {"GREENROOM_LISTEN_PORT": "1"}
    told = "environment variable GREENROOM_LISTEN_PORT sets nothing"
    with Server(tmp_path, variables=slip) as server:
        assert any(told in event["event"] for event in server.events())
        assert server.stop() == Exit.OK
    assert told in run("check-config", variables=slip).err


def test_a_missing_tls_file_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    ended = run(
        "check-config", "--set", f"listen.tls_certificate={missing}",
        "--set", f"listen.tls_key={missing}",
    )  # fmt: skip
    assert ended.code == Exit.CONFIG
    line = one_line(ended.err)
    assert (
        line
        == f"greenroom: [listen] tls_certificate, tls_key: {missing}: No such file or directory"
    )


def test_a_wrong_config_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[listen]\nprot = 1\n", encoding="utf-8")
    for command in ("serve", "check-config", "migrate"):
        ended = run(command, "--config", str(file))
        assert ended.code == Exit.CONFIG
        assert one_line(ended.err).startswith(
            f"greenroom: {file}: [listen] has no key prot, did you mean port?"
        )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("examples.nowhere:Game", "no module named examples.nowhere"),
        ("examples.tictactoe:Tic", "examples.tictactoe has no Tic"),
        ("json:JSONDecoder", "json:JSONDecoder is not a Game"),
    ],
)
def test_a_game_that_is_not_there_is_one_line(path: str, text: str) -> None:
    ended = run("check-config", "--set", f"games.mine={path}")
    assert ended.code == Exit.CONFIG
    assert one_line(ended.err) == f"greenroom: [games] mine: {text}"


def test_check_config_lists_what_is_not_the_default(tmp_path: Path) -> None:
    assert run("check-config").out.splitlines() == [
        "config.toml: valid",
        "  games.arena = 'examples.arena:Arena' (config.toml)",
        "  games.tictactoe = 'examples.tictactoe:TicTacToe' (config.toml)",
    ]
    assert run("check-config", cwd=tmp_path).out == "no config.toml here: valid, all defaults\n"
    file = tmp_path / "my.toml"
    file.write_text("[listen]\nport = 9\n[postgres]\nurl = 'postgresql:///x'\n", encoding="utf-8")
    ended = run("check-config", "--config", str(file))
    assert ended.code == Exit.OK
    assert ended.out.splitlines() == [
        f"{file}: valid",
        f"  listen.port = 9 ({file})",
        f"  postgres.url = (hidden) ({file})",
    ]


def test_help_explains_commands_and_exit_codes() -> None:
    text = run("--help").out
    for word in ("serve", "check-config", "migrate", "--config", "--set", "exit codes"):
        assert word in text
    for code, meaning in EXITS.items():
        assert f"{code:d}  {meaning}" in text
    assert "--config" in run("serve", "--help").out
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert run("--version").out == f"greenroom {version}\n"


def test_a_wrong_command_line_is_told() -> None:
    assert run("sreve").code == Exit.USAGE
    assert run("serve", "--prot", "1").code == Exit.USAGE


# --- external stores -----------------------------------------------------------------------------


def test_with_urls_nothing_is_spawned_and_drift_is_refused(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path / "elsewhere") as stores:
        urls = (f"postgres.url={stores.postgres_url}", f"redis.url={stores.redis_url}")
        free = ("listen.port=0", "http.port=0", "api.port=0")
        arguments = [part for value in (*urls, *free) for part in ("--set", value)]
        assert run("migrate", *arguments).code == Exit.OK
        with Server(tmp_path / "data", *urls) as server:
            assert server.family() == set()
            assert server.get("/readyz")[0] == 200
            assert server.stop() == Exit.OK
        assert not (tmp_path / "data").exists()
        settings = PostgresSettings(url=stores.postgres_url)
        assert migrate(settings).applied == []
        with psycopg.connect(settings.url, autocommit=True) as connection:
            connection.execute(f"SET search_path TO {settings.schema}")
            connection.execute("INSERT INTO applied_migrations VALUES ('gone/0001_a.sql', 'x')")
            ended = run("migrate", *arguments, "--set", "log.format=json")
            (line,) = (json.loads(line) for line in ended.err.splitlines())
            assert (line["event"], line["service"]) == ("tables are left alone", "gone")
            connection.execute("UPDATE applied_migrations SET checksum = 'x'")
        ended = run("serve", *arguments)
        assert ended.code == Exit.MIGRATION
        assert "changed since it was applied" in one_line(ended.err)


async def test_behind_a_pooler_a_killed_server_has_all_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    """The pool hands it sessions that another server, with another schema, has used."""
    with EmbeddedServers(tmp_path / "elsewhere") as stores, ExitStack() as stack:
        pooler = stack.enter_context(transaction_pooler(stores.postgres_url))
        shared = (f"postgres.url={pooler}", f"redis.url={stores.redis_url}")
        ours, theirs = (
            (*shared, f"postgres.schema={name}", f"redis.prefix={name}:")
            for name in ("ours", "theirs")
        )

        async def say(server: Server, text: str) -> None:
            async with connect(server.ws, name="ada", settings=PATIENT) as ada:
                room = await ada.join("lobby")
                for number in range(1, 21):
                    assert (await room.send(f"{text} {number}")).offset == number

        with trio.fail_after(60):
            other = stack.enter_context(
                await trio.to_thread.run_sync(lambda: Server(tmp_path / "b", *theirs))
            )
            with await trio.to_thread.run_sync(lambda: Server(tmp_path / "a", *ours)) as first:
                async with trio.open_nursery() as both:
                    both.start_soon(say, first, "ours")
                    both.start_soon(say, other, "theirs")
                first.kill()
            with await trio.to_thread.run_sync(lambda: Server(tmp_path / "a", *ours)) as again:
                async with connect(again.ws, name="bob", settings=PATIENT) as bob:
                    room = await bob.join("lobby")
                    assert [said.body for said in room.backlog] == [
                        f"ours {number}" for number in range(1, 21)
                    ]


# --- open files ----------------------------------------------------------------------------------


async def _status(port: int, held: list[trio.SocketStream]) -> bytes:
    """Return the status of a handshake; the connection is kept in `held`."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    held.append(stream)
    got = b""
    # Who is turned away unread may find its own request reset, behind the answer.
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(upgrade())
    with contextlib.suppress(trio.BrokenResourceError):
        while b"\r\n\r\n" not in got and (data := await stream.receive_some()):
            got += data
    return got[:12]


def test_with_few_files_all_are_answered_and_so_are_probes(tmp_path: Path) -> None:
    with Server(tmp_path, files=(200, 200)) as server:
        assert "not as many connections as configured: open files" in [
            event["event"] for event in server.events()
        ]
        answers: list[bytes] = []
        held: list[trio.SocketStream] = []

        async def come() -> None:
            answers.append(await _status(server.port, held))

        async def crowd() -> None:
            with trio.fail_after(120):
                async with trio.open_nursery() as nursery:
                    for _ in range(300):
                        nursery.start_soon(come)
                assert (await trio.to_thread.run_sync(server.get, "/healthz"))[0] == 200
                assert (await trio.to_thread.run_sync(server.get, "/readyz"))[0] == 200
                for stream in held:
                    await stream.aclose()

        trio.run(crowd)
        assert set(answers) == {b"HTTP/1.1 101", b"HTTP/1.1 503"}
        assert answers.count(b"HTTP/1.1 101") == 88
        assert server.stop() == Exit.OK
        assert "cannot accept" not in [event["event"] for event in server.events()]


def test_a_low_soft_limit_is_raised(tmp_path: Path) -> None:
    with Server(tmp_path, "wire.max_connections=1000", files=(200, 2000)) as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text(encoding="latin-1")
        assert re.search(r"Max open files\s+2000\s+2000", limits)
        assert "not as many" not in "".join(server.err)
        assert server.stop() == Exit.OK


# --- TLS -----------------------------------------------------------------------------------------


async def test_with_tls_files_it_is_wss(tmp_path: Path) -> None:
    authority = trustme.CA()
    files = authority.issue_cert("localhost", "127.0.0.1")
    files.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    settings = (
        f"listen.tls_certificate={tmp_path / 'cert.pem'}",
        f"listen.tls_key={tmp_path / 'key.pem'}",
    )
    with Server(tmp_path / "data", *settings) as server, trio.fail_after(120):
        assert server.ws.startswith("wss://")
        async with connect(server.ws, name="ada", tls=context, settings=PATIENT) as session:
            room = await session.join("lobby")
            assert (await room.send("in private")).offset == 1


# --- stopping and coming back --------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
async def test_a_stop_leaves_no_child_and_the_next_start_recovers(
    how: signal.Signals, free_port: int, tmp_path: Path
) -> None:
    """A client that stays through the restart goes on, and misses nothing."""
    where = (f"listen.port={free_port}", "server.drain_s=0.2")
    # However long the server was away, the client looks for it again soon.
    settings = ClientSettings(request_timeout_s=60, backoff=ReconnectBackoff(max_s=0.5))
    with trio.fail_after(120):
        first = Server(tmp_path, *where)
        with first:
            family = first.family()
            assert len(family) >= 2  # Valkey, PostgreSQL and PostgreSQL's own
            async with connect(first.ws, name="ada", settings=settings) as ada:
                room = await ada.join("lobby")
                for number in range(1, 6):
                    assert (await room.send(f"message {number}")).offset == number
                if how == signal.SIGKILL:
                    first.kill()
                else:
                    assert await trio.to_thread.run_sync(first.stop, how) == Exit.OK
                assert await trio.to_thread.run_sync(wait_until_gone, family) == set()
                with await trio.to_thread.run_sync(lambda: Server(tmp_path, *where)) as second:
                    async with connect(second.ws, name="bob", settings=PATIENT) as bob:
                        his = await bob.join("lobby")
                        assert [m.body for m in his.backlog] == [
                            f"message {n}" for n in range(1, 6)
                        ]
                        assert [m.offset for m in his.backlog] == [1, 2, 3, 4, 5]
                        assert (await his.send("and on")).offset == 6
                        assert (await room.send("still here")).offset == 7
                        assert [said.body for said in await heard(room, 7)] == [
                            *(f"message {n}" for n in range(1, 6)), "and on", "still here",
                        ]  # fmt: skip
                    # In a thread: the client here has to answer the close.
                    assert await trio.to_thread.run_sync(second.stop) == Exit.OK


async def test_a_second_ctrl_c_hurries(tmp_path: Path) -> None:
    with Server(tmp_path, "server.drain_s=600", "server.stop_timeout_s=700") as server:
        with trio.fail_after(120):
            async with (
                connect(server.ws, name="ada", settings=ClientSettings(give_up_after_s=0.1)),
                connect(server.ws, name="bob", settings=ClientSettings(give_up_after_s=0.1)),
            ):
                server.process.send_signal(signal.SIGINT)
                await trio.sleep(1)
                assert server.process.poll() is None, "it spreads the closes over 600 s"
                assert server.get("/readyz")[0] == 503
                began = time.monotonic()
                assert await trio.to_thread.run_sync(server.stop, signal.SIGINT) == Exit.OK
                assert time.monotonic() - began < 15


def test_a_stop_right_after_the_start_loses_no_message(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:  # the matches that ran are being looked for
        assert server.stop() == Exit.OK
        assert [entry for entry in server.events() if entry["event"] == "dead_letter"] == []


def test_a_signal_after_all_is_done_does_not_change_the_exit_code(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.process.send_signal(signal.SIGTERM)
        while not any(event["event"] == "stopped" for event in server.events()):
            time.sleep(0.001)
            assert server.process.poll() is None
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        assert server.process.returncode == Exit.OK


async def test_a_stop_that_takes_too_long_is_cut_short(tmp_path: Path) -> None:
    limits = ("wire.close_timeout_s=600", "server.stop_timeout_s=1")
    with Server(tmp_path, *limits) as server:
        family = server.family()
        held: list[trio.SocketStream] = []
        with trio.fail_after(120):
            assert await _status(server.port, held) == b"HTTP/1.1 101"
            # Whoever it is never answers the close.
            assert await trio.to_thread.run_sync(server.stop) == Exit.CUT_SHORT
            assert await trio.to_thread.run_sync(wait_until_gone, family) == set()
            await held[0].aclose()
    assert "greenroom: ended by force: stopping took longer than 1 s" in server.err


async def test_a_stop_that_cannot_save_all_ends_in_time_and_says_so(tmp_path: Path) -> None:
    """PostgreSQL is frozen: the server waits for its writer, and at last must kill PostgreSQL."""
    limits = ("journal.drain_s=0.2", "server.stop_timeout_s=12")
    server = await trio.to_thread.run_sync(lambda: Server(tmp_path, *limits))
    with server, trio.fail_after(60):
        settings = ClientSettings(give_up_after_s=0.1, request_timeout_s=0.5)
        async with connect(server.ws, name="ada", settings=settings) as ada:
            room = await ada.join("lobby")
            await room.send("kept")
            family = server.family()  # with what has been connected to by now
            for pid in family:
                if Path(f"/proc/{pid}/comm").read_text("utf-8") == "postgres\n":
                    os.kill(pid, signal.SIGSTOP)
            with pytest.raises(RequestTimedOut):
                await room.send("never acknowledged")
            # Neither a success nor ended by force, which would leave a frozen child behind.
            assert await trio.to_thread.run_sync(server.stop) == Exit.UNSAVED
        assert await trio.to_thread.run_sync(wait_until_gone, family) == set()
    last = server.events()[-1]
    assert (last["saved"], last["killed"]) == (False, ["PostgreSQL"])


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3])
def test_a_stop_while_it_starts_leaves_no_child(after_s: float, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "server.py", *flags(*alone_in(tmp_path))],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        # The lock is the first thing it takes; importing is over by then.
        while not (tmp_path / "lock").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(after_s)
        family = descendants(process.pid)
        process.terminate()
        assert process.wait(30) == Exit.OK
        assert wait_until_gone(family) == set()


@pytest.mark.parametrize("program", [["server.py"], ["-m", "protocol.client"]], ids=" ".join)
def test_ctrl_c_before_it_has_begun_prints_nothing(program: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, *program],
        cwd=ROOT,
        env=environment() | {"GREENROOM_SERVER__DATA_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        # The first of its libraries is there: the others are being imported.
        maps = Path(f"/proc/{process.pid}/maps")
        while "msgspec" not in maps.read_text("utf-8") and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (out, err) == ("", "")


def full_pipe() -> tuple[int, int]:
    """A pipe that nobody reads and that takes no more."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, bytes(4096))
    os.set_blocking(write_end, True)
    return read_end, write_end


def test_a_log_that_nobody_reads_stops_no_server(tmp_path: Path) -> None:
    read_end, write_end = full_pipe()
    process = subprocess.Popen(
        [
            *[sys.executable, "server.py", *flags(*alone_in(tmp_path))],
            *flags("log.queue_bytes=4096", "log.level=debug"),
        ],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=write_end,
        text=True,
    )
    os.close(write_end)
    with process:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], 60)[0]:
            process.kill()
        found = BANNER.match(process.stdout.readline())
        assert found is not None, "it hangs"
        for _ in range(3):
            with urllib.request.urlopen(f"{found['http']}/healthz", timeout=10) as answer:
                assert answer.status == 200
        process.terminate()
        assert process.wait(30) == Exit.OK
    os.close(read_end)


@pytest.mark.parametrize("err", ["apart", "the same pipe"])
def test_an_output_that_nobody_reads_stops_no_server(
    err: str, free_port: int, tmp_path: Path
) -> None:
    """As in `greenroom 2>&1 | reader`, when the reader stalls."""
    read_end, write_end = full_pipe()
    process = subprocess.Popen(
        [
            *[sys.executable, "server.py", "--set", f"server.data_dir={tmp_path}"],
            *["--set", "listen.port=0", "--set", f"http.port={free_port}"],
        ],
        cwd=ROOT,
        env=environment(),
        stdout=write_end,
        stderr=write_end if err != "apart" else subprocess.DEVNULL,
    )
    os.close(write_end)
    with process:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/readyz", timeout=10):
                    break
            except OSError:
                if time.monotonic() > deadline:
                    process.kill()
                    raise
                time.sleep(0.05)
        process.terminate()
        try:
            assert process.wait(30) == Exit.OK
        finally:
            process.kill()
    os.close(read_end)


def test_an_error_line_that_nobody_reads_keeps_no_process_from_ending() -> None:
    read_end, write_end = full_pipe()
    ended = subprocess.run(
        [sys.executable, "server.py", "check-config", "--set", "listen.port=none"],
        cwd=ROOT, env=environment(), stderr=write_end, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == Exit.CONFIG
    os.close(write_end)
    os.close(read_end)


def test_a_start_that_hangs_is_ended_in_the_time_for_a_stop() -> None:
    program = (
        "import os\n"
        "from actors.node.stopping import Signals, Stopping\n"
        "Stopping(Signals(), drain_s=0, limit_s=0.2, forced_exit=8)\n"
        "print('hangs', flush=True)\n"
        "os.read(os.pipe()[0], 1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == Exit.CUT_SHORT
    assert err == "greenroom: ended by force: stopping took longer than 0.2 s\n"


def test_a_log_that_nobody_reads_does_not_keep_a_process_from_being_ended(tmp_path: Path) -> None:
    read_end, write_end = full_pipe()
    program = (
        "from actors.node.stopping import Signals, Stopping\n"
        "Stopping(Signals(), drain_s=0, limit_s=1, forced_exit=8)._end('why')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stderr=write_end, timeout=30, check=False
    )
    assert ended.returncode == Exit.CUT_SHORT
    os.close(write_end)
    os.close(read_end)


# --- without what it needs -----------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["check-config"]], ids=" ".join)
def test_a_python_without_our_packages_is_told_which_has_them(arguments: list[str]) -> None:
    """Such as the system's Python, beside the checkout's virtual environment."""
    bare = [sys.executable, "-S", "server.py"]  # -S: without site-packages
    ended = subprocess.run(
        [*bare, *arguments],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == Exit.INCOMPLETE == server.INCOMPLETE
    assert re.match(r"greenroom needs the package \w+, which \S*python\S* has not; ", line)
    assert line.endswith("make run sets all up, and then .venv/bin/python server.py has it")


MODULES = {"argon2_cffi": "argon2", "pyjwt": "jwt"}
"""Packages that are imported by another name."""


def test_every_package_that_the_command_needs_is_known_to_be_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["server"], *extras["stores"]]
    names = {re.split(r"[\[>=]", name)[0].replace("-", "_") for name in named}
    names = {MODULES.get(name, name) for name in names}
    assert names - {"greenroom"} <= server.PACKAGES


def test_an_older_python_is_told_which_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    before = signal.getsignal(signal.SIGINT)
    try:
        assert server.main(["--version"]) == Exit.INCOMPLETE
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_help_names_what_a_signal_in_the_first_moments_ends_with() -> None:
    said = run("--help").out
    codes = [128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert ", ".join(map(str, codes)) in said
