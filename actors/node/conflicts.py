"""Finds keys of the configuration whose values are allowed, but contradict each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from actors.cluster.rules.labels import ANY

LAST_PORT: Final = 65_535


class Conflict(NamedTuple):
    """Two keys, as `section.key`, and the reason why their values contradict each other."""

    keys: tuple[str, str]
    why: str


def conflicts(value: Callable[[str], Any]) -> Iterator[Conflict]:
    """Yield every conflict; `value` returns the value of `section.key`."""
    port = value("http.port")
    if (
        value("http.enabled")
        and port == value("listen.port") != 0
        and _overlap(value("http.host"), value("listen.host"))
    ):
        yield Conflict(("http.port", "listen.port"), "only one of them can have the port")
    nodes = value("server.node_count")
    if value("api.enabled"):
        yield from _of_api(value, nodes)
    if value("http.enabled") and port and nodes > 1 and port + nodes > LAST_PORT:
        why = f"the ports of the nodes' HTTP come after it, and {LAST_PORT:,} is the last"
        yield Conflict(("http.port", "server.nodes"), why)
    if value("server.drain_s") > value("server.stop_timeout_s"):
        why = "a stop is cut short before all connections are closed"
        yield Conflict(("server.drain_s", "server.stop_timeout_s"), why)
    if value("bus.message_bytes") <= value("wire.max_message_bytes"):
        why = "what a client may send, another node would not be sent"
        yield Conflict(("bus.message_bytes", "wire.max_message_bytes"), why)
    if value("bus.canary_s") >= value("bus.canary_late_s"):
        why = "each message that a node sends itself would be late"
        yield Conflict(("bus.canary_s", "bus.canary_late_s"), why)
    yield from _conflicts_of_labels(value)
    for url in ("postgres.url", "redis.url"):
        if value("server.cluster") and not value(url):
            why = "servers of a cluster need stores that all of them reach"
            yield Conflict(("server.cluster", url), why)
    for section in ("postgres", "redis", "schedules"):
        first, longest = f"{section}.first_retry_s", f"{section}.max_retry_s"
        if value(first) > value(longest):
            yield Conflict((first, longest), "the first pause is longer than the longest")


def _conflicts_of_labels(value: Callable[[str], Any]) -> Iterator[Conflict]:
    of_nodes, kept = value("server.labels"), {ANY, *value("cluster.kept").values()}
    if of_nodes and not value("server.clustered"):
        why = "a server that is alone has to do everything"
        yield Conflict(("server.labels", "server.cluster"), why)
    if len(of_nodes) > value("server.node_count"):
        yield Conflict(("server.labels", "server.nodes"), "there are fewer nodes")
    if not kept.issuperset(" ".join(of_nodes).split()):
        why = "nothing is kept to one of these labels"
        yield Conflict(("server.labels", "cluster.kept"), why)


def _of_api(value: Callable[[str], Any], nodes: int) -> Iterator[Conflict]:
    port = value("api.port")
    if port and port == value("listen.port") and _overlap(value("api.host"), value("listen.host")):
        yield Conflict(("api.port", "listen.port"), "only one of them can have the port")
    http = value("http.port")
    last = http + (nodes if nodes > 1 else 0)
    if (
        port
        and http
        and value("http.enabled")
        and http <= port <= last
        and _overlap(value("api.host"), value("http.host"))
    ):
        why = "only one of them can have the port, and the nodes' own follow http.port"
        yield Conflict(("api.port", "http.port"), why)


def _overlap(one: str, other: str) -> bool:
    """Whether two listeners on these hosts would share an address. Names are not resolved."""
    ones, others = _addresses(one), _addresses(other)
    if ones is None or others is None:
        return one == other
    return any(
        a.version == b.version and (a == b or a.is_unspecified or b.is_unspecified)
        for a in ones
        for b in others
    )


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address] | None:
    several = {"::": ["::", "0.0.0.0"], "localhost": ["127.0.0.1", "::1"]}
    try:
        return [ipaddress.ip_address(text) for text in several.get(host.lower(), [host])]
    except ValueError:
        return None
