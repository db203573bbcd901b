from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import ENCODINGS, JSON, MSGPACK
from protocol.server.handshake import Accepted, answer, by_library
from protocol.server.settings import WireSettings
from protocol.server.upgrade import usual_upgrade

WIRE = WireSettings(origins=("https://game.example", "self:7351"))
KEY = base64.b64encode(bytes(range(16))).decode()
USUAL = {
    "Host": "localhost:7350",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": MSGPACK.subprotocol,
}


def head(*lines: tuple[str, str], request: str = "GET /ws HTTP/1.1") -> bytes:
    text = "\r\n".join([request, *(f"{name}: {value}" for name, value in lines)])
    return text.encode() + b"\r\n\r\n"


def fields(response: bytes) -> set[bytes]:
    """Return the lines of a response as a set, without the one that has the time."""
    return {line for line in response.split(b"\r\n") if not line.startswith(b"Date:")}


def test_the_usual_request_is_taken_as_the_library_takes_it() -> None:
    for encoding in ENCODINGS.values():
        request = head(*(USUAL | {"Sec-WebSocket-Protocol": encoding.subprotocol}).items())
        usual = usual_upgrade(request, WIRE)
        theirs = by_library(request, WIRE)
        assert usual is not None
        assert isinstance(theirs, Accepted)
        assert usual[0] is theirs.encoding is encoding
        assert fields(usual[1]) == fields(theirs.response)


def test_what_browsers_and_libraries_send_beside_it_does_not_matter() -> None:
    request = head(
        *USUAL.items(),
        ("Origin", "https://game.example"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("Cookie", "a=b; c=d"),
    )
    assert usual_upgrade(request, WIRE) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", "h2c"),
        ("Connection", "close"),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Origin", "https://elsewhere.example"),
        ("Content-Length", "3"),
        ("Transfer-Encoding", "chunked"),
    ],
)
def test_what_is_not_right_is_left_to_the_library(name: str, value: str) -> None:
    request = head(*(USUAL | {name: value}).items())
    assert usual_upgrade(request, WIRE) is None
    assert type(answer(request, WIRE)) is type(by_library(request, WIRE))


ODD = st.sampled_from(
    ["", " ", "websocket", "WebSocket", "Upgrade", "keep-alive, Upgrade", "upgrade,", "13", "13, 8",
     KEY, KEY[:-1], KEY.replace("==", "A="), KEY[:-3] + "B==", JSON.subprotocol, "a,b", "a\tb", "é",
     f"{JSON.subprotocol}, {MSGPACK.subprotocol}", f"{JSON.subprotocol},{MSGPACK.subprotocol}",
     f"{MSGPACK.subprotocol};", f"{MSGPACK.subprotocol} x, {JSON.subprotocol}", "\0", "3",
     "chunked", "https://game.example", "https://elsewhere.example", '"quoted"',
     f", {JSON.subprotocol}"]
)  # fmt: skip
NAMES = st.sampled_from(
    [*USUAL, "Origin", "Content-Length", "Transfer-Encoding", "X", "x y", "", "upgrade", "ORIGIN"]
)
REQUESTS = st.sampled_from(
    ["GET /ws HTTP/1.1", "GET /ws?a=b HTTP/1.1", "GET /other HTTP/1.1", "GET /ws HTTP/1.0",
     "POST /ws HTTP/1.1", "GET  /ws HTTP/1.1", "GET /ws#x HTTP/1.1", "get /ws HTTP/1.1", "GET /ws"]
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(
    request=st.one_of(st.just("GET /ws HTTP/1.1"), REQUESTS),
    changed=st.dictionaries(NAMES, ODD, max_size=2),
    added=st.lists(st.tuples(NAMES, ODD), max_size=2),
    left_out=st.sets(st.sampled_from(list(USUAL)), max_size=1),
)
def test_it_never_takes_what_the_library_refuses_and_never_takes_it_otherwise(
    request: str, changed: dict[str, str], added: list[tuple[str, str]], left_out: set[str]
) -> None:
    lines = {name: value for name, value in (USUAL | changed).items() if name not in left_out}
    made = head(*lines.items(), *added, request=request)
    usual = usual_upgrade(made, WIRE)
    if usual is not None:
        theirs = by_library(made, WIRE)
        assert isinstance(theirs, Accepted), theirs
        assert usual[0] is theirs.encoding
        assert fields(usual[1]) == fields(theirs.response)
