"""The whole way: a client's socket, the gateway, sessions, rooms, the real stores, and back."""

from __future__ import annotations

import contextlib
import os
import signal

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed

from actors.chat.settings import RoomSettings
from actors.edge.settings import SessionSettings
from actors.edge.topic_messages import RemovedFromTopic
from persistence import PostgresSettings, RedisSettings
from protocol import frames
from protocol.codec import JSON, MSGPACK, Encoding
from protocol.messages.envelope import ErrorReply, Ok, Position
from protocol.messages.room import (
    History,
    RoomHistory,
    RoomJoin,
    RoomJoined,
    RoomLeft,
    RoomMembers,
    RoomMessage,
    RoomRecovered,
    RoomRestarted,
    RoomSend,
    RoomState,
    Sent,
)
from protocol.messages.session import Ping, SessionClose
from protocol.server.settings import WireSettings
from tests.actors.served import LIMIT_S, serve, until
from tests.conftest import Stores
from tests.protocol.live import masked, upgrade


@pytest.mark.parametrize("encoding", [MSGPACK, JSON])
async def test_two_players_chat(
    postgres: PostgresSettings, redis: RedisSettings, unique: str, encoding: Encoding
) -> None:
    async with (
        serve(postgres, redis) as served,
        served.guest("ada") as ada,
        served.guest("bob", encoding) as bob,
    ):
        first: RoomState = await ada.ask(RoomJoin(room=unique))
        assert (first.epoch, first.offset, first.members_total) == (1, 0, 1)
        await bob.ask(RoomJoin(room=unique))
        assert (await ada.push(RoomJoined)).member.name == "bob"
        sent: Sent = await ada.ask(RoomSend(room=unique, body="héllo"))
        for player in (ada, bob):
            push = await player.push(RoomMessage)
            assert (push.offset, push.name, push.body) == (sent.offset, "ada", "héllo")
        history: History = await bob.ask(RoomHistory(room=unique))
        assert [message.body for message in history.messages] == ["héllo"]
        await bob.ask(SessionClose())
        assert (await bob.closed())[0] == 1000
        assert (await ada.push(RoomLeft)).member.name == "bob"


async def test_what_was_acknowledged_is_there_after_a_restart(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    rooms = RoomSettings(recent=5)
    async with serve(postgres, redis, rooms=rooms) as served, served.guest("ada") as ada:
        token = ada.token
        joined: RoomState = await ada.ask(RoomJoin(room=unique))
        for number in range(1, 21):
            sent: Sent = await ada.ask(RoomSend(room=unique, body=f"{number}", key=f"{number}"))
            assert sent.offset == number
    async with serve(postgres, redis, rooms=rooms) as served, served.caller() as ada:
        opened = await ada.resume(token, **{unique: Position(joined.epoch, 17)})
        assert not opened.resumed
        recovered = await ada.push(RoomRecovered)
        assert recovered.recovered
        assert [message.offset for message in recovered.messages] == [18, 19, 20]
        again: Sent = await ada.ask(RoomSend(room=unique, body="3", key="3"))
        assert again.offset == 3
        history: History = await ada.ask(RoomHistory(room=unique, limit=100))
        assert [message.body for message in history.messages] == [f"{n}" for n in range(1, 21)]
        assert not history.more


async def test_a_client_that_broke_off_gets_what_it_missed(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with serve(postgres, redis) as served, served.guest("bob") as bob:
        await bob.ask(RoomJoin(room=unique))
        async with served.guest("ada") as ada:
            token = ada.token
            state: RoomState = await ada.ask(RoomJoin(room=unique))
            ada.stream.socket.close()  # as a network breaks
        await bob.ask(RoomSend(room=unique, body="missed"))
        async with served.caller(JSON) as ada:
            opened = await ada.resume(token, **{unique: Position(state.epoch, state.offset)})
            assert opened.resumed
            recovered = await ada.push(RoomRecovered)
            assert [message.body for message in recovered.messages] == ["missed"]
            assert recovered.recovered
            await bob.ask(RoomSend(room=unique, body="live"))
            assert (await ada.push(RoomMessage)).body == "live"


async def test_a_newer_connection_takes_the_session_over(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with (
        serve(postgres, redis) as served,
        served.guest("ada") as older,
        served.caller() as newer,
    ):
        state: RoomState = await older.ask(RoomJoin(room=unique))
        opened = await newer.resume(older.token, **{unique: Position(state.epoch, state.offset)})
        assert opened.resumed
        assert await older.closed() == (4500, "taken_over")
        assert (await newer.push(RoomRecovered)).recovered
        assert (await newer.ask(RoomMembers(room=unique))).members_total == 1


async def test_a_crash_of_a_room_is_felt_there_only(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    here, elsewhere = f"{unique}-a", f"{unique}-b"
    async with (
        serve(postgres, redis) as served,
        served.guest("ada") as ada,
        served.guest("bob") as bob,
    ):
        await ada.ask(RoomJoin(room=here))
        await bob.ask(RoomJoin(room=elsewhere))
        await ada.ask(RoomSend(room=here, body="before"))
        served.break_room(here)
        restarted = await ada.push(RoomRestarted)
        assert (restarted.epoch, restarted.offset) == (2, 1)
        assert (await ada.ask(RoomSend(room=here, body="after"))).offset == 2
        assert (await bob.ask(RoomSend(room=elsewhere, body="calm"))).offset == 1
        assert (await bob.push(RoomMessage)).body == "calm"
        assert bob.pushes == []


# --- bad input -----------------------------------------------------------------------------------

BAD = {
    "unknown op": ({"op": "room.explode", "ref": 7}, "unknown_op", 7),
    "no op": ({"ref": 7}, "bad_message", 7),
    "missing field": ({"op": "room.join", "ref": 7}, "bad_message", 7),
    "wrong type": ({"op": "room.join", "ref": 7, "room": 5}, "bad_message", 7),
    "number out of range": (
        {"op": "room.history", "ref": 7, "room": "r", "before": -1},
        "bad_message",
        7,
    ),
    "ref out of range": ({"op": "ping", "ref": -1}, "bad_message", None),
    "empty body": ({"op": "room.send", "ref": 7, "room": "r", "body": ""}, "bad_message", 7),
    "a name no room has": ({"op": "room.join", "ref": 7, "room": "a/b"}, "bad_message", 7),
    "not a map": ([1, 2, 3], "bad_message", None),
}


@pytest.mark.parametrize("encoding", [MSGPACK, JSON])
async def test_bad_input_is_answered_by_name_and_nobody_else_notices(
    postgres: PostgresSettings, redis: RedisSettings, unique: str, encoding: Encoding
) -> None:
    codec = msgspec.msgpack if encoding is MSGPACK else msgspec.json
    async with (
        serve(postgres, redis) as served,
        served.guest("mallory", encoding) as mallory,
        served.guest("ada") as ada,
    ):
        for case, (message, code, ref) in BAD.items():
            payload = codec.encode(message)
            await mallory.send(payload if encoding is MSGPACK else payload.decode())
            reply = await mallory.reply()
            assert (reply.ref, getattr(reply, "code", None)) == (ref, code), case
        for request, code in (
            (RoomSend(room=unique, body="x"), "not_joined"),
            (RoomHistory(room=unique, limit=10_000), "not_joined"),
            (RoomJoin(room=unique), ""),
            (RoomHistory(room=unique, limit=10_000), "out_of_range"),
            (RoomSend(room=unique, body="x" * 5000), "too_long"),
        ):
            assert not code or await mallory.refused(request) == code
            if not code:
                await mallory.ask(request)
        nested = (
            b"\x81\xa2op" + b"\x91" * 5000 + b"\xc0"
            if encoding is MSGPACK
            else '{"op":' + "[" * 5000 + "]" * 5000 + "}"
        )
        await mallory.send(nested)
        assert getattr(await mallory.reply(), "code", None) == "bad_message"
        assert await mallory.ask(Ping())
        await ada.ask(RoomJoin(room=unique))
        assert ada.pushes == []


async def test_text_that_is_not_utf_8_is_a_bad_message(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with serve(postgres, redis) as served, served.guest("mallory") as mallory:
        await mallory.send(b"\x82\xa2op\xa9room.join\xa4room\xa2\xff\xfe")
        assert getattr(await mallory.reply(), "code", None) == "bad_message"
        assert await mallory.ask(Ping())


@pytest.mark.parametrize(
    ("encoding", "payload", "close"),
    [
        (MSGPACK, "text", (1003, "unsupported_data")),
        (JSON, b"binary", (1003, "unsupported_data")),
        (MSGPACK, b"x" * (WireSettings().max_message_bytes + 1), (1009, "too_big")),
    ],
)
async def test_what_is_not_the_protocol_is_closed_by_name(
    postgres: PostgresSettings,
    redis: RedisSettings,
    encoding: Encoding,
    payload: bytes | str,
    close: tuple[int, str],
) -> None:
    async with (
        serve(postgres, redis) as served,
        served.guest("ada") as ada,
        served.guest("mallory", encoding) as mallory,
    ):
        await mallory.send(payload)
        code, reason = await mallory.closed()
        assert (code, reason.partition(":")[0]) == close
        assert await ada.ask(Ping())


async def test_before_a_session_there_is_only_opening_one(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with serve(postgres, redis) as served, served.caller() as caller:
        assert await caller.refused(Ping()) == "no_session"
        assert await caller.refused(RoomJoin(room=unique)) == "no_session"
        await caller.open("ada")
        assert await caller.ask(Ping())


async def test_a_ref_cannot_be_used_twice_at_once(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with serve(postgres, redis) as served, served.guest("ada") as ada:
        await ada.ask(RoomJoin(room=unique))
        # One write, so that both are handled before a commit can be over.
        send = MSGPACK.encode(RoomSend(ref=7, room=unique, body="x"))
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(ada.send, send)
        replies = [await ada.reply(), await ada.reply()]
        assert sorted(getattr(reply, "code", "ok") for reply in replies) in (
            ["ok", "ref_in_use"],
            ["ok", "ok"],  # the first was durable before the second was read
        )
        assert {reply.ref for reply in replies} == {7}


# --- bad luck ------------------------------------------------------------------------------------


async def test_a_client_that_says_nothing_is_let_go(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    wire = WireSettings(first_message_timeout_s=0.3)
    async with (
        serve(postgres, redis, wire=wire) as served,
        served.caller() as silent,
        served.guest("ada") as ada,
    ):
        assert await silent.closed() == (4005, "no_session_in_time")
        assert await ada.ask(Ping())


async def test_a_client_that_floods_is_closed(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    sessions = SessionSettings(messages_per_s=100, messages_burst=50, flooding_s=0.5)
    async with (
        serve(postgres, redis, sessions=sessions) as served,
        served.guest("mallory") as mallory,
        served.guest("ada") as ada,
    ):
        ping = MSGPACK.encode(Ping(ref=1))

        async def flood() -> None:
            try:
                for _ in range(10_000):
                    await mallory.send(ping)
            except ConnectionClosed:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            assert await mallory.closed() == (4501, "flooding")
        assert served.sessions.flooded == 1
        assert await ada.ask(Ping())


async def test_a_client_whose_message_never_ends_is_closed_as_flooding(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    wire = WireSettings(close_timeout_s=0.1)
    async with serve(postgres, redis, wire=wire) as served, served.guest("ada") as ada:
        begun, more = (masked(code, b"", fin=False) for code in (frames.BINARY, frames.CONT))
        with trio.fail_after(LIMIT_S), contextlib.suppress(trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
                await stream.send_all(upgrade() + begun)
                while True:  # it reads nothing, so that the server resets it in the end
                    await stream.send_all(more * 1000)
        assert served.sessions.flooded == 1
        assert await ada.ask(Ping())


async def test_a_message_in_fragments_counts_as_many(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    sessions = SessionSettings(messages_per_s=1.0, messages_burst=10)
    async with serve(postgres, redis, sessions=sessions) as served, served.guest("ada") as ada:
        ping = MSGPACK.encode(Ping(ref=1))
        for whole in ([ping[:3], ping[3:5], ping[5:]], [ping[:1], *[b""] * 7, ping[1:]]):
            for place, part in enumerate(whole):
                opcode = frames.CONT if place else frames.BINARY
                await ada.stream.send_all(masked(opcode, part, fin=place == len(whole) - 1))
        first, second = await ada.reply(), await ada.reply()
        assert isinstance(first, Ok)
        assert isinstance(second, ErrorReply)
        assert second.code == "rate_limited"


async def test_a_client_that_half_closes_can_come_back(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with (
        serve(postgres, redis) as served,
        served.guest("ada") as ada,
        served.caller() as again,
    ):
        state: RoomState = await ada.ask(RoomJoin(room=unique))
        await ada.stream.send_eof()
        assert (await ada.closed())[0] == 1000
        await until(lambda: len(served.gateway.connections) == 1)
        opened = await again.resume(ada.token, **{unique: Position(state.epoch, 0)})
        assert opened.resumed


async def test_a_client_that_never_reads_is_let_go_and_others_get_everything(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    sessions = SessionSettings(messages_per_s=0, bytes_per_s=0)
    wire = WireSettings(outbox_bytes=65_536)
    rooms = RoomSettings(answer_bytes=16_384, recent=16)
    async with (
        serve(postgres, redis, sessions=sessions, rooms=rooms, wire=wire) as served,
        served.guest("slow") as slow,
        served.guest("ada") as ada,
        served.guest("bob") as bob,
    ):
        state: RoomState = await slow.ask(RoomJoin(room=unique))
        for player in (ada, bob):
            await player.ask(RoomJoin(room=unique))
        count = 0
        # The kernel's buffers hold some megabytes before anything stays with us. The slow one has
        # `close_timeout_s` from then on to read what is left, so nothing more is sent.
        connections = served.gateway.connections
        while not any(each.closed for each in connections.values()) and count < 8000:
            count += 1
            # Asked for: of those that are only told, what is over what a session may have under way
            # is dropped, as long as PostgreSQL takes its time.
            assert (await ada.ask(RoomSend(room=unique, body="x" * 4000))).offset == count
            assert (await ada.push(RoomMessage)).offset == count
            assert (await bob.push(RoomMessage)).offset == count
        assert (await slow.closed())[0] == 4001
        async with served.caller() as again:
            opened = await again.resume(slow.token, **{unique: Position(state.epoch, 0)})
            assert opened.resumed
            recovered = await again.push(RoomRecovered)
            assert recovered.offset == count
            assert not recovered.recovered
            assert [message.offset for message in recovered.messages][-1] == count


async def test_a_session_that_crashes_is_resumed(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with (
        serve(postgres, redis) as served,
        served.guest("ada") as ada,
        served.guest("bob") as bob,
        served.caller() as again,
    ):
        state: RoomState = await ada.ask(RoomJoin(room=unique))
        await bob.ask(RoomJoin(room=unique))
        for ref in served.system.actors("session"):
            if served.topics.members(f"room:{unique}")[0].who.session == ref.key:
                ref.tell(RemovedFromTopic(topic=["not hashable"]))  # type: ignore[arg-type]  # that is the point
        assert await ada.closed() == (4003, "session_failed")
        await bob.ask(RoomSend(room=unique, body="meanwhile"))
        opened = await again.resume(ada.token, **{unique: Position(state.epoch, state.offset)})
        assert not opened.resumed
        assert opened.user == ada.user
        recovered = await again.push(RoomRecovered)
        assert [message.body for message in recovered.messages] == ["meanwhile"]


async def test_a_store_that_dies_and_comes_back_loses_nothing_acknowledged(
    stores: Stores, postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    sessions = SessionSettings(ask_timeout_s=30.0)
    async with serve(postgres, redis, sessions=sessions) as served, served.guest("ada") as ada:
        token = ada.token
        state: RoomState = await ada.ask(RoomJoin(room=unique))
        assert (await ada.ask(RoomSend(room=unique, body="before", key="1"))).offset == 1
        os.kill(stores.servers.pids["PostgreSQL"], signal.SIGKILL)
        await ada.tell(RoomSend(ref=77, room=unique, body="meanwhile", key="2"))
        assert (await ada.push(RoomMessage)).body == "before"
        assert (await ada.push(RoomMessage)).body == "meanwhile"
        await until(lambda: "PostgreSQL" in stores.servers.revive())
        reply = await ada.reply()
        assert isinstance(reply, Ok)
        assert (reply.ref, reply.data["offset"]) == (77, 2)
    async with serve(postgres, redis) as served, served.caller() as ada:
        await ada.resume(token, **{unique: Position(state.epoch, 0)})
        recovered = await ada.push(RoomRecovered)
        assert recovered.recovered
        assert [message.body for message in recovered.messages] == ["before", "meanwhile"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ('{"op":"nope"}', "unknown_op"),
        ('{"op":"room.send","room":5,"body":"x"}', "bad_message"),
        ('{"op":"room.send","ref":null,"room":"lobby"}', "bad_message"),
        ("[]", "bad_message"),
    ],
)
async def test_what_is_no_request_is_answered_though_it_bears_no_ref(
    postgres: PostgresSettings, redis: RedisSettings, sent: str, code: str
) -> None:
    async with serve(postgres, redis) as served, served.guest("ada", JSON) as ada:
        await ada.send(sent)
        reply = await ada.reply()
        assert isinstance(reply, ErrorReply)
        assert (reply.ref, reply.code) == (None, code)
        await ada.tell(RoomSend(room="nowhere", body="x"))  # a request, which fails, and is not
        assert await ada.refused(RoomSend(room="nowhere", body="x")) == "not_joined"
