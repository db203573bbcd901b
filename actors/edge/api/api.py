"""The HTTP API: finds what a request asks for and who asks, checks that they may, and answers.

Every op is at `POST /v1/rpc/<op>`, with the types, limits, errors and idempotency that it has on
the wire. Services bring routes of their own beside the ops. An op or route that names no role
refuses everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import structlog

from actors.edge.activations import Activations
from actors.edge.admission import Admission
from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.api.budgets import CallerBudget, CallerBudgets
from actors.edge.api.callers import USER_HEADER, ApiCaller, Authenticate, Credentials
from actors.edge.api.paths import Paths, parsed_query
from actors.edge.connected_client import TOO_MUCH_TO_DO
from actors.edge.doorman import Doorman
from actors.edge.failures import request_error
from actors.edge.identity import Identity
from actors.edge.outcome import OnOutcome, RequestOutcome, nobody_told, subject_of
from actors.edge.routes import CallRoute, OnlyFor, Route
from actors.edge.settings import SessionSettings
from actors.edge.traffic import ADDRESS_BUSY, Traffic
from actors.runtime.future import Future
from actors.runtime.system import ActorSystem
from protocol.codec import Encoding
from protocol.errors import (
    BAD_MESSAGE,
    FORBIDDEN,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    NEEDS_SESSION,
    NOT_FOUND,
    NOT_JSON,
    UNAUTHENTICATED,
    UNKNOWN_OP,
    RequestError,
)
from protocol.http.cors import Cors
from protocol.http.exchange import JSON_TYPE, HttpRequest, HttpResponse, answered, refused
from protocol.messages.envelope import Request
from protocol.messages.op import Op
from protocol.messages.op_table import OpTable
from protocol.roles import ANYONE, allows, role_needed

RPC: Final = "/v1/rpc/"
KEY_HEADER: Final = "idempotency-key"
_BEARER: Final = "bearer "
_KEY_CHARACTERS: Final = 64

log = structlog.get_logger("actors.edge.api")


class _Asking:
    """One request of a caller; see `actors.edge.routes.WithoutSession`."""

    __slots__ = ("_api", "_budget", "_now", "who")

    def __init__(self, api: Api, who: Identity, budget: CallerBudget, now: float) -> None:
        self.who = who
        self._api = api
        self._budget = budget
        self._now = now

    def ask_actor(self, actor: tuple[str, str], message: msgspec.Struct) -> Future[Any]:
        return self._api.system.ref(*actor).ask(message, timeout=self._api.ask_timeout_s)

    def activate(self) -> None:
        refusal = self._api.activations.charge(self._now, self._budget.activations, None)
        if refusal is not None:
            raise refusal


class Api:
    """Answers requests, as `protocol.http.connection.Handle`.

    Arguments:
        system: the system of actors.
        ops: the ops of this server.
        encoding: JSON, for these ops.
        routes: the route of each op.
        api_routes: the routes of services.
        authenticate: says who calls.
        settings: the limits that hold for a session hold for a caller as well.
        activations, admission, doorman: the node's budgets, which sessions use too.
        cors: what browsers are told.
        watch: told what became of each request.

    Attributes:
        refused: how many requests were refused, by code.

    Raises ValueError: two routes have the same address.
    """

    def __init__(
        self,
        system: ActorSystem,
        ops: OpTable,
        *,
        encoding: Encoding,
        routes: Mapping[type[Request], Route],
        api_routes: Sequence[ApiRoute],
        authenticate: Authenticate,
        settings: SessionSettings,
        activations: Activations,
        admission: Admission,
        doorman: Doorman,
        cors: Cors,
        watch: OnOutcome = nobody_told,
    ) -> None:
        self.system = system
        self.ask_timeout_s = settings.ask_timeout_s
        self.activations = activations
        self.refused: Counter[str] = Counter()
        self._ops = ops
        self._encoding = encoding
        # `OnlyFor` checks roles and tells of outcomes for sessions. Here `_ask` and `_told` do it.
        self._routes = {
            request: route.route if isinstance(route, OnlyFor) else route
            for request, route in routes.items()
        }
        self._paths = Paths(api_routes)
        self._authenticate = authenticate
        self._budgets = CallerBudgets(settings, activations)
        self._admission = admission
        self._doorman = doorman
        self._cors = cors
        self._watch = watch
        self._queries = {
            route.query: tuple(field.encode_name for field in msgspec.structs.fields(route.query))
            for route in api_routes
            if route.query is not None
        }

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request. It does not raise."""
        preflight = self._cors.preflight(request, self._methods(request.path))
        if preflight is not None:
            return preflight
        try:
            if request.path.startswith(RPC):
                response = await self._call_op(request)
            else:
                response = await self._call_route(request)
        except RequestError as error:
            self.refused[error.error.code] += 1
            response = refused(error)
            if error.error is METHOD_NOT_ALLOWED:
                allow = ("allow", ", ".join(self._methods(request.path)))
                response = msgspec.structs.replace(response, headers=(*response.headers, allow))
        added = self._cors.headers(request)
        if added:
            response = msgspec.structs.replace(response, headers=(*response.headers, *added))
        return response

    def _methods(self, path: str) -> Sequence[str]:
        return ("POST",) if path.startswith(RPC) else self._paths.methods(path)

    # --- ops -------------------------------------------------------------------------------------

    async def _call_op(self, request: HttpRequest) -> HttpResponse:
        name = request.path.removeprefix(RPC)
        op = self._ops.ops.get(name)
        if op is None:
            raise RequestError(UNKNOWN_OP, f"no op is called {name[:64]!r}")
        if request.method != "POST":
            raise RequestError(METHOD_NOT_ALLOWED)
        with self._told(request, name, op.role) as outcome:
            return await self._ask(request, op, outcome)

    async def _ask(self, request: HttpRequest, op: Op, outcome: _Told) -> HttpResponse:
        now = self.system.now()
        # The address is charged before the token is looked at, which may take a query.
        traffic = self._traffic(request, now, op.cost)
        caller = await self._caller(request)
        assert caller is not None
        outcome.who = caller.who
        _check_rights(op.role, op.name, caller)
        route = self._routes[op.request]
        if op.live and not isinstance(route, CallRoute):
            raise RequestError(NEEDS_SESSION)
        asked = _with_key(self._decoded(request, op), op, request.headers.get(KEY_HEADER))
        outcome.on_whom = subject_of(asked)
        budget = self._budgets.of(caller, now)
        budget.admit(now, op.cost_of(asked), len(request.body))
        assert isinstance(route, CallRoute)
        answer = await self._answered(
            lambda: route.call(_Asking(self, caller.who, budget, now), asked),
            budget,
            traffic,
        )
        if op.answer is None:
            return HttpResponse(204)
        return _encoded(answer)

    def _decoded(self, request: HttpRequest, op: Op) -> Request:
        _check_type(request)
        return self._encoding.decode_call(op.name, request.body or b"{}")

    # --- routes ----------------------------------------------------------------------------------

    async def _call_route(self, request: HttpRequest) -> HttpResponse:
        found = self._paths.find(request.method, request.path)
        if found is None:
            known = self._paths.methods(request.path)
            raise RequestError(METHOD_NOT_ALLOWED if known else NOT_FOUND)
        route, parameters = found
        with self._told(request, f"{route.method} {route.path}", route.role) as outcome:
            now = self.system.now()
            traffic = self._traffic(request, now, 1)
            caller = await self._caller(request, optional=route.role == ANYONE)
            outcome.who = None if caller is None else caller.who
            if caller is not None and route.role != ANYONE:
                _check_rights(route.role, route.scope, caller)
            elif not allows(route.role, frozenset()):
                raise RequestError(FORBIDDEN)
            budget = None
            if caller is not None:
                budget = self._budgets.of(caller, now)
                budget.admit(now, 1, len(request.body))
            body = self._body(request, route)
            outcome.on_whom = parameters.get("id") or subject_of(body)
            call = ApiCall(
                who=outcome.who,
                body=body,
                query=self._query(request, route),
                path=parameters,
                headers=request.headers,
                address=request.address,
                peer=request.peer,
            )
            answer = await self._answered(
                lambda: route.handle(call), budget, traffic, elsewhere=route.elsewhere
            )
        if isinstance(answer, HttpResponse):
            return answer
        return HttpResponse(204) if answer is None else _encoded(answer)

    def _body(self, request: HttpRequest, route: ApiRoute) -> Any:
        if route.body is None:
            return None
        _check_type(request)
        try:
            return msgspec.json.decode(request.body or b"{}", type=route.body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RequestError(BAD_MESSAGE, str(error)) from None

    def _query(self, request: HttpRequest, route: ApiRoute) -> Any:
        if route.query is None:
            return None
        try:
            return msgspec.convert(
                parsed_query(request.query, self._queries[route.query]), route.query, strict=False
            )
        except (msgspec.MsgspecError, ValueError) as error:
            raise RequestError(BAD_MESSAGE, str(error)) from None

    # --- what both have in common ----------------------------------------------------------------

    @contextmanager
    def _told(self, request: HttpRequest, what: str, role: str | None) -> Iterator[_Told]:
        outcome = _Told(what)
        code = INTERNAL.code
        try:
            yield outcome
            code = ""
        except RequestError as error:
            code = error.error.code
            raise
        finally:
            peer, on_whom = request.peer, outcome.on_whom
            self._watch(RequestOutcome(outcome.who, what, role, peer, on_whom, code))

    def _traffic(self, request: HttpRequest, now: float, cost: int) -> Traffic | None:
        """Charge the address. Raises RequestError if it sends too much."""
        traffic = self._doorman.traffic(request.address)
        if traffic is not None and not traffic.admit(now, cost):
            raise traffic.over(now, cost)
        return traffic

    async def _caller(self, request: HttpRequest, *, optional: bool = False) -> ApiCaller | None:
        """Return who asks; None: the request does not say so, and need not (`optional`)."""
        said = request.headers.get("authorization", "")
        if said[: len(_BEARER)].lower() != _BEARER:
            if optional and not said:
                return None
            raise RequestError(UNAUTHENTICATED)
        given = Credentials(
            token=said[len(_BEARER) :].strip(),
            user=request.headers.get(USER_HEADER),
            address=request.address,
            peer=request.peer,
        )
        return await self._authenticate(given)

    async def _answered(
        self,
        ask: Callable[[], Awaitable[Any]],
        budget: CallerBudget | None,
        traffic: Traffic | None,
        *,
        elsewhere: bool = False,
    ) -> Any:
        """Call `ask` and return its answer.

        Raises RequestError, also for an error of an actor, and if too much is under way.
        """
        admission = self._admission
        if admission.full():
            admission.shed += 1
            raise TOO_MUCH_TO_DO
        if traffic is not None:
            if admission.address_full(traffic):
                admission.shed += 1
                raise ADDRESS_BUSY
            traffic.under_way += 1
        began_at = self.system.now()
        if not elsewhere:
            admission.begin()
        if budget is not None:
            budget.under_way += 1
        try:
            return await ask()
        except RequestError:
            raise
        except Exception as error:
            raise request_error(error) from None
        finally:
            if not elsewhere:
                admission.end(began_at, self.system.now())
            if budget is not None:
                budget.under_way -= 1
            if traffic is not None:
                traffic.under_way -= 1


class _Told:
    """Who asked for what, as far as it is known."""

    __slots__ = ("on_whom", "what", "who")

    def __init__(self, what: str) -> None:
        self.what = what
        self.who: Identity | None = None
        self.on_whom = ""


def _check_rights(role: str | None, scope: str, caller: ApiCaller) -> None:
    """Raise RequestError if a caller lacks the role of an op or a route, or a key its scope."""
    if not allows(role, caller.who.roles):
        raise RequestError(FORBIDDEN, role_needed(role))
    if not caller.covers(scope):
        raise RequestError(FORBIDDEN, f"the key lacks the scope {scope}")


def _check_type(request: HttpRequest) -> None:
    """Raise RequestError if the content type is another one than JSON. It may be missing."""
    said = request.headers.get("content-type", JSON_TYPE)
    if said.partition(";")[0].strip().lower() != JSON_TYPE:
        raise RequestError(NOT_JSON)


def _with_key(asked: Request, op: Op, header: str | None) -> Request:
    """Return the request with the idempotency key that the header names.

    It is a string in quotes (RFC 9651). Many clients send the bare text, which is taken as well.
    """
    if header is None or op.repeat == "harmless":
        return asked
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not 1 <= len(key) <= _KEY_CHARACTERS or not key.isprintable() or '"' in key:
        most = _KEY_CHARACTERS
        raise RequestError(BAD_MESSAGE, f"{KEY_HEADER}: 1 to {most} characters, or them in quotes")
    if op.repeat != "by key":
        raise RequestError(BAD_MESSAGE, f"{op.name} takes no idempotency key")
    if getattr(asked, "key", None) not in (None, key):
        raise RequestError(BAD_MESSAGE, f"{KEY_HEADER} and the field `key` differ")
    return msgspec.structs.replace(asked, key=key)


def _encoded(answer: Any) -> HttpResponse:
    try:
        return answered(answer)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        log.error("answer without an encoding", data=type(answer).__name__, error=str(error))
        raise RequestError(INTERNAL) from None
