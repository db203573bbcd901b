"""PROTOCOL.md says what the code does: ops, fields, limits, errors, closes, and the examples."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

import protocol
from actors.accounts.settings import AccountSettings
from actors.audit.settings import AuditSettings
from actors.chat.settings import RoomSettings
from actors.edge.settings import SessionSettings
from actors.friends.settings import FriendSettings
from actors.inbox.settings import InboxSettings
from actors.matches.settings import MatchSettings
from actors.storage.settings import StorageSettings
from protocol.codec import ENCODINGS, JSON, MAX_DEPTH, MSGPACK
from protocol.errors import ERRORS
from protocol.messages import EVERY_OP
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.match import MatchJoin
from protocol.messages.room import RoomJoin
from protocol.server.handshake import RETRY_AFTER_S
from protocol.server.settings import WireSettings
from protocol.tables import OutOfPlace, without_meaning, written

TEXT = (Path(protocol.__file__ or "").parent / "PROTOCOL.md").read_text(encoding="utf-8")
ANY_REQUEST = "Errors of any request"


@cache
def sections() -> dict[str, str]:
    """Heading (of any level, without backticks) -> the text up to the next heading."""
    pieces = re.split(r"(?m)^#{1,4} (.+)$", TEXT)
    headings = [heading.replace("`", "") for heading in pieces[1::2]]
    assert len(set(headings)) == len(headings), "two sections of one name"
    return dict(zip(headings, pieces[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of a section's only table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_tables_are_as_the_code_has_them() -> None:
    assert written(TEXT) == TEXT, "write them by: python -m protocol.tables"


def test_a_message_gets_its_table_under_its_heading_and_keeps_its_meanings() -> None:
    """An op that was just added has a heading and prose, but no table and no answer yet."""
    section = sections()["room.join"]
    bare = re.sub(r"(?m)^\|.*\n", "", section).replace("Answer: `RoomState`.", "")
    bare = re.sub(r" ?Errors: .*\n", "\n", bare)
    again = written(TEXT.replace(section, bare))
    table = "| field | type | meaning |\n|---|---|---|\n| `room` | string, "
    assert table in again
    assert "Answer: `RoomState`. Errors: `room_full`, `too_many_topics`, `unknown_room`." in again
    meaning = "| its name |"
    assert meaning in section
    assert meaning in written(TEXT.replace("| `room` | string,", "| `room` | number,"))


def test_every_field_has_a_meaning() -> None:
    assert without_meaning(TEXT) == []
    assert without_meaning(TEXT.replace("| its name |", "|  |")) == ["room.join: room"]


def test_what_is_made_for_an_op_stands_before_its_examples() -> None:
    """It does so even if the examples were written first."""
    for op in ("room.join", "inbox.join"):
        section = sections()[op]
        bare = section[: section.index("\n\n")] + "\n\n" + section[section.index("```") :]
        bare = re.sub(r"(?m)^\|.*\n", "", bare)
        made = written(TEXT.replace(section, bare)).partition(f"### `{op}`\n")[2]
        prose = made.partition("```")[0]
        assert "Answer: `" in prose, op
        assert ("| `room` |" in prose) or ("No fields of its own." in prose), op


def test_what_may_be_sent_again_is_as_the_ops_have_it() -> None:
    named = re.search(r"Send again only .+?\.\n", TEXT, re.DOTALL)
    assert named is not None
    assert set(re.findall(r"`([a-z]+(?:\.[a-z_]+)?)`", named[0])) - {"key"} == {
        name for name, op in EVERY_OP.ops.items() if op.repeat != "acts again"
    }
    assert written(TEXT.replace(named[0], "Send again only `ping`.\n")) == TEXT


def test_an_example_in_json_gets_its_bytes() -> None:
    section = sections()["room.join"]
    bare = re.sub(r"```hex\n.+?\n```\n", "", section, flags=re.DOTALL)
    assert bare.count("```") == section.count("```") // 2
    assert written(TEXT.replace(section, bare)) == TEXT
    wrong = section.replace("```hex\n8", "```hex\n9")
    assert written(TEXT.replace(section, wrong)) == TEXT
    with pytest.raises(OutOfPlace, match="no JSON"):
        written(TEXT.replace(section, section.replace('{"op"', "{op")))


def test_a_message_without_a_heading_is_named() -> None:
    with pytest.raises(OutOfPlace, match=r"room\.join"):
        written(TEXT.replace("### `room.join`", "### Joining"))


def test_no_section_is_about_something_that_does_not_exist() -> None:
    ops = {name for name in sections() if re.fullmatch(r"[a-z]+(\.[a-z_]+)?", name)}
    assert ops - {"ok", "error"} == set(EVERY_OP.requests) | set(EVERY_OP.pushes)


def test_every_error_is_said_to_come_from_somewhere() -> None:
    named = set(re.findall(r"`(\w+)`", sections()[ANY_REQUEST]))
    for op in EVERY_OP.requests:
        named |= set(re.findall(r"`(\w+)`", sections()[op].partition("Errors:")[2]))
    assert set(ERRORS) <= named


def examples() -> list[tuple[str, str, str]]:
    """(section, JSON, hex) of every example."""
    found = []
    for name, text in sections().items():
        pairs = re.findall(r"```json\n(.+?)\n```\n+```hex\n(.+?)\n```", text, re.DOTALL)
        assert len(pairs) == text.count("```json") == text.count("```hex"), name
        found += [(name, *pair) for pair in pairs]
    return found


@pytest.mark.parametrize(("name", "text", "dump"), examples())
def test_every_example_is_the_same_valid_message_in_both_encodings(
    name: str, text: str, dump: str
) -> None:
    payload = bytes.fromhex(dump)
    plain: dict[str, Any] = json.loads(text)
    assert msgpack.unpackb(payload) == plain

    if plain["op"] in EVERY_OP.requests:
        request = JSON.decode_request(text)
        assert request == MSGPACK.decode_request(payload)
        known = set(EVERY_OP.requests[plain["op"]].__struct_fields__)
    else:
        message = JSON.decode_server(text)
        assert message == MSGPACK.decode_server(payload)
        known = set(type(message).__struct_fields__)
        data = EVERY_OP.answers.get(name)
        if isinstance(message, Ok) and data is not None:
            converted = msgspec.convert(message.data, data)
            assert msgspec.to_builtins(converted) == message.data, "unknown or missing fields"
        if isinstance(message, ErrorReply):
            row = ERRORS[message.code]
            assert message.retry is row.retry
    assert set(plain) - {"op"} <= known


def test_every_message_has_an_example() -> None:
    shown = {(name, json.loads(text)["op"]) for name, text, _ in examples()}
    for op in EVERY_OP.requests:
        assert {(op, op), (op, "ok")} <= shown
    for op in EVERY_OP.pushes:
        assert (op, op) in shown
    assert ("error", "error") in shown


def test_the_limits_are_the_defaults_of_the_settings() -> None:
    wire, session, room, match = WireSettings(), SessionSettings(), RoomSettings(), MatchSettings()
    inbox = InboxSettings()
    storage, friends = StorageSettings(), FriendSettings()
    account = AccountSettings()
    table = {row[0]: row[1] for row in rows(sections()["Limits"])}
    expected: dict[str, tuple[float, str]] = {
        "One message of a client": (wire.max_message_bytes, "bytes"),
        "A chat message": (room.body_bytes, "bytes of UTF-8"),
        "Nesting of `params` and `input`": (MAX_DEPTH, "levels"),
        "Requests being answered, a session": (session.in_flight, "at once"),
        "The same, all sessions of one address": (session.address_in_flight, "at once"),
        "Requests, a session": (session.messages_per_s, "a second"),
        "Requests after a pause, a session": (session.messages_burst, "at once"),
        "Requests, all sessions of one address": (session.address_messages_per_s, "a second"),
        "The same after a pause, all of one address": (session.address_messages_burst, "at once"),
        "Bytes of requests, a session": (session.bytes_per_s, "a second"),
        "Pushes to others, a session": (session.deliveries_per_s, "a second"),
        "The same after a pause": (session.deliveries_burst, "at once"),
        "Pushes to others, all sessions of one address": (
            session.address_deliveries_per_s,
            "a second",
        ),
        "Pushes to others, all sessions together": (session.deliveries_all_per_s, "a second"),
        "Topics, a session": (session.topics, "at once"),
        "Topics joined that are not in memory, or matches created, a session": (
            session.activations_per_s,
            "a second",
        ),
        "Of these after a pause": (session.activations_burst, "at once"),
        "Of these, all sessions of one address": (session.address_activations_per_s, "a second"),
        "Of these, all sessions together": (session.activations_all_per_s, "a second"),
        "Sessions in a room": (room.members, "at once"),
        "Members named in an answer": (room.members_listed, "users"),
        "Joins and leaves that are pushes of their own, in a room of": (
            room.presence_each,
            "users",
        ),
        "Names in a room.presence, in a room of": (room.presence_named, "users"),
        "Messages in the answer to a join": (room.joined_messages, "messages"),
        "Messages a resume can bridge": (room.recent, "messages"),
        "Messages in one answer, their bodies": (room.answer_bytes, "bytes of UTF-8"),
        "`limit` of `room.history`": (room.history_limit, "messages"),
        "Keyed sends remembered, a room": (room.keys, "keys"),
        "Matches that one user had made and that run": (match.max_matches_of_user, "at once"),
        "The same, all clients of one address": (match.max_matches_of_address, "at once"),
        "A match that nobody has joined ends after": (match.unjoined_after_s, "seconds"),
        "`params` of a match": (match.params_bytes, "bytes of msgpack"),
        "Keys of ended matches": (match.ended_keys, "keys"),
        "Answers to inputs remembered, a player of a match": (match.answers, "inputs"),
        "Events a resume can bridge, a match": (match.recent_events, "events"),
        "The same, as JSON": (match.value_bytes, "bytes"),
        "A game's `state`, `result`, or `data` of an event": (match.value_bytes, "bytes"),
        "`limit` of `match.list`": (match.list_limit, "matches"),
        "`payload` of an entry of an inbox": (inbox.payload_bytes, "bytes of msgpack"),
        "Entries in the answer to a join": (inbox.joined_entries, "entries"),
        "Entries a resume can bridge": (inbox.recent, "entries"),
        "Entries in one answer, their payloads": (inbox.answer_bytes, "bytes of msgpack"),
        "`limit` of `inbox.history`": (inbox.history_limit, "entries"),
        "Entries kept, a user": (inbox.kept, "entries"),
        "Entries kept for": (inbox.kept_s / 86_400, "days"),
        "A place kept without a session": (match.rejoin_within_s, "seconds"),
        "Friends of one user": (friends.friends, "friends"),
        "Requests of one user without an answer": (friends.requested, "requests"),
        "Requests that wait for one user's answer": (friends.asked, "requests"),
        "Users that one user has blocked": (friends.blocks, "users"),
        "`limit` of `friend.list` and of what is like it": (friends.list_limit, "users"),
        "A value of an object": (storage.object_bytes, "bytes of UTF-8"),
        "Objects of one request": (storage.batch, "objects"),
        "`limit` of `storage.list`": (storage.list_limit, "objects"),
        "`limit` of `audit.list`": (AuditSettings().list_limit, "entries"),
        "Accounts of one `account.read`": (account.read_batch, "accounts"),
        "`limit` of `account.search`": (account.list_limit, "accounts"),
        "A username, at least": (account.username_least, "characters"),
        "A username, at most": (account.username_most, "characters"),
        "The address of an avatar": (account.avatar_url_characters, "characters"),
        "Metadata of an account, the public and the private ones each": (
            account.metadata_bytes,
            "bytes of UTF-8",
        ),
        "Objects in one answer, their values and names": (storage.answer_bytes, "bytes of UTF-8"),
        "Objects of one user": (storage.user_objects, "objects"),
        "The same, their values and names": (storage.user_bytes, "bytes of UTF-8"),
        "What waits to be sent to one client": (wire.outbox_bytes, "bytes"),
        "Of this, answers to requests and to a resume": (wire.outbox_bytes // 2, "bytes"),
        "Time in which a client reads nothing of it": (wire.stalled_s, "seconds"),
        "What waits for all clients of one address": (wire.address_backlog_bytes, "bytes"),
        "What waits for all clients together": (wire.backlog_bytes, "bytes"),
        "Head of the handshake request": (wire.max_header_bytes, "bytes"),
        "Time for the handshake": (wire.handshake_timeout_s, "seconds"),
        "Time from the handshake to a session": (wire.first_message_timeout_s, "seconds"),
        "Between two pings of the server": (wire.keepalive_s, "seconds"),
        "Silence after which a client has vanished": (wire.keepalive_timeout_s, "seconds"),
        "Pings and pongs of a client": (wire.control_frames_per_s, "a second"),
        "Connections of one address": (wire.address_connections, "at once"),
        "New connections of one address": (wire.address_connects_per_s, "a second"),
        "New connections of one address after a pause": (wire.address_connects_burst, "at once"),
        "Sessions of one address": (session.address_sessions, "at once"),
        "New sessions of one address": (session.address_opens_per_s, "a second"),
        "New sessions of one address after a pause": (session.address_opens_burst, "at once"),
        "Resumes of one address": (session.address_resumes_per_s, "a second"),
        "Resumes of one address after a pause": (session.address_resumes_burst, "at once"),
        "A session without a connection": (session.resume_within_s, "seconds"),
        "A token": (session.token_valid_s / 86_400, "days"),
    }
    assert table == {name: f"{value:,g} {unit}" if value < 1e5 else f"{int(value):,} {unit}"
                     for name, (value, unit) in expected.items()}  # fmt: skip


def test_whoever_comes_can_join_all_it_may_at_once() -> None:
    settings = SessionSettings()
    joins = settings.topics * max(EVERY_OP.costs[RoomJoin], EVERY_OP.costs[MatchJoin])
    assert joins < settings.messages_burst


def test_the_handshake_is_as_the_server_makes_it() -> None:
    text = sections()["The handshake"]
    assert all(f"`{subprotocol}`" in text for subprotocol in ENCODINGS)
    assert f"`{WireSettings().path}`" in text
    assert f"`Retry-After: {RETRY_AFTER_S}`" in text
    named = {int(status) for status in re.findall(r"(?m)^\| (\d{3}) ", text)}
    # The library's, 414 and 505, among them; the fuzz holds the server to the table.
    assert named == {400, 403, 404, 405, 408, 414, 426, 429, 431, 503, 505}
