"""OpenAPI: made from the ops and routes, and held to what the API does by schemathesis."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import schemathesis
import trio
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from persistence import PostgresSettings, RedisSettings
from protocol.server.listener import listen
from tests.actors.apis import HostedApi, hosted

EXAMPLES = 5
"""Of each operation. More was tried by hand."""
LEFT_OUT = [
    ignored_auth,  # it does not know of the header that it is given; test_walk.py has every role
    positive_data_acceptance,  # a value must be JSON, a game must be there: no schema says so
]
FREE = ("sessions.messages_per_s=0", "sessions.bytes_per_s=0", "sessions.activations_per_s=0")


@asynccontextmanager
async def served(
    postgres: PostgresSettings, redis: RedisSettings
) -> AsyncIterator[tuple[HostedApi, str]]:
    async with hosted(postgres, redis, FREE) as api:
        listeners = listen("127.0.0.1", 0)
        port = listeners[0].getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(api.web.server.serve, listeners)
            yield api, f"http://127.0.0.1:{port}"
            nursery.cancel_scope.cancel()


def try_all(document: Any, url: str, token: str) -> int:
    """Call every operation with what fits its description, and with what does not."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    who = {"authorization": f"Bearer {token}"}
    tried = 0
    for found in schema.get_all_operations():
        operation: Any = found
        operation = operation.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def calls(case: Any) -> None:
            case.call_and_validate(headers=who, excluded_checks=LEFT_OUT)

        calls()
        tried += 1
    return tried


async def test_schemathesis_finds_nothing(postgres: PostgresSettings, redis: RedisSettings) -> None:
    async with served(postgres, redis) as (api, url):
        document = (await api.send("GET", "/v1/openapi.json")).data
        create = api.tool("keys", "create")
        (token,) = await create(name="walk", scopes=["*"], roles=["owner"], rate=1e5)
        tried = await trio.to_thread.run_sync(try_all, document, url, token)
        assert tried == sum(len(methods) for methods in document["paths"].values())


async def test_every_op_without_a_session_and_every_route_is_described(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        document = (await api.send("GET", "/v1/openapi.json")).data
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    ops = {("POST", f"/v1/rpc/{op.name}") for op in api.ops.ops.values() if not op.live}
    routes = {(one.method, one.path) for run in api.services.values() for one in run.api}
    assert ops | routes <= described
    assert document["openapi"] == "3.1.0"
    written = document["components"]["schemas"]["StorageWrite"]
    assert set(written["properties"]) == {"objects", "key"}
    assert written["required"] == ["objects"]
    found = set(re.findall(r'"#/components/schemas/(\w+)"', str(document).replace("'", '"')))
    assert found <= set(document["components"]["schemas"])


async def test_a_description_that_has_not_changed_is_not_sent_again(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        first = await api.send("GET", "/v1/openapi.json")
        again = await api.send(
            "GET", "/v1/openapi.json", headers={"if-none-match": first.headers["etag"]}
        )
        assert (again.status, again.body) == (304, None)


async def test_the_page_needs_nothing_from_elsewhere(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    from actors.node.web_api import PAGE

    async with hosted(postgres, redis) as api:
        found = await api.send("GET", "/v1/docs")
        assert found.headers["content-type"] == "text/html; charset=utf-8"
    text = PAGE.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
