"""OpenAPI 3.1 of the HTTP API, made from the table of ops and the routes of services.

Each server makes it at its start from its own ops and routes, so it cannot be out of date. Ops that
need a session are left out, because they are always refused over HTTP.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, get_type_hints

import msgspec

from protocol.errors import (
    BAD_MESSAGE,
    BAD_TOKEN,
    BAD_USER,
    BODY_TOO_BIG,
    BUSY,
    FORBIDDEN,
    HEAD_TOO_BIG,
    INTERNAL,
    NOT_JSON,
    RATE_LIMITED,
    TIMEOUT,
    TOO_MANY_REQUESTS,
    UNAUTHENTICATED,
    UNAVAILABLE,
    ErrorCode,
)
from protocol.http.exchange import JSON_TYPE, ApiError
from protocol.messages.op import Op, fields_of
from protocol.messages.op_table import OpTable
from protocol.roles import ANYONE

_REF: Final = "#/components/schemas/{name}"
_ANY: Final = (
    BAD_MESSAGE, BODY_TOO_BIG, NOT_JSON, HEAD_TOO_BIG, RATE_LIMITED, TOO_MANY_REQUESTS, INTERNAL,
    BUSY, UNAVAILABLE, TIMEOUT,
)  # fmt: skip
"""The errors that any request may get."""
_OF_KNOWN: Final = (UNAUTHENTICATED, BAD_TOKEN, BAD_USER, FORBIDDEN)
"""The further errors of a request that needs a role."""
_ENVELOPE: Final = ("op", "ref")
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Calls with the same key act once.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"},
}

Json = dict[str, Any]


class Address(Protocol):
    """What the description needs of an `ApiRoute` (actors.edge.api.api_route)."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def role(self) -> str | None: ...
    @property
    def scope(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def body(self) -> type[msgspec.Struct] | None: ...
    @property
    def query(self) -> type[msgspec.Struct] | None: ...
    @property
    def answer(self) -> type[msgspec.Struct] | None: ...
    @property
    def errors(self) -> tuple[ErrorCode, ...]: ...


def document(ops: OpTable, routes: Sequence[Address], version: str) -> Json:
    """Return the description of an API.

    Arguments:
        ops: the ops of the server.
        routes: the routes of its services.
        version: the server's version.
    """
    called = [op for op in ops.ops.values() if not op.live]
    paths: dict[str, Json] = {f"/v1/rpc/{op.name}": {"post": _of_op(op)} for op in called}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _of_route(route)
    types: list[type[msgspec.Struct]] = [
        ApiError,
        *(op.request for op in called),
        *(op.answer for op in called if op.answer is not None),
        *(kind for route in routes for kind in (route.body, route.answer) if kind is not None),
    ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Greenroom",
            "version": version,
            "description": "The HTTP API of a Greenroom server.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(types, {op.request.__name__ for op in called}),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _of_op(op: Op) -> Json:
    needed = any(field.required for field in fields_of(op.request))
    summary, _, more = _plain(op.request.__doc__).partition("\n\n")
    found: Json = {
        "operationId": op.name,
        "summary": summary,
        "description": f"{more}\n\nRole: {op.role or 'nobody'}.".strip(),
        "tags": [op.name.partition(".")[0]],
        "requestBody": _content(op.request) | {"required": needed},
        "responses": _responses(op.answer, op.errors, op.role),
    }
    if op.repeat == "by key":
        found["parameters"] = [_KEY]
    return found | _security(op.role)


def _of_route(route: Address) -> Json:
    found: Json = {
        "operationId": f"{route.method} {route.path}",
        "summary": route.summary,
        "description": f"Role: {route.role or 'nobody'}." + _scope(route),
        "tags": [route.path.split("/")[2]],
        "responses": _responses(route.answer, route.errors, route.role),
    }
    if route.body is not None:
        found["requestBody"] = _content(route.body) | {"required": True}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query is not None:
        parameters += [
            {
                "name": field.encode_name,
                "in": "query",
                "required": field.required,
                "schema": _portable(msgspec.json.schema(field_type)),
            }
            for field, field_type in _typed(route.query)
        ]
    if parameters:
        found["parameters"] = parameters
    return found | _security(route.role)


def _typed(struct: type[msgspec.Struct]) -> Iterable[tuple[Any, Any]]:
    hints = get_type_hints(struct, include_extras=True)
    return [(field, hints[field.name]) for field in fields_of(struct)]


def _scope(route: Address) -> str:
    needed = route.role not in (None, ANYONE)
    return f" Scope of an API key: {route.scope or '*'}." if needed else ""


def _security(role: str | None) -> Json:
    return {"security": [] if role == ANYONE else [{"bearer": []}]}


def _responses(
    answer: type[msgspec.Struct] | None, errors: Iterable[ErrorCode], role: str | None
) -> Json:
    found: Json = {"204": {"description": "Done."}}
    if answer is not None:
        told = _plain(answer.__doc__).partition("\n")[0]
        found = {"200": {"description": told, **_content(answer)}}
    by_status: dict[int, list[ErrorCode]] = {}
    for error in (*errors, *_ANY, *(() if role == ANYONE else _OF_KNOWN)):
        rows = by_status.setdefault(error.status, [])
        if error not in rows:
            rows.append(error)
    for status, rows in sorted(by_status.items()):
        told = "; ".join(f"`{row.code}`: {row.message}" for row in rows)
        found[str(status)] = {"description": told, **_content(ApiError)}
    return found


def _content(kind: type[msgspec.Struct]) -> Json:
    return {"content": {JSON_TYPE: {"schema": {"$ref": _REF.format(name=kind.__name__)}}}}


def _schemas(types: Sequence[type[msgspec.Struct]], requests: set[str]) -> Json:
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    found: Json = _portable(components)
    for name in requests:
        schema = found[name]
        for field in _ENVELOPE:
            schema["properties"].pop(field, None)
        schema["required"] = [one for one in schema["required"] if one not in _ENVELOPE]
    return found


def _portable(schema: Any) -> Any:
    """Return a copy with regular expressions in the form of ECMA-262, as OpenAPI asks for."""
    if isinstance(schema, Mapping):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" and isinstance(value, str)
            else _portable(value)
            for key, value in schema.items()
        }  # fmt: skip
    if isinstance(schema, list):
        return [_portable(item) for item in schema]
    return schema


def _plain(text: str | None) -> str:
    return inspect.cleandoc(text or "")
