"""Where the server sends requests of its own, and the signatures of these."""

from __future__ import annotations

import base64
import ssl

import pytest
import trio
import trustme

from protocol.http.destinations import BadDestination, check_address, parsed_networks, parsed_url
from protocol.http.posting import Poster
from protocol.http.signature import secret_text, signature

NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "192.0.0.192", "192.88.99.1", "3fff::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_not_reached(address: str) -> None:
    with pytest.raises(BadDestination):
        check_address(address, secure=True, allowed=())


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public_is_reached_by_https_alone(address: str) -> None:
    check_address(address, secure=True, allowed=())
    with pytest.raises(BadDestination, match="use https"):
        check_address(address, secure=False, allowed=())


def test_networks_that_are_allowed_are_reached_even_by_http() -> None:
    allowed = parsed_networks(["127.0.0.0/8", "fc00::/7"])
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "fc00::1"):
        check_address(address, secure=False, allowed=allowed)
    with pytest.raises(BadDestination):
        check_address("10.0.0.1", secure=True, allowed=allowed)


def test_a_url_is_taken_apart() -> None:
    to = parsed_url("https://Example.com:8443/a/b?c=d")
    assert (to.secure, to.host, to.port, to.target) == (True, "example.com", 8443, "/a/b?c=d")
    assert to.authority == "example.com:8443"
    assert parsed_url("https://[2001:db8::1]").authority == "[2001:db8::1]"
    assert parsed_url("https://example.com").target == "/"


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "https://", "ftp://x", "https://a@b/", "https://x/#y", "https://x/\r\ny",
     "https://x:0x1/", "https://\u00e9/", "https://" + "x" * 3000,
     "https://..com/", "https://" + "a" * 64 + ".com/"],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(BadDestination):
        parsed_url(url)


async def test_a_name_that_leads_to_this_machine_is_not_reached() -> None:
    reached = []

    async def serve(stream: trio.SocketStream) -> None:
        reached.append(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(lambda task_status: trio.serve_tcp(
            serve, 0, host="127.0.0.1", task_status=task_status))  # fmt: skip
        port = listener.socket.getsockname()[1]
        for url in (f"http://localhost:{port}/", f"https://localhost:{port}/"):
            posted = await Poster((), timeout_s=5.0).post(url, (), b"{}")
            assert posted.status == 0
            assert "no public address" in posted.outcome
        nursery.cancel_scope.cancel()
    assert reached == []


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_is_checked_against_the_name(trusted: bool) -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost" if trusted else "other.example").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some(65_536)
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(lambda task_status: trio.serve_ssl_over_tcp(
            serve, 0, server, host="127.0.0.1", task_status=task_status))  # fmt: skip
        port = listener.transport_listener.socket.getsockname()[1]
        poster = Poster(parsed_networks(["127.0.0.0/8", "::1"]), timeout_s=10.0, tls=client)
        posted = await poster.post(f"https://localhost:{port}/", (), b"{}")
        assert posted.taken == trusted, posted
        if not trusted:
            assert posted.outcome.startswith("TLS: ")
        nursery.cancel_scope.cancel()


def test_the_signature_is_that_of_the_specification() -> None:
    """The vector is the one of Standard Webhooks' own libraries."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert secret_text(secret) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
