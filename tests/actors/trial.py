"""A service of the tests' own, and a server with other services than server.py lists.

python -m tests.actors.trial --with-trial serve ...     with one more: the trial service
python -m tests.actors.trial --without chat serve ...   with one less
python -m tests.actors.trial serve ...                  without the one that is left out anyway
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Final

import msgspec
import pykka
from msgspec import Meta
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

import server
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.edge.routes import AskActor, AskService
from actors.runtime.actor import Actor
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.service import Frame, Running, Service, ServiceSettings
from persistence.commands import CommandKind, Transaction
from persistence.log import LogReader
from protocol.errors import OUT_OF_RANGE
from protocol.http.metrics import counter
from protocol.messages.envelope import Key, Request
from protocol.messages.op import Area, Op
from protocol.roles import PLAYER
from tests.left_out import LEFT_OUT, leave_out

# --- its messages --------------------------------------------------------------------------------


class TrialAdd(Request, frozen=True, kw_only=True, tag="trial.add", gc=False):
    """Add to the user's own sum. Answered with `TrialSum`."""

    amount: Annotated[int, Meta(ge=1)]


class TrialSum(msgspec.Struct, frozen=True, gc=False):
    """What the user has added so far."""

    user: str
    total: int


class TrialTell(Request, frozen=True, kw_only=True, tag="trial.tell", gc=False):
    """Put a note into the inbox of a user. Answered with `TrialTold` once it is durable."""

    user: str
    note: int
    key: Key | None = None


class TrialTold(msgspec.Struct, frozen=True, gc=False):
    """The note is in the inbox."""

    note: int


class TrialClear(Request, frozen=True, kw_only=True, tag="trial.clear", gc=False):
    """Forget all sums. Only referees may ask for it."""


AREA: Final = Area(
    ops=(
        Op(request=TrialClear, role="referee"),
        Op(request=TrialAdd, role=PLAYER, answer=TrialSum, errors=(OUT_OF_RANGE,)),
        Op(request=TrialTell, role=PLAYER, answer=TrialTold, repeat="by key"),
    )
)

# --- its folder ----------------------------------------------------------------------------------


class TrialSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [trial]: `most` is what one may add at once."""

    most: Annotated[int, Meta(ge=1)] = 10


class Add(msgspec.Struct, frozen=True, gc=False):
    who: Identity
    amount: int


class Tell(msgspec.Struct, frozen=True, gc=False):
    """The command that puts a note into an inbox."""

    user: str
    note: int


def commands(settings: ServiceSettings) -> Iterable[CommandKind]:
    from actors.inbox import Putting  # here, since a test may have the inbox left out

    putting = Putting(settings)

    def tell(transaction: Transaction, command: Tell) -> TrialTold:
        putting.put(transaction, command.user, "trial.note", {"note": command.note})
        return TrialTold(command.note)

    yield CommandKind(service="trial", name="trial.tell", command=Tell, answer=TrialTold, run=tell)


class Clear(msgspec.Struct, frozen=True, gc=False):
    pass


class Adder(Actor):
    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._totals: dict[str, int] = {}

    @handles(Add)
    def add(self, message: Add) -> TrialSum:
        if message.amount > self._most:
            raise Refused(OUT_OF_RANGE, f"amount: at most {self._most}")
        user = message.who.user
        self._totals[user] = self._totals.get(user, 0) + message.amount
        return TrialSum(user, self._totals[user])

    @handles(Clear)
    def clear(self, _: Clear) -> None:
        self._totals.clear()


class Events(pykka.ThreadingActor):
    """Answers anything with the types of all events there are."""

    def __init__(self, open_log: Callable[[], LogReader]) -> None:
        super().__init__()
        self._log = open_log()

    def on_receive(self, _: object) -> list[str]:
        return [type_ for *_, type_, _, _ in self._log.read().events]

    def on_stop(self) -> None:
        self._log.close()


def start(frame: Frame) -> Running:
    settings = frame.settings.section("trial", TrialSettings)
    frame.system.register(Kind(name="adder", factory=lambda _: Adder(settings.most)))
    events = frame.system.start(Events, frame.open_log)

    async def visit(_: HttpRequest) -> JSONResponse:
        visits = await frame.counters.count("trial.visits", window_s=1e6)
        return JSONResponse({"visits": visits.total, "shared": visits.shared})

    async def list_events(_: HttpRequest) -> JSONResponse:
        return JSONResponse(await events.ask("types"))

    return Running(
        routes={
            TrialClear: AskActor(("adder", "one"), lambda _, __: Clear()),
            TrialAdd: AskActor(("adder", "one"), lambda who, request: Add(who, request.amount)),
            TrialTell: AskService(
                lambda who, request: frame.facts.execute(
                    Tell(request.user, request.note), user=who.user, key=request.key
                ),
                outlives=True,
            ),
        },
        readings=lambda: [counter("trial_started", "Starts of the trial.", 1)],
        http=[
            Route("/most", lambda _: PlainTextResponse(str(settings.most))),
            Route("/visits", visit),
            Route("/events", list_events),
        ],
    )


TRIAL: Final = Service(
    name="trial",
    area=AREA,
    sections={"trial": TrialSettings},
    kinds={"adder": ()},
    commands=commands,
    start=start,
)

# --- the server ----------------------------------------------------------------------------------


def main() -> int:
    """Change the list of services, and run server.py."""
    if LEFT_OUT:
        leave_out(LEFT_OUT)
    match sys.argv[1:]:
        case ["--with-trial", *rest]:
            server.SERVICES = (*server.SERVICES, "tests.actors.trial:TRIAL")
        case ["--without", name, *rest]:
            leave_out(name)
        case rest:
            pass
    return server.main(rest)


if __name__ == "__main__":
    sys.exit(main())
